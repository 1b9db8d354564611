// Evaluated inside every realm before a script: builds the globals that hooks/hook.d.ts documents. Its value is the
// function below. Rules: nothing of the host leaves this closure; what decides anything is captured before the script
// runs; every argument is copied by JSON inside the realm before the host looks at it.
;(function install(callHost, emitLog, digest, settings) {
  const { apply, ownKeys } = Reflect
  const { stringify, parse } = JSON
  const { isArray } = Array
  const { keys, defineProperty } = Object
  const isNumber = Number.isFinite
  const AsyncFunction = (async () => {}).constructor
  const applySyncPromise = callHost.applySyncPromise
  const then = Promise.prototype.then
  const toText = String
  const RealmError = Error
  const RealmDate = Date
  const define = (object, name, value) =>
    defineProperty(object, name, { value, writable: true, configurable: true, enumerable: false })

  for (const name of ['WebAssembly', 'SharedArrayBuffer', 'Atomics', 'FinalizationRegistry', 'WeakRef', 'console'])
    delete globalThis[name]

  class HostError extends RealmError {}
  class HttpError extends HostError {}
  define(HttpError.prototype, 'name', 'HttpError')

  function hostError({ code, name, message, data }) {
    const error = name === 'HttpError' ? new HttpError(message) : new HostError(message)
    if (name !== 'HttpError') define(error, 'name', name)
    error.code = code
    for (const key of data ? keys(data) : []) error[key] = data[key]
    return error
  }

  const invalid = message => hostError({ code: 'ARGUMENT_INVALID', name: 'TypeError', message })

  /** Blocks until the host has answered; throws what it answers as an error. */
  function ask(method, args) {
    const answer = parse(apply(applySyncPromise, callHost, [undefined, [method, stringify(args, carry)]]))
    if (answer.error) throw hostError(answer.error)
    return answer.value
  }

  const pad = number => (number < 10 ? `0${number}` : `${number}`)
  /** A Date as the shop's database writes it, in the process's time zone. */
  const dateText = date =>
    `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())} ` +
    `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`

  /** JSON for what JSON can't carry: big integers cross as text. */
  const carry = (_key, value) => (typeof value === 'bigint' ? toText(value) : value)

  // db ------------------------------------------------------------------------------------------------------------

  function toParam(value) {
    if (value === undefined || value === null) return null
    if (typeof value === 'string' || typeof value === 'boolean') return value
    if (typeof value === 'number') {
      if (!isNumber(value)) throw invalid(`A statement's parameter is ${value}, which no database can hold.`)
      return value
    }
    if (typeof value === 'bigint') return toText(value)
    if (value instanceof RealmDate) return dateText(value)
    if (typeof value === 'object') return stringify(value, carry)
    throw invalid(`A statement's parameter is a ${typeof value}; give a string, number, boolean, Date or null.`)
  }

  function toParams(values) {
    const list = values.length === 1 && isArray(values[0]) ? values[0] : values
    const params = []
    for (let i = 0; i < list.length; i++) params[i] = toParam(list[i])
    return params
  }

  const query = (sql, values) => ask('db.query', [toText(sql), toParams(values)])
  const change = (sql, values) => ask('db.change', [toText(sql), toParams(values)])
  const firstValue = rows => {
    if (rows.length === 0) return null
    const names = keys(rows[0])
    return names.length === 0 ? null : rows[0][names[0]]
  }

  function transaction(work) {
    const mark = ask('db.begin', [])
    let result
    try {
      result = work()
    } catch (error) {
      ask('db.undo', [mark])
      throw error
    }
    if (!(result instanceof Promise)) {
      ask('db.keep', [mark])
      return result
    }
    return apply(then, result, [
      value => {
        ask('db.keep', [mark])
        return value
      },
      error => {
        ask('db.undo', [mark])
        throw error
      }
    ])
  }

  const db = {
    select: (sql, ...values) => query(sql, values),
    selectOne: (sql, ...values) => query(sql, values)[0] ?? null,
    selectValue: (sql, ...values) => firstValue(query(sql, values)),
    selectInt(sql, ...values) {
      const value = firstValue(query(sql, values))
      return value === null ? null : Math.trunc(Number(value))
    },
    insert(sql, ...values) {
      const { affected, insertId } = change(sql, values)
      return insertId ? insertId : affected
    },
    update: (sql, ...values) => change(sql, values).affected,
    delete: (sql, ...values) => change(sql, values).affected,
    batch(sql, rows) {
      if (!isArray(rows)) throw invalid('db.batch(sql, rows): rows must be an array of arrays.')
      const list = []
      for (let i = 0; i < rows.length; i++) list[i] = toParams(isArray(rows[i]) ? [rows[i]] : [[rows[i]]])
      return ask('db.batch', [toText(sql), list])
    },
    page(sql, { page = 1, size = 10 } = {}, ...values) {
      const total = Number(firstValue(query(`SELECT COUNT(*) AS total FROM (${sql}) sandhook_page`, values)))
      const first = (Number(page) - 1) * Number(size)
      const params = toParams(values)
      params[params.length] = Number(size)
      params[params.length] = first
      const list = total > first ? query(`${sql} LIMIT ? OFFSET ?`, [params]) : []
      return { total, list }
    },
    transaction
  }

  // http ----------------------------------------------------------------------------------------------------------

  const encode = (pairs, prefix) => {
    let text = ''
    for (const key of keys(pairs)) {
      const values = isArray(pairs[key]) ? pairs[key] : [pairs[key]]
      for (const value of values) {
        if (value === undefined || value === null) continue
        text += `${text ? '&' : prefix}${encodeURIComponent(key)}=${encodeURIComponent(value)}`
      }
    }
    return text
  }

  function bodyOf({ body, form }, headers) {
    if (form !== undefined) {
      headers['content-type'] ??= 'application/x-www-form-urlencoded;charset=UTF-8'
      return encode(form, '')
    }
    if (body === undefined || body === null) return null
    if (typeof body === 'string') return body
    headers['content-type'] ??= 'application/json;charset=UTF-8'
    return stringify(body, carry)
  }

  /** JSON with integers that a number can't hold kept as text, as `db` does. */
  function parseExact(text) {
    if (!/\d{16}/.test(text)) return parse(text)
    return parse(text, (_key, value, context) =>
      typeof value === 'number' && !Number.isSafeInteger(value) && /^-?\d+$/.test(context.source)
        ? context.source
        : value
    )
  }

  function readBody({ headers, text }, responseType) {
    if (responseType === 'text' || responseType === 'base64') return text
    const type = headers['content-type'] ?? ''
    if (responseType !== 'json' && !/json/i.test(type) && !/^\s*[[{]/.test(text)) return text
    try {
      return text === '' ? null : parseExact(text)
    } catch (error) {
      if (responseType !== 'json') return text
      throw hostError({ code: 'HTTP_ERROR', name: 'HttpError', message: `The answer is not JSON: ${error.message}` })
    }
  }

  function send(method, url, options = {}) {
    const { headers = {}, query: search, timeout, responseType, whenFull, throwOnError = true } = options ?? {}
    const sent = {}
    for (const name of keys(headers))
      if (headers[name] !== undefined && headers[name] !== null)
        sent[toText(name).toLowerCase()] = toText(headers[name])
    const body = bodyOf(options ?? {}, sent)
    const target = toText(url) + (search ? encode(search, toText(url).includes('?') ? '&' : '?') : '')
    const request = {
      method: toText(method).toUpperCase(),
      url: target,
      headers: sent,
      body,
      timeout,
      responseType,
      whenFull
    }
    const answer = ask('http.send', [request])
    const result = { status: answer.status, headers: answer.headers, body: readBody(answer, responseType) }
    if (answer.status >= 400 && throwOnError) {
      const message = `${request.method} ${answer.origin}: answered ${answer.status}`
      throw hostError({ code: 'HTTP_ERROR', name: 'HttpError', message, data: result })
    }
    return result
  }

  const http = {
    request: (options, more) =>
      typeof options === 'string'
        ? send(more?.method ?? 'GET', options, more)
        : send(options?.method ?? 'GET', options?.url, options)
  }
  for (const method of ['get', 'post', 'put', 'patch', 'delete'])
    http[method] = (url, options) => send(method, url, options).body

  // log -----------------------------------------------------------------------------------------------------------

  const MAX_LINE = 8192

  function show(value) {
    if (typeof value === 'string') return value
    if (value instanceof RealmError) return toText(value.stack ?? value)
    if (typeof value === 'object' && value !== null) {
      try {
        return stringify(value, carry) ?? toText(value)
      } catch {
        return '[not JSON]'
      }
    }
    return typeof value === 'symbol' || typeof value === 'function' ? `[${typeof value}]` : toText(value)
  }

  /** SLF4J's rules: `{}` takes the next argument, `\{}` is itself, a last Error prints its stack, surplus is ignored. */
  function format(pattern, args) {
    const text = show(pattern)
    const thrown = args.length > 0 && args[args.length - 1] instanceof RealmError ? args[args.length - 1] : null
    const count = thrown ? args.length - 1 : args.length
    let line = ''
    let from = 0
    let used = 0
    for (let at = text.indexOf('{}'); at >= 0 && used < count; at = text.indexOf('{}', from)) {
      const escaped = at > 0 && text[at - 1] === '\\'
      line += escaped ? `${text.slice(from, at - 1)}{}` : text.slice(from, at) + show(args[used++])
      from = at + 2
    }
    line += text.slice(from)
    if (thrown) line += `\n${show(thrown)}`
    return line.length > MAX_LINE ? `${line.slice(0, MAX_LINE)}… (${line.length - MAX_LINE} more characters)` : line
  }

  let logged = 0
  let logBytes = 0
  let cut = 0
  const write = (level, pattern, args) => {
    if (logged >= settings.logLines || logBytes >= settings.logBytes) {
      cut++
      return
    }
    const line = format(pattern, args)
    logged++
    logBytes += line.length
    emitLog(level, line)
  }
  const log = {}
  for (const level of ['debug', 'info', 'warn', 'error']) log[level] = (pattern, ...args) => write(level, pattern, args)

  // env, crypto ---------------------------------------------------------------------------------------------------

  const values = { __proto__: null }
  const env = {
    get(key, fallback = null) {
      return toText(key) in values ? values[key] : fallback
    },
    has: key => toText(key) in values
  }

  const compute = (operation, ...args) => {
    const answer = parse(digest(operation, stringify(args)))
    if (answer.error) throw hostError(answer.error)
    return answer.value
  }
  const crypto = {
    uuid: () => compute('uuid'),
    randomHex: size => compute('randomHex', Number(size)),
    base64Encode: text => compute('base64Encode', toText(text)),
    base64Decode: text => compute('base64Decode', toText(text))
  }
  for (const name of ['md5', 'sha1', 'sha256'])
    crypto[name] = (text, encoding = 'hex') => compute('hash', name, toText(text), toText(encoding))
  for (const [name, algorithm] of [
    ['hmacMd5', 'md5'],
    ['hmacSha1', 'sha1'],
    ['hmacSha256', 'sha256']
  ])
    crypto[name] = (key, text, encoding = 'hex', keyEncoding = 'utf8') =>
      compute('hmac', algorithm, toText(key), toText(text), toText(encoding), toText(keyEncoding))

  // emit, mq ------------------------------------------------------------------------------------------------------

  const emit = (eventKey, data, options) => ask('events.emit', [toText(eventKey), data ?? null, options ?? {}])
  const mq = {
    publish: (routingKey, body, options) => ask('mq.publish', [toText(routingKey), body ?? null, options ?? {}])
  }

  // require -------------------------------------------------------------------------------------------------------

  const modules = { __proto__: null }
  function require(name) {
    const path = toText(name)
    if (path in modules) return modules[path].exports
    const { script } = ask('lib.load', [path])
    const module = { exports: {} }
    modules[path] = module
    try {
      const load = new Function('exports', 'module', 'require', `${script}\n//# sourceURL=hook:${path}`)
      apply(load, undefined, [module.exports, module, require])
    } catch (error) {
      delete modules[path]
      throw error
    }
    return module.exports
  }

  // response, exit ------------------------------------------------------------------------------------------------

  const answer = { status: 200, headers: {} }
  let answered = false
  const response = {
    json(body) {
      answer.body = body ?? null
      answered = true
      return response
    },
    setHeader(name, value) {
      answer.headers[toText(name)] = toText(value)
      answered = true
      return response
    },
    status(code) {
      answer.status = Number(code)
      answered = true
      return response
    }
  }

  let exited = null
  function exit(code = 200, message = '', data = null) {
    exited = { end: 'exited', code: Number(code) || 500, message: toText(message), data }
    throw new HostError(`exit ${code} ${message}`)
  }

  // run -----------------------------------------------------------------------------------------------------------

  let outcome = '{"end":"pending"}'
  const describe = error => {
    if (!(error instanceof RealmError)) return { name: 'Error', message: show(error), code: '', stack: '' }
    return {
      name: toText(error.name),
      message: toText(error.message),
      code: error.code === undefined ? '' : toText(error.code),
      stack: toText(error.stack)
    }
  }
  const settle = end => {
    const text = stringify(exited ?? end, carry)
    const bytes = text.length
    outcome = bytes > settings.resultBytes + 4096 ? `{"end":"oversized","bytes":${bytes}}` : text
  }
  const fail = error => {
    try {
      settle({ end: 'threw', error: describe(error) })
    } catch {
      outcome =
        '{"end":"threw","error":{"name":"Error","message":"(the thrown value cannot be shown)","code":"","stack":""}}'
    }
  }
  const finish = value => {
    try {
      settle(answered ? { end: 'returned', value, response: answer } : { end: 'returned', value })
    } catch (error) {
      fail(error)
    }
  }

  const globals = { db, http, log, env, crypto, emit, mq, require, response, exit, HttpError }
  for (const name of keys(globals)) define(globalThis, name, globals[name])

  /** Starts the script; its outcome is there when the microtasks have run. */
  function start(script, input) {
    const { payload, env: granted, globals: given } = parse(input)
    for (const key of ownKeys(granted)) values[key] = granted[key]
    for (const name of keys(given)) define(globalThis, name, given[name])
    define(globalThis, 'payload', payload)
    let body
    try {
      body = new AsyncFunction('payload', `${script}\n//# sourceURL=hook:script`)
    } catch (error) {
      outcome = stringify({ end: 'syntax', message: error.message, line: 1, column: 1 })
      return
    }
    apply(then, apply(body, undefined, [payload]), [finish, fail])
  }

  return { start, collect: () => outcome, logsCut: () => cut }
})
