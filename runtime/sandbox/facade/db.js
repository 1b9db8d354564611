// `db`: statements and their parameters.
export function createDb(captured, { ask, expose, exposeAll, invalid, textJson }) {
  const { toJson, stringify, isArray, keys, pick, isFiniteNumber, trunc, toNumber, text, date, chain, isPromise } =
    captured

  /** More than any database takes. */
  const MAX_PARAMS = 65_535
  const MAX_ROWS = 100_000

  const pad = number => (number < 10 ? `0${number}` : `${number}`)

  /** A Date as the shop's database writes it, in the process's time zone; null when the value is no Date. */
  function dateText(value) {
    let time
    try {
      time = date.time(value)
    } catch {
      return null
    }
    if (!isFiniteNumber(time)) throw invalid("A statement's parameter is an invalid Date.")
    const at = i => date.fields[i](value)
    return `${at(0)}-${pad(at(1) + 1)}-${pad(at(2))} ${pad(at(3))}:${pad(at(4))}:${pad(at(5))}`
  }

  function paramJson(value) {
    if (value === undefined || value === null) return 'null'
    if (typeof value === 'string' || typeof value === 'boolean') return stringify(value)
    if (typeof value === 'number') {
      if (isFiniteNumber(value)) return stringify(value)
      throw invalid(`A statement's parameter is ${value}, which no database can hold.`)
    }
    if (typeof value === 'bigint') return stringify(text.of(value))
    if (typeof value === 'object') return stringify(dateText(value) ?? toJson(value))
    throw invalid(`A statement's parameter is a ${typeof value}; give a string, number, boolean, Date or null.`)
  }

  /** Parameters as the inside of a JSON array: `1,"a",null`. */
  function membersJson(list) {
    const count = toNumber(list.length)
    if (!(count <= MAX_PARAMS)) throw invalid(`A statement takes at most ${MAX_PARAMS} parameters, not ${count}.`)
    let json = ''
    for (let i = 0; i < count; i++) json += i === 0 ? paramJson(list[i]) : `,${paramJson(list[i])}`
    return json
  }
  /** A single array stands for all parameters. */
  const valuesJson = values => membersJson(values.length === 1 && isArray(values[0]) ? values[0] : values)

  const statement = sql => textJson('db: the statement', sql)
  const query = (sql, values) => ask('db.query', `[${statement(sql)},[${valuesJson(values)}]]`)
  const change = (sql, values) => ask('db.change', `[${statement(sql)},[${valuesJson(values)}]]`)
  const firstRow = rows => (rows.length === 0 ? null : rows[0])
  const firstValue = rows => {
    if (rows.length === 0) return null
    const names = keys(rows[0])
    return names.length === 0 ? null : rows[0][names[0]]
  }

  function batch(sql, rows) {
    if (!isArray(rows)) throw invalid('db.batch(sql, rows): rows must be an array of arrays.')
    const count = toNumber(rows.length)
    if (!(count <= MAX_ROWS)) throw invalid(`db.batch(sql, rows) takes at most ${MAX_ROWS} rows, not ${count}.`)
    let json = ''
    for (let i = 0; i < count; i++) {
      const row = rows[i]
      json += `${i === 0 ? '[' : ',['}${isArray(row) ? membersJson(row) : paramJson(row)}]`
    }
    return ask('db.batch', `[${statement(sql)},[${json}]]`)
  }

  function page(sql, window, ...values) {
    statement(sql)
    const { page: number = 1, size: asked = 10 } = pick(window, ['page', 'size'])
    const size = toNumber(asked)
    const first = (toNumber(number) - 1) * size
    const members = valuesJson(values)
    const count = `SELECT COUNT(*) AS total FROM (${sql}) counted`
    const total = toNumber(firstValue(ask('db.query', `[${stringify(count)},[${members}]]`)))
    if (!(total > first)) return { total, list: [] }
    const limits = `${paramJson(size)},${paramJson(first)}`
    const params = members === '' ? limits : `${members},${limits}`
    return { total, list: ask('db.query', `[${stringify(`${sql} LIMIT ? OFFSET ?`)},[${params}]]`) }
  }

  function transaction(work) {
    const mark = ask('db.begin', '[]')
    const keep = value => {
      ask('db.keep', `[${mark}]`)
      return value
    }
    const undo = error => {
      ask('db.undo', `[${mark}]`)
      throw error
    }
    let result
    try {
      result = work()
      if (isPromise(result)) return chain(result, expose(keep), expose(undo))
    } catch (error) {
      return undo(error)
    }
    return keep(result)
  }

  return exposeAll({
    select: (sql, ...values) => query(sql, values),
    selectOne: (sql, ...values) => firstRow(query(sql, values)),
    selectValue: (sql, ...values) => firstValue(query(sql, values)),
    selectInt(sql, ...values) {
      const value = firstValue(query(sql, values))
      return value === null ? null : trunc(toNumber(value))
    },
    insert(sql, ...values) {
      const { affected, insertId } = pick(change(sql, values), ['affected', 'insertId'])
      return insertId ? insertId : affected
    },
    update: (sql, ...values) => change(sql, values).affected,
    delete: (sql, ...values) => change(sql, values).affected,
    batch,
    page,
    transaction
  })
}
