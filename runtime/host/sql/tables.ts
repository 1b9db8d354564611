/** How rows of a table belong to merchants; a row of `config/tables.json`. */
export type TableConfig =
  /** The column holds the merchant's id. */
  | { tenant: string; access?: 'read' }
  /** The row belongs to whoever the row that it leads to belongs to: `link` holds what `to` (`table.column`) holds. */
  | { link: string; to: string; access?: 'read' }
  /** Every merchant may read all of it. */
  | { shared: 'read' }

/** What is known of one table. */
export interface TableRule {
  readonly name: string
  readonly writable: boolean
  /** The condition, in SQL, that a row is the merchant's; its `?` all stand for the merchant's id. Null: everybody's. */
  readonly owns: ((alias: string) => string) | null
  readonly tenant: string | null
  /** The column that says whose a row is, directly or by where it leads; null: everybody's. */
  readonly key: string | null
  /** The column that leads to the owner's row, and whether a value leads to a row of the merchant's (`?`: the value, twice). */
  readonly link: { column: string; known: string } | null
  /** Columns, in lower case, by which other tables' rows are found. */
  readonly anchors: ReadonlySet<string>
}

/** Rules by a table's name in lower case. */
export type Tables = ReadonlyMap<string, TableRule>

/** Stands for the merchant's id in the SQL of a rule; no statement can contain it. */
export const OWNER = '\ue000'
/** Stands for the value that is asked for in `known`. */
export const VALUE = '\ue001'

type Rows = Map<string, { name: string; row: TableConfig }>

const wrong = (name: string, problem: string): Error => new Error(`config/tables.json: ${name}: ${problem}`)

/** The table and the column that a link leads to. */
function targetOf(rows: Rows, name: string, to: string) {
  const [table = '', column = ''] = to.split('.')
  const found = rows.get(table.toLowerCase())
  if (!found || !column) throw wrong(name, `${to} leads to no table of this file`)
  if ('shared' in found.row) throw wrong(name, `${to} leads to a table that nobody owns`)
  return { table: found.name, column, row: found.row }
}

/** The condition that a row is the merchant's; `depth` numbers the tables that a link leads over. */
function ownership(rows: Rows, name: string, row: TableConfig, alias: string, depth = 1): string {
  if ('tenant' in row) return `${alias}.${quoted(row.tenant)} = ${OWNER}`
  if (!('link' in row)) return '1 = 1'
  if (depth > rows.size) throw wrong(name, 'its links lead in a circle')
  const parent = targetOf(rows, name, row.to)
  const inner = `sandhook_${depth}`
  const from = `SELECT ${inner}.${quoted(parent.column)} FROM ${quoted(parent.table)} AS ${inner}`
  return `${alias}.${quoted(row.link)} IN (${from} WHERE ${ownership(rows, name, parent.row, inner, depth + 1)})`
}

function linkOf(rows: Rows, name: string, row: TableConfig): TableRule['link'] {
  if (!('link' in row)) return null
  const parent = targetOf(rows, name, row.to)
  const key = `sandhook_0.${quoted(parent.column)}`
  // The text is compared as well: to the server, the number 12 equals the text 12abc.
  const same = `${key} = ${VALUE} AND CAST(${key} AS CHAR) = ${VALUE}`
  const mine = ownership(rows, name, parent.row, 'sandhook_0')
  return { column: row.link, known: `SELECT 1 FROM ${quoted(parent.table)} AS sandhook_0 WHERE ${same} AND ${mine}` }
}

/** The rules of `config/tables.json`. Throws an Error that names the row when a link leads nowhere or in a circle. */
export function createTables(config: Record<string, TableConfig>): Tables {
  const rows: Rows = new Map(Object.entries(config).map(([name, row]) => [name.toLowerCase(), { name, row }]))
  const targets = [...rows.values()].flatMap(({ name, row }) => ('link' in row ? [targetOf(rows, name, row.to)] : []))
  const ruleOf = ({ name, row }: { name: string; row: TableConfig }): TableRule => {
    ownership(rows, name, row, name)
    return {
      name,
      writable: !('shared' in row) && row.access !== 'read',
      owns: 'shared' in row ? null : alias => ownership(rows, name, row, alias),
      tenant: 'tenant' in row ? row.tenant : null,
      key: 'tenant' in row ? row.tenant : 'link' in row ? row.link : null,
      link: linkOf(rows, name, row),
      anchors: new Set(targets.filter(({ table }) => table === name).map(({ column }) => column.toLowerCase()))
    }
  }
  return new Map([...rows].map(([key, row]) => [key, ruleOf(row)]))
}

/** A name as SQL. */
export const quoted = (name: string): string => `\`${name.replaceAll('`', '``')}\``
