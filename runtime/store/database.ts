import { mkdirSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { dirname } from 'node:path'
import knex, { type Knex } from 'knex'
import { RuntimeError } from '../errors.ts'

export type Database = Knex
/** What its work is given by `transact`. */
export type Transaction = Knex.Transaction
/**
 * What else is to be written when something is done, in the very transaction that does it: both are there, or neither.
 * It may be called again when that transaction starts again; what it throws undoes everything.
 */
export type Also<T> = (trx: Transaction, done: T) => Promise<void>
/** A thing before and after a change; null: it was not there, or is gone. */
export interface Changed<T> {
  before: T | null
  after: T | null
}

const MIGRATIONS = new URL('../../sql/runtime/', import.meta.url)
const MIGRATED = 'sandhook_migrations'

/** How long a server may take over one statement, in milliseconds, before it counts as gone. */
const PATIENCE_MS = 8_000

/**
 * Opens the runtime's own database: `sqlite:<file>` (WAL, one connection) or `mysql://user:pass@host:port/db`
 * (READ COMMITTED, a pool). Connects lazily: an unreachable server shows at the first query, and one that is reached
 * but says nothing for `patienceMs` ends it.
 */
export function openDatabase(url: string, patienceMs: number = PATIENCE_MS): Database {
  return url.startsWith('sqlite:') ? openSqlite(url.slice('sqlite:'.length)) : openMysql(new URL(url), patienceMs)
}

function openSqlite(filename: string): Database {
  mkdirSync(dirname(filename), { recursive: true })
  return knex({
    client: 'better-sqlite3',
    connection: { filename },
    useNullAsDefault: true,
    pool: {
      min: 1,
      max: 1,
      afterCreate: (connection: { pragma: (text: string) => unknown }, done: (error?: unknown) => void) => {
        for (const pragma of ['journal_mode = WAL', 'synchronous = FULL', 'foreign_keys = ON', 'busy_timeout = 2000'])
          connection.pragma(pragma)
        done()
      }
    }
  })
}

interface MysqlConnection {
  stream: Socket
  query: (sql: string, done: (error: unknown) => void) => void
}

function openMysql(url: URL, patienceMs: number): Database {
  return knex({
    client: 'mysql2',
    // Whatever it has to say, its callers are told.
    log: { warn: () => {}, error: () => {} },
    acquireConnectionTimeout: 5_000,
    connection: {
      host: url.hostname.replace(/^\[|\]$/g, ''),
      port: Number(url.port || 3306),
      user: decodeURIComponent(url.username),
      password: decodeURIComponent(url.password),
      database: decodeURIComponent(url.pathname.slice(1)),
      charset: 'utf8mb4',
      connectTimeout: 4_000
    },
    pool: {
      min: 0,
      max: 8,
      afterCreate: (connection: MysqlConnection, done: (error: unknown, connection: unknown) => void) => {
        endWhenSilent(connection, patienceMs)
        connection.query('SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED', error => done(error, connection))
      }
    }
  })
}

/** The driver itself would wait for ever. A connection that idles so long goes too: the pool makes another. */
function endWhenSilent({ stream }: MysqlConnection, patienceMs: number): void {
  const silence = Object.assign(new Error(`no answer within ${patienceMs / 1000} s`), { code: 'ETIMEDOUT' })
  stream.setTimeout(patienceMs, () => stream.destroy(silence))
}

/** Whether the database speaks MySQL's protocol; the rest is SQLite. */
export const isMysql = (db: Database): boolean => db.client.config.client === 'mysql2'

/**
 * Brings the tables up to the newest numbered file of `sql/runtime/`, each once. Several nodes may start at the same
 * moment: on MySQL they take turns by a named lock, which a node that dies gives back.
 */
export async function migrate(db: Database): Promise<void> {
  const apply = async () => {
    // A node that was killed half-way has left knex's own lock behind.
    await db.migrate.forceFreeMigrationsLock({ migrationSource, tableName: MIGRATED })
    await db.migrate.latest({ migrationSource, tableName: MIGRATED, disableTransactions: isMysql(db) })
  }
  if (!isMysql(db)) return apply()
  const { client } = db
  const connection = await client.acquireConnection()
  const query = (sql: string) => connection.promise().query(sql)
  try {
    await query("SELECT GET_LOCK('sandhook_migrate', 120)")
    await apply()
  } finally {
    // A connection that was lost has lost the lock as well.
    await query("SELECT RELEASE_LOCK('sandhook_migrate')").catch(() => {})
    await client.releaseConnection(connection)
  }
}

const migrationSource: Knex.MigrationSource<string> = {
  getMigrations: async () => (await readdir(MIGRATIONS)).filter(name => name.endsWith('.sql')).sort(),
  getMigrationName: name => name,
  getMigration: async name => ({
    up: async db => {
      for (const statement of statementsOf(await readFile(new URL(name, MIGRATIONS), 'utf8')))
        await db.raw(statement).catch(ignoreExistingIndex)
    },
    down: async () => {}
  })
}

/** The statements of a file of `sql/`: each ends with `;` at a line's end. */
export const statementsOf = (text: string): string[] =>
  text
    .split(/;\s*$/m)
    .map(statement => statement.replace(/^\s*--.*$/gm, '').trim())
    .filter(statement => statement !== '')

/** MySQL's DDL is not transactional: a migration that died half-way meets its own indexes again. */
function ignoreExistingIndex(error: unknown): void {
  if ((error as { errno?: number }).errno !== 1061) throw error
}

const CONFLICTS = new Set([1213, 1205, 1020])

/** Runs `work` in one transaction; a deadlock or lock wait, which MySQL leaves to its clients, starts it again. */
export async function transact<T>(db: Database, work: (trx: Transaction) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    let failure: { error: unknown } | null = null
    try {
      return await db.transaction(trx =>
        work(trx).catch(error => {
          failure = { error }
          throw error
        })
      )
    } catch (thrown) {
      // SQLite rolls back by itself when the disk is full, and then complains that there is nothing to roll back.
      const { error } = failure ?? { error: thrown }
      if (attempt === 5 || !CONFLICTS.has(Number((error as { errno?: number }).errno))) throw error
    }
  }
}

/** Whether an insert met a row with the same key. */
export const isDuplicate = (error: unknown): boolean => {
  const { errno, code } = error as { errno?: number; code?: string }
  return errno === 1062 || code === 'SQLITE_CONSTRAINT_PRIMARYKEY' || code === 'SQLITE_CONSTRAINT_UNIQUE'
}

const OUTAGE_CODES = new Set([
  ...['ECONNREFUSED', 'ECONNRESET', 'ETIMEDOUT', 'EPIPE', 'EHOSTUNREACH', 'ENOTFOUND', 'EAI_AGAIN'],
  ...['PROTOCOL_CONNECTION_LOST', 'PROTOCOL_ENQUEUE_AFTER_FATAL_ERROR', 'POOL_CLOSED']
])
/** SQLite's codes say more at their end: `SQLITE_IOERR_WRITE`. */
const SQLITE_OUTAGES = /^SQLITE_(BUSY|FULL|IOERR|CANTOPEN|READONLY)/
/** Too many connections, disk full, shutting down, read-only, connection killed, access denied while it restarts. */
const OUTAGE_NUMBERS = new Set([1040, 1021, 1053, 1290, 1927, 1114, 1203, 1205, 1213, 1020])

/** Whether an error says that the database is away, or takes nothing for now. */
export function isOutage(error: unknown): boolean {
  const { code, errno, name, message } = error as { code?: string; errno?: number; name?: string; message?: string }
  return (
    OUTAGE_CODES.has(String(code)) ||
    SQLITE_OUTAGES.test(String(code)) ||
    OUTAGE_NUMBERS.has(Number(errno)) ||
    name === 'KnexTimeoutError' ||
    /connection is in closed state|Connection lost|Unable to acquire a connection|aborted/i.test(String(message))
  )
}

/**
 * A store whose every method names an outage of the database as STORE_UNAVAILABLE: the one place where drivers'
 * errors become ours. Anything else (a bug) passes as it is.
 */
export function guarded<T extends object>(store: T): T {
  const entries = Object.entries(store).map(([name, method]) => [
    name,
    async (...args: unknown[]) => {
      try {
        return await method(...args)
      } catch (error) {
        if (!isOutage(error)) throw error
        const why = (error as Error).message
        throw new RuntimeError('STORE_UNAVAILABLE', `The runtime's database does not answer (${why}); try again.`, {
          cause: error,
          retryAfterMs: 2_000
        })
      }
    }
  ])
  return Object.fromEntries(entries) as T
}

const CHUNK_ROWS = 100
/** A quarter of the smallest packet that servers accept by default. */
const CHUNK_BYTES = 4 * 1024 * 1024

/** Inserts rows in the caller's transaction, in statements that no server finds too large. */
export async function insertRows(trx: Transaction, table: string, rows: object[]): Promise<void> {
  for (const chunk of chunksOf(rows)) await trx(table).insert(chunk)
}

/** The same for rows that may exist already by their `key`: those are replaced. */
export async function upsertRows(trx: Transaction, table: string, key: string[], rows: object[]): Promise<void> {
  for (const chunk of chunksOf(rows)) await trx(table).insert(chunk).onConflict(key).merge()
}

/** How many characters a row holds, roughly. */
export const lengthOfRow = (row: object): number =>
  Object.values(row).reduce((sum, value) => sum + (typeof value === 'string' ? value.length : 8), 0)

function* chunksOf(rows: object[]): Generator<object[]> {
  let chunk: object[] = []
  let bytes = 0
  for (const row of rows) {
    const size = 2 * lengthOfRow(row)
    if (chunk.length === CHUNK_ROWS || (chunk.length > 0 && bytes + size > CHUNK_BYTES)) {
      yield chunk
      chunk = []
      bytes = 0
    }
    chunk.push(row)
    bytes += size
  }
  if (chunk.length > 0) yield chunk
}
