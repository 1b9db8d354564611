import { setTimeout as sleep } from 'node:timers/promises'
import { RuntimeError } from '../../errors.ts'
import { checkParams, stopped } from '../result.ts'
import type { Answer, Param, ShopDatabase, ShopTransaction, StatementOptions } from '../shop.ts'
import { parseStatement, type Statement } from '../sql/statement.ts'
import type { Request } from './engine.ts'
import { openReaders } from './readers.ts'
import { type Session, startSession } from './session.ts'
import { translate } from './translate.ts'
import { makeTurns } from './turns.ts'

/** How long a transaction waits, in milliseconds, for another program that writes to the same file. */
const PATIENCE = 5_000
/** How long, in milliseconds, a statement of a script may take: others wait for it. */
const MOST_MS = 5_000
/** The same for what the runtime says itself. */
const OWN_MS = 20_000

/** How long, in milliseconds, closing waits for the one who writes. */
const CLOSE_MS = 2_000

const PING = parseStatement('SELECT 1')

/**
 * The shop in a SQLite file (made when there is none), for trying things out and for small shops. Scripts speak MySQL to
 * it: see `translate` for what is the same and what is not.
 *
 * Reads go to connections that cannot write and see what is committed. Writers take turns, in the order of asking: one
 * holds the file from its first write to its end, while it waits for HTTP too, and only other writers wait for it. A hook
 * has one read under way at a time, and one of its runs waits for the writers' turn, so that a slow hook leaves room for
 * others. `affected` counts the rows matched, changed or not.
 *
 * SQLite can't be interrupted, so each connection is in a process of its own, which is ended when a statement takes more
 * than five seconds or outlasts its run.
 */
export function openSqliteShop(file: string): ShopDatabase {
  const readers = openReaders(file)
  let writer: Session | null = null
  const turns = makeTurns()
  const begin = async (signal: AbortSignal, hook?: string): Promise<ShopTransaction> => {
    const done = await turns.take(signal, hook).catch(() => {
      throw stopped(signal)
    })
    try {
      if (!writer?.alive) writer = startSession(file, 'write')
      await lock(writer, signal)
      return openTransaction(writer, done)
    } catch (error) {
      done()
      throw error
    }
  }
  return {
    engine: 'sqlite',
    run: async (statement, params, options) => {
      if (statement.kind === 'read') return readers.ask(requestOf(statement, params, options, false), boundsOf(options))
      const transaction = await begin(options.signal, options.hook)
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
      const options = { bounds: { rows: 1, bytes: 1_000 }, signal: AbortSignal.timeout(MOST_MS) }
      try {
        await readers.ask(requestOf(PING, [], options, false), boundsOf(options))
      } catch (error) {
        throw new RuntimeError('DB_UNAVAILABLE', "The shop's database does not answer", { cause: error })
      }
    },
    close: async () => {
      // Who is at it may finish.
      await turns.take(AbortSignal.timeout(CLOSE_MS)).catch(() => {})
      await Promise.all([readers.close(), writer?.end()])
    }
  }
}

/** Begins a transaction that may write; another program that writes to the file is waited for. */
async function lock(session: Session, signal: AbortSignal): Promise<void> {
  for (const deadline = Date.now() + PATIENCE; ; ) {
    try {
      await session.ask({ do: 'tell', sql: 'BEGIN IMMEDIATE' }, { limitMs: OWN_MS })
      return
    } catch (error) {
      if ((error as RuntimeError).code !== 'DB_CONFLICT' || Date.now() > deadline) throw error
    }
    await sleep(10, undefined, { signal }).catch(() => {
      throw stopped(signal)
    })
  }
}

function openTransaction(session: Session, done: () => void): ShopTransaction {
  let ended = false
  const ask = async (request: Request, options: { signal?: AbortSignal; limitMs: number }): Promise<Answer> => {
    if (ended) throw new RuntimeError('DB_ERROR', 'The transaction has ended')
    if (!session.alive) throw new RuntimeError('DB_CONFLICT', 'The database has rolled the transaction back')
    return session.ask(request, options)
  }
  const tell = async (sql: string) => void (await ask({ do: 'tell', sql }, { limitMs: OWN_MS }))
  const rollback = async () => {
    if (ended) return
    // Where there is nothing to roll back, SQLite has done so itself, or its process is gone.
    await tell('ROLLBACK').catch(() => {})
    ended = true
    done()
  }
  return {
    run: async (statement, params, options) => ask(requestOf(statement, params, options, true), boundsOf(options)),
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

const boundsOf = ({ signal, serverMs, hook }: StatementOptions) => ({
  ...{ signal, hook },
  limitMs: serverMs === undefined ? OWN_MS : Math.min(serverMs, MOST_MS)
})

const translations = new WeakMap<Statement, string>()

function requestOf(statement: Statement, params: Param[], { bounds }: StatementOptions, within: boolean): Request {
  checkParams(statement, params)
  const sql = translations.get(statement) ?? translate(statement)
  translations.set(statement, sql)
  if (statement.kind === 'read') return { do: 'read', sql, params, bounds, within }
  const makesRows = statement.verb === 'insert' || statement.verb === 'replace'
  const { table } = statement.ast as { table?: { table?: string }[] }
  return { do: 'write', sql, params, table: (makesRows && table?.[0]?.table) || null }
}
