import Database from 'better-sqlite3'
import { RuntimeError } from '../../errors.ts'
import { collectRows } from '../result.ts'
import type { Answer, Cell, Param, ResultBounds } from '../shop.ts'
import { sqliteFailure } from './failure.ts'
import { registerFunctions } from './functions.ts'

/** What is to be done, in SQLite's dialect. */
export type Request =
  | { do: 'read'; sql: string; params: Param[]; bounds: ResultBounds; within: boolean }
  /** `table`: the one whose new row's id is wanted; null for what makes no rows. */
  | { do: 'write'; sql: string; params: Param[]; table: string | null }
  /** BEGIN, COMMIT and the like; all but the former need an open transaction, as do writes and reads `within` one. */
  | { do: 'tell'; sql: string }

const NOTHING: Answer = { affected: 0, insertId: null }

/**
 * Opens a SQLite file (made when there is none) and answers what executes requests on it, one at a time. Throws
 * RuntimeError as `StatementRunner` says; DB_CONFLICT also when a transaction is needed and SQLite has ended it.
 */
export function openEngine(file: string, access: 'read' | 'write'): (request: Request) => Answer {
  const connection = connect(file, access)

  function execute(request: Request): Answer {
    const free =
      (request.do === 'read' && !request.within) || (request.do === 'tell' && request.sql.startsWith('BEGIN'))
    // A full disk, for one, makes SQLite roll back by itself; a next statement would commit alone.
    if (!free && !connection.inTransaction)
      throw new RuntimeError('DB_CONFLICT', 'The database has rolled the transaction back')
    if (request.do === 'read') return read(connection, request)
    if (request.do === 'write') return change(connection, request)
    connection.exec(request.sql)
    return NOTHING
  }

  return request => {
    try {
      return execute(request)
    } catch (error) {
      throw sqliteFailure(error)
    }
  }
}

function connect(file: string, access: 'read' | 'write'): Database.Database {
  // Who waits inside SQLite hears nothing else: the one who wants to write asks again.
  const connection = new Database(file, { timeout: 20 })
  try {
    // Only a writer can change the file's mode, which it keeps.
    for (const pragma of access === 'read' ? ['query_only = ON'] : ['journal_mode = WAL', 'synchronous = FULL'])
      connection.pragma(pragma)
    connection.pragma('foreign_keys = ON')
    // What a statement has to sort is to fill its process's memory, which is watched, and no disk.
    connection.pragma('temp_store = MEMORY')
  } catch (error) {
    connection.close()
    throw sqliteFailure(error)
  }
  connection.defaultSafeIntegers(true)
  registerFunctions(connection)
  return connection
}

function read(connection: Database.Database, { sql, params, bounds }: Extract<Request, { do: 'read' }>): Answer {
  const prepared = connection.prepare<unknown[], unknown[]>(sql).raw()
  const names = prepared.columns().map(({ name }) => name)
  const { rows, add } = collectRows(names, bounds)
  for (const cells of prepared.iterate(...params.map(toSqlite))) add(cells.map(toCell))
  return { rows }
}

function change(connection: Database.Database, { sql, params, table }: Extract<Request, { do: 'write' }>): Answer {
  const values = params.map(toSqlite)
  const key = table === null ? undefined : countedKey(connection, table)
  if (!key) return { affected: connection.prepare(sql).run(...values).changes, insertId: null }
  const made = connection
    .prepare(`${sql} RETURNING \`${key}\``)
    .pluck()
    .all(...values)
  return { affected: made.length, insertId: (toCell(made[0] ?? null) as number | string | null) ?? null }
}

/** The table's primary key when it is one integer column, which SQLite counts up as AUTO_INCREMENT does. */
const countedKey = (connection: Database.Database, table: string): string | undefined =>
  connection
    .prepare<[string], string>(
      "SELECT MAX(name) FROM pragma_table_info(?) WHERE pk > 0 HAVING COUNT(*) = 1 AND UPPER(MAX(type)) = 'INTEGER'"
    )
    .pluck()
    .get(table)

/** better-sqlite3 binds every number as REAL, which a TEXT column would keep as `5.0`. */
function toSqlite(param: Param): unknown {
  if (typeof param === 'boolean') return param ? 1n : 0n
  return Number.isSafeInteger(param) ? BigInt(param as number) : param
}

function toCell(value: unknown): Cell {
  if (typeof value === 'bigint')
    return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : String(value)
  return Buffer.isBuffer(value) ? value.toString('base64') : (value as Cell)
}
