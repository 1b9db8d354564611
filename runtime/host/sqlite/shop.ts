import { setTimeout as sleep } from 'node:timers/promises'
import Database from 'better-sqlite3'
import { RuntimeError } from '../../errors.ts'
import { checkParams, collectRows, stopped } from '../result.ts'
import type { Answer, Cell, Param, ShopDatabase, ShopTransaction, StatementOptions } from '../shop.ts'
import type { Statement } from '../sql/statement.ts'
import { sqliteFailure } from './failure.ts'
import { registerFunctions } from './functions.ts'
import { translate } from './translate.ts'
import { makeTurns } from './turns.ts'

/** How long a transaction waits, in milliseconds, for another program that writes to the same file. */
const PATIENCE = 5_000

/**
 * The shop in a SQLite file (made when there is none), for trying things out and for small shops. Scripts speak MySQL to
 * it: see `translate` for what is the same and what is not.
 *
 * Reads go to a connection that cannot write and see what is committed. Writers take turns, in the order of asking: one
 * holds the file from its first write to its end, while it waits for HTTP too, and only other writers wait for it.
 * `affected` counts the rows matched, changed or not.
 *
 * SQLite works in the calling thread and cannot be interrupted: the signal of a run is looked at between statements, and
 * a slow statement holds up the whole process.
 */
export function openSqliteShop(file: string): ShopDatabase {
  const writer = connect(file)
  const reader = connect(file)
  reader.pragma('query_only = ON')
  const turns = makeTurns()
  const begin = async (signal: AbortSignal): Promise<ShopTransaction> => {
    const done = await turns.take(signal).catch(() => {
      throw stopped(signal)
    })
    try {
      await lock(writer, signal)
    } catch (error) {
      done()
      throw error
    }
    return openTransaction(writer, done)
  }
  return {
    engine: 'sqlite',
    run: async (statement, params, options) => {
      if (statement.kind === 'read') return execute(reader, statement, params, options)
      const transaction = await begin(options.signal)
      try {
        const answer = await transaction.run(statement, params, options)
        await transaction.commit()
        return answer
      } finally {
        await transaction.rollback()
      }
    },
    begin,
    ping: async () => {
      try {
        reader.prepare('SELECT 1').get()
      } catch (error) {
        throw new RuntimeError('DB_UNAVAILABLE', "The shop's database does not answer", { cause: error })
      }
    },
    close: async () => {
      reader.close()
      writer.close()
    }
  }
}

function connect(file: string): Database.Database {
  // Waiting inside SQLite would hold up the whole process: `lock` waits outside.
  const connection = new Database(file, { timeout: 20 })
  connection.pragma('journal_mode = WAL')
  connection.pragma('synchronous = FULL')
  connection.pragma('foreign_keys = ON')
  connection.defaultSafeIntegers(true)
  registerFunctions(connection)
  return connection
}

/** Begins a transaction that may write; another program that writes to the file is waited for. */
async function lock(connection: Database.Database, signal: AbortSignal): Promise<void> {
  for (const deadline = Date.now() + PATIENCE; ; ) {
    try {
      connection.exec('BEGIN IMMEDIATE')
      return
    } catch (error) {
      const failure = sqliteFailure(error)
      if (failure.code !== 'DB_CONFLICT' || Date.now() > deadline) throw failure
    }
    await sleep(10, undefined, { signal }).catch(() => {
      throw stopped(signal)
    })
  }
}

function openTransaction(connection: Database.Database, done: () => void): ShopTransaction {
  let ended = false
  const open = () => {
    if (ended) throw new RuntimeError('DB_ERROR', 'The transaction has ended')
    // A full disk, for one, makes SQLite roll back by itself; a next statement would commit alone.
    if (!connection.inTransaction) throw new RuntimeError('DB_CONFLICT', 'The database has rolled the transaction back')
  }
  const tell = async (sql: string) => {
    open()
    try {
      connection.exec(sql)
    } catch (error) {
      throw sqliteFailure(error)
    }
  }
  const rollback = async () => {
    if (ended) return
    ended = true
    if (connection.inTransaction) connection.exec('ROLLBACK')
    done()
  }
  return {
    run: async (statement, params, options) => {
      open()
      return execute(connection, statement, params, options)
    },
    savepoint: mark => tell(`SAVEPOINT mark_${mark}`),
    release: mark => tell(`RELEASE mark_${mark}`),
    undo: mark => tell(`ROLLBACK TO mark_${mark}`),
    commit: async () => {
      if (ended) return
      try {
        await tell('COMMIT')
      } catch (error) {
        await rollback()
        throw error
      }
      ended = true
      done()
    },
    rollback
  }
}

const translations = new WeakMap<Statement, string>()

function execute(
  connection: Database.Database,
  statement: Statement,
  params: Param[],
  options: StatementOptions
): Answer {
  if (options.signal.aborted) throw stopped(options.signal)
  checkParams(statement, params)
  const sql = translations.get(statement) ?? translate(statement)
  translations.set(statement, sql)
  const values = params.map(toSqlite)
  try {
    if (statement.kind === 'write') return change(connection, statement, sql, values)
    const prepared = connection.prepare<unknown[], unknown[]>(sql).raw()
    const names = prepared.columns().map(({ name }) => name)
    const { rows, add } = collectRows(names, options.bounds)
    for (const cells of prepared.iterate(...values)) add(cells.map(toCell))
    return { rows }
  } catch (error) {
    throw sqliteFailure(error)
  }
}

function change(connection: Database.Database, { verb, ast }: Statement, sql: string, values: unknown[]): Answer {
  const table = (ast as { table?: { table?: string }[] }).table?.[0]?.table
  const key = (verb === 'insert' || verb === 'replace') && table ? countedKey(connection, table) : undefined
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
