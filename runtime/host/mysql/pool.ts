import mysql, { type PoolConnection, type PoolOptions } from 'mysql2'
import { RuntimeError } from '../../errors.ts'
import { checkParams, stopped } from '../result.ts'
import type { Param, StatementRunner } from '../shop.ts'
import type { Statement } from '../sql/statement.ts'
import { mysqlFailure } from './failure.ts'
import { stream } from './stream.ts'
import { literal } from './values.ts'

/** A connection that belongs to one caller until it is given back. */
export interface Lease extends StatementRunner {
  /** False once the connection was ended in the middle of something; its transaction is rolled back then. */
  readonly alive: boolean
  /** Runs a statement of the runtime's own that has no result. */
  tell: (sql: string) => Promise<void>
  /** Never fails: a connection that cannot be cleaned is thrown away. Resolves when its locks are gone, if it was. */
  giveBack: () => Promise<void>
  /** Ends the connection, and on the server whatever runs on it. */
  end: () => void
}

export interface MysqlPool {
  /** Waits for a free connection until the signal fires. Throws DB_UNAVAILABLE when the server cannot be reached. */
  lease: (signal: AbortSignal) => Promise<Lease>
  close: () => Promise<void>
}

/** Longest text that is sent, parameters included, in UTF-16 units: servers cut the connection at some larger size. */
const LONGEST = 8_000_000

/** How long, in milliseconds, the server may take over BEGIN, COMMIT and the like before it counts as gone. */
const PATIENCE = 30_000

/** Modes that change how the server reads a statement: quoting must be what `sql/tokens.ts` takes it for. */
const MODES = 'NO_BACKSLASH_ESCAPES,ANSI_QUOTES,PIPES_AS_CONCAT,ANSI,ORACLE,MSSQL,DB2,POSTGRESQL,MAXDB'
/** How long the server lets a statement run, in milliseconds, when whoever runs it does not say. */
const SERVER_MS = 35_000
/** A shorter limit than this is too short for the runtime's own statements. */
const ENOUGH_MS = 20_000
/** What every connection is set to first. */
const SETTINGS = `innodb_lock_wait_timeout = 5,
  sql_mode = ${MODES.split(',').reduce((text, mode) => `REPLACE(${text}, '${mode}', '')`, '@@sql_mode')}`
/**
 * The server's own limit of a statement's time, which holds when this process is gone or busy; in comments that only
 * MariaDB (in seconds) or MySQL (in milliseconds, of statements that read) executes.
 */
const timeLimit = (ms: number): string =>
  `/*M!100108 max_statement_time = ${ms / 1000} */ /*!50708 max_execution_time = ${Math.ceil(ms)} */`

/** At most so many connections to `mysql://user:password@host:port/database`, made when they are needed. */
export function openMysqlPool(url: string, connections: number): MysqlPool {
  const options = poolOptions(url)
  const pool = mysql.createPool({ ...options, connectionLimit: connections })
  // A connection that dies while idle leaves the pool by itself; without a listener it would end the process.
  pool.on('connection', connection => connection.on('error', () => {}))
  /** Connections that have their settings, by the limit of a statement's time that is among these. */
  const settled = new WeakMap<PoolConnection, number>()
  const kills = new Set<Promise<void>>()

  /** Ends a busy connection on both sides: closing ours alone would leave its statement running and its locks held. */
  const kill = (connection: PoolConnection): Promise<void> => {
    connection.destroy()
    const killed = killThread(options, connection.threadId).finally(() => kills.delete(killed))
    kills.add(killed)
    return killed
  }
  const clean = async (connection: PoolConnection) => {
    settled.delete(connection)
    await new Promise<void>((resolve, reject) => connection.reset(error => (error ? reject(error) : resolve())))
  }

  return {
    lease: async signal => {
      const connection = await take(pool, signal)
      const lease = openLease(connection, { kill, clean, settled })
      if (settled.has(connection)) return lease
      try {
        await lease.tell(`SET SESSION ${SETTINGS}, ${timeLimit(SERVER_MS)}`)
      } catch (error) {
        connection.destroy()
        throw error
      }
      settled.set(connection, SERVER_MS)
      return lease
    },
    close: async () => {
      await new Promise<void>(resolve => pool.end(() => resolve()))
      await Promise.allSettled(kills)
    }
  }
}

function poolOptions(url: string): PoolOptions {
  const { hostname, port, username, password, pathname } = new URL(url)
  return {
    host: hostname.replace(/^\[|\]$/g, ''),
    port: Number(port || 3306),
    user: decodeURIComponent(username),
    password: decodeURIComponent(password),
    database: decodeURIComponent(pathname.slice(1)),
    charset: 'utf8mb4',
    connectTimeout: 4_000,
    dateStrings: true,
    supportBigNumbers: true,
    jsonStrings: true,
    rowsAsArray: true,
    // Statements come with their values in them; mysql2 would look through all of that for more places.
    queryFormat: sql => sql,
    // On, it makes reserved words of `count`, `position` and other names that columns have.
    flags: ['-IGNORE_SPACE'],
    // Scripts choose column names, and mysql2 would otherwise compile a row parser from them.
    disableEval: true
  }
}

function take(pool: mysql.Pool, signal: AbortSignal): Promise<PoolConnection> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(stopped(signal))
    const abort = () => reject(stopped(signal))
    signal.addEventListener('abort', abort, { once: true })
    pool.getConnection((error, connection) => {
      signal.removeEventListener('abort', abort)
      if (error) return reject(mysqlFailure(error))
      // One that comes too late goes to the next in the queue.
      if (signal.aborted) return connection.release()
      resolve(connection)
    })
  })
}

async function killThread(options: PoolOptions, thread: number): Promise<void> {
  const connection = mysql.createConnection(options)
  // Where this fails, the thread is gone, or the server's own limit ends its statement.
  connection.on('error', () => {})
  await new Promise<void>(resolve => connection.query(`KILL ${thread}`, () => resolve()))
  connection.destroy()
}

interface Disposal {
  kill: (connection: PoolConnection) => Promise<void>
  clean: (connection: PoolConnection) => Promise<void>
  settled: WeakMap<PoolConnection, number>
}

/** Runs a statement that has no result; ends a connection that stays silent. */
function told(connection: PoolConnection, sql: string, end: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const patience = setTimeout(() => {
      end()
      reject(mysqlFailure(new Error(`No answer to ${sql}`)))
    }, PATIENCE)
    connection.query(sql, error => {
      clearTimeout(patience)
      if (error) reject(mysqlFailure(error))
      else resolve()
    })
  })
}

function openLease(connection: PoolConnection, { kill, clean, settled }: Disposal): Lease {
  let ended: Promise<void> | undefined
  let used = false
  const end = () => {
    ended ??= kill(connection)
  }
  const tell = (sql: string) => told(connection, sql, end)
  // Hooks mostly have the same limit, and who has none takes what is there: a connection is seldom told another one.
  const limit = async (wanted: number | undefined) => {
    const now = settled.get(connection) ?? 0
    if (now === wanted || (wanted === undefined && now >= ENOUGH_MS)) return
    await tell(`SET SESSION ${timeLimit(wanted ?? SERVER_MS)}`)
    settled.set(connection, wanted ?? SERVER_MS)
  }
  return {
    get alive() {
      return !ended
    },
    run: async (statement, params, { bounds, signal, serverMs }) => {
      used ||= statement.session
      const sql = withValues(statement, params)
      await limit(serverMs)
      return stream(connection, { sql, bounds, signal, end })
    },
    tell,
    giveBack: async () => {
      if (!ended && used) await clean(connection).catch(end)
      if (ended) return ended
      connection.release()
    },
    end
  }
}

/** The statement's text with its parameters as literals. */
function withValues(statement: Statement, params: Param[]): string {
  checkParams(statement, params)
  const { sql, tokens } = statement
  let text = ''
  let from = 0
  tokens
    .filter(({ kind }) => kind === 'param')
    .forEach(({ start, end }, index) => {
      text += sql.slice(from, start) + literal(params[index] as Param)
      from = end
    })
  text += sql.slice(from)
  if (text.length <= LONGEST) return text
  const size = `${(text.length / 1e6).toFixed(1)} million characters`
  throw new RuntimeError(
    'ARGUMENT_INVALID',
    `The statement with its values is ${size} long, and 8 million is the limit`
  )
}
