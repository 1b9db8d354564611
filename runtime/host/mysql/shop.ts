import { type ErrorCode, RuntimeError } from '../../errors.ts'
import type { ShopDatabase, ShopTransaction } from '../shop.ts'
import { parseStatement } from '../sql/statement.ts'
import { type Lease, openMysqlPool } from './pool.ts'

const PING = parseStatement('SELECT 1')

/**
 * The shop on MySQL or MariaDB (`mysql://user:password@host:port/database`), over at most so many connections; connects
 * when first used.
 *
 * Statements go as text, parameters spliced in where the tokenizer saw a `?`. Server-side preparation would cost a round
 * trip and send every number as a DOUBLE, which `LIMIT ?` refuses and which makes `price * ?` inexact.
 * `affected` counts the rows matched, changed or not; INSERT … ON DUPLICATE KEY UPDATE counts an updated row twice.
 *
 * A statement that outlasts its run or its bounds is killed on the server, and its connection with it. Other connections
 * return to the pool as they are: what the parser lets through leaves nothing behind on one, except the statements
 * marked `session`, after which it is reset.
 */
export function openMysqlShop(url: string, { connections }: { connections: number }): ShopDatabase {
  const pool = openMysqlPool(url, connections)
  return {
    engine: 'mysql',
    run: async (statement, params, options) => {
      const lease = await pool.lease(options.signal)
      return lease.run(statement, params, options).finally(lease.giveBack)
    },
    begin: async signal => {
      const lease = await pool.lease(signal)
      try {
        await lease.tell('START TRANSACTION')
      } catch (error) {
        await lease.giveBack()
        throw error
      }
      return openTransaction(lease)
    },
    ping: async () => {
      const signal = AbortSignal.timeout(5_000)
      try {
        const lease = await pool.lease(signal)
        await lease.run(PING, [], { bounds: { rows: 1, bytes: 100 }, signal }).finally(lease.giveBack)
      } catch (error) {
        throw new RuntimeError('DB_UNAVAILABLE', "The shop's database does not answer", { cause: error })
      }
    },
    close: pool.close
  }
}

/** Failures after which the server has no transaction any more: a next statement would commit by itself. */
const LOST = new Set<ErrorCode>(['DB_CONFLICT', 'DB_UNAVAILABLE'])

function openTransaction(lease: Lease): ShopTransaction {
  /** Why nothing more can be done in it: the server, or a kill, has rolled it back. */
  let lost: unknown
  let ended = false
  const rollback = async () => {
    if (ended) return
    ended = true
    // A connection that cannot even roll back is closed, which rolls back.
    if (lease.alive) await lease.tell('ROLLBACK').catch(lease.end)
    await lease.giveBack()
  }
  const inside = async <T>(act: () => Promise<T>): Promise<T> => {
    if (ended) throw new RuntimeError('DB_ERROR', 'The transaction has ended')
    if (lost) throw lost
    try {
      return await act()
    } catch (error) {
      if (!lease.alive || LOST.has((error as RuntimeError).code)) lost = error
      throw error
    }
  }
  return {
    run: (statement, params, options) => inside(() => lease.run(statement, params, options)),
    savepoint: mark => inside(() => lease.tell(`SAVEPOINT mark_${mark}`)),
    release: mark => inside(() => lease.tell(`RELEASE SAVEPOINT mark_${mark}`)),
    undo: mark => inside(() => lease.tell(`ROLLBACK TO SAVEPOINT mark_${mark}`)),
    commit: async () => {
      if (ended) return
      try {
        await inside(() => lease.tell('COMMIT'))
      } catch (error) {
        await rollback()
        throw error
      }
      ended = true
      await lease.giveBack()
    },
    rollback
  }
}
