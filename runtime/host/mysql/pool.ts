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
/**
 * What every connection is set to first. The server's own limits of a statement's time stand in comments that only
 * MariaDB (in seconds) or MySQL (in milliseconds) executes.
 */
const SETTINGS = `SET SESSION innodb_lock_wait_timeout = 5,
  sql_mode = ${MODES.split(',').reduce((text, mode) => `REPLACE(${text}, '${mode}', '')`, '@@sql_mode')}
  /*M!100108 , max_statement_time = 35 */ /*!50708 , max_execution_time = 35000 */`

/** At most so many connections to `mysql://user:password@host:port/database`, made when they are needed. */
export function openMysqlPool(url: string, connections: number): MysqlPool {
  const options = poolOptions(url)
  const pool = mysql.createPool({ ...options, connectionLimit: connections })
  // A connection that dies while idle leaves the pool by itself; without a listener it would end the process.
  pool.on('connection', connection => connection.on('error', () => {}))
  const settled = new WeakSet<PoolConnection>()
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
      const lease = openLease(connection, { kill, clean })
      if (settled.has(connection)) return lease
      try {
        await lease.tell(SETTINGS)
      } catch (error) {
        connection.destroy()
        throw error
      }
      settled.add(connection)
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
}

function openLease(connection: PoolConnection, { kill, clean }: Disposal): Lease {
  let ended: Promise<void> | undefined
  let used = false
  const end = () => {
    ended ??= kill(connection)
  }
  return {
    get alive() {
      return !ended
    },
    run: async (statement, params, { bounds, signal }) => {
      used ||= statement.session
      const sql = withValues(statement, params)
      return stream(connection, { sql, bounds, signal, end })
    },
    tell: sql =>
      new Promise((resolve, reject) => {
        const patience = setTimeout(() => {
          end()
          reject(mysqlFailure(new Error(`No answer to ${sql}`)))
        }, PATIENCE)
        connection.query(sql, error => {
          clearTimeout(patience)
          if (error) reject(mysqlFailure(error))
          else resolve()
        })
      }),
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
