import { RuntimeError } from '../errors.ts'
import type { Announcement, Json, Limits, TransactionMode } from '../model.ts'
import type { Answer, Param, ShopDatabase, ShopTransaction } from './shop.ts'
import type { ReadScript, ScriptStatement } from './sql/access.ts'
import { conceal } from './sql/conceal.ts'
import { parseStatement, type Statement } from './sql/statement.ts'

/** How a run's effects ended. `already`: an earlier run of this execution had committed them. */
export type Commit = 'committed' | 'nothing' | 'already'

/** What `db` in a script asks for, for one run. Calls come one at a time. */
export interface DbHost {
  /** Rows of a statement that reads. */
  query: (sql: string, params: Param[]) => Promise<Json>
  /** What a statement that writes came to: `{ affected, insertId }`. */
  change: (sql: string, params: Param[]) => Promise<{ affected: number; insertId: number | string | null }>
  /** One statement for many rows of parameters; answers the affected rows of all. */
  batch: (sql: string, rows: Param[][]) => Promise<number>
  /** Opens a nested transaction (a savepoint) and names it. */
  begin: () => Promise<number>
  keep: (mark: number) => Promise<void>
  undo: (mark: number) => Promise<void>
  /**
   * Ends the run's transaction by committing it; with `marker`, together with the proof that the run is done. One that
   * does not stay only finds out whether an earlier run has left its own.
   */
  commit: (marker: EffectMarker | null, stays?: boolean) => Promise<Commit>
  rollback: () => Promise<void>
}

/** Proof in the shop that an execution's writes are committed, with what its script returned and wanted told. */
export interface EffectMarker {
  executionId: string
  result: Json
  announcements: Announcement[]
}

export interface DbNeeds {
  shop: ShopDatabase
  limits: Limits
  mode: TransactionMode
  /** Whose statements these are. */
  hook: string
  /** Reads the script's statements as its owner may run them. */
  read: ReadScript
  /** Fires when the run is over. */
  signal: AbortSignal
}

const INSERT_MARKER = parseStatement('INSERT INTO hook_effects (execution_id, result, created_at) VALUES (?, ?, ?)')
const DELETE_MARKER = parseStatement('DELETE FROM hook_effects WHERE execution_id = ?')
const SELECT_MARKER = parseStatement('SELECT result FROM hook_effects WHERE execution_id = ?')
/** The runtime's own statements are not bound to the run's end; they end when the server is silent for so long. */
const MARKER_MS = 20_000
const markerOptions = () => ({ bounds: { rows: 1, bytes: 16_000_000 }, signal: AbortSignal.timeout(MARKER_MS) })
const DUPLICATE_KEY = 1062
const MAX_CONFLICTS = 5

/**
 * A run's view of the shop. Reads before the first write run outside any transaction; the first write, or a read that
 * locks, opens one, in which everything else happens until `commit` or `rollback`. In mode `none` each statement
 * commits by itself, except within `db.transaction`.
 */
export function createDbHost({ shop, limits, mode, hook, read, signal }: DbNeeds): DbHost {
  /** The transaction, from the moment that it is asked for: a run may be over before it is open. */
  let open: Promise<ShopTransaction> | null = null
  let marks = 0
  const bounds = { rows: limits.dbRows, bytes: limits.dbBytes }

  const opened = (): Promise<ShopTransaction> => {
    open ??= shop.begin(signal, hook)
    return open
  }

  async function run(statement: Statement, params: Param[]): Promise<Answer> {
    const writes = statement.kind === 'write' || statement.locks
    const options = { bounds, signal, serverMs: limits.wallMs, hook }
    if (open || (writes && mode === 'run')) return (await opened()).run(statement, params, options)
    return pastConflicts(() => shop.run(statement, params, options))
  }

  async function runScript(script: ScriptStatement, params: Param[]): Promise<Answer> {
    const values = script.bind(params)
    if (script.statement.kind === 'write' && mode === 'run') await opened()
    try {
      for (const check of script.checks(params)) {
        const answer = await run(check.statement, check.params)
        if ('rows' in answer && answer.rows.length === 0) throw check.denial
      }
      return await run(script.statement, values)
    } catch (error) {
      throw script.scoped ? conceal(error, script.original, params) : error
    }
  }

  async function change(sql: string, params: Param[]) {
    const script = read(sql)
    if (script.statement.kind === 'read')
      throw new RuntimeError('DB_DENIED', 'This statement reads: use db.select, db.selectOne or db.selectValue for it.')
    const answer = (await runScript(script, params)) as { affected: number; insertId: number | string | null }
    return script.hidesId ? { ...answer, insertId: null } : answer
  }

  async function end(how: 'commit' | 'rollback'): Promise<void> {
    // One that could not be opened has been told to the script.
    const transaction = await open?.catch(() => null)
    open = null
    await transaction?.[how]()
  }

  return {
    async query(sql, params) {
      const script = read(sql)
      if (script.statement.kind === 'write')
        throw new RuntimeError('DB_DENIED', 'This statement writes: use db.insert, db.update or db.delete for it.')
      const answer = await runScript(script, params)
      return 'rows' in answer ? answer.rows : []
    },
    change,
    async batch(sql, rows) {
      let affected = 0
      for (const params of rows) affected += (await change(sql, params)).affected
      return affected
    },
    async begin() {
      const outermost = open === null
      const transaction = await opened()
      if (mode === 'none' && outermost) return 0
      await transaction.savepoint(++marks)
      return marks
    },
    async keep(mark) {
      if (mark === 0) await end('commit')
      else await (await open)?.release(mark)
    },
    async undo(mark) {
      if (mark === 0) await end('rollback')
      else await (await open)?.undo(mark)
    },
    async commit(marker, stays = true) {
      const transaction = await open?.catch(() => null)
      if (!transaction) return 'nothing'
      try {
        if (marker) {
          const { executionId, result, announcements } = marker
          const params = [executionId, JSON.stringify({ result, announcements }), Date.now()]
          await transaction.run(INSERT_MARKER, params, markerOptions())
          if (!stays) await transaction.run(DELETE_MARKER, [executionId], markerOptions())
        }
        await end('commit')
        return 'committed'
      } catch (error) {
        await end('rollback')
        if (error instanceof RuntimeError && error.data?.errno === DUPLICATE_KEY) return 'already'
        throw error
      }
    },
    rollback: () => end('rollback')
  }
}

/** A statement of its own that meets a deadlock or a lock wait has done nothing: it is done again, a few times. */
async function pastConflicts<T>(act: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++)
    try {
      return await act()
    } catch (error) {
      if (attempt === MAX_CONFLICTS || (error as RuntimeError).code !== 'DB_CONFLICT') throw error
    }
}

/** The marker of an execution whose effects are in the shop already; null: they are not. */
export async function findMarker(shop: ShopDatabase, executionId: string): Promise<EffectMarker | null> {
  const answer = await shop.run(SELECT_MARKER, [executionId], markerOptions())
  const row = 'rows' in answer ? answer.rows[0] : undefined
  return row ? { executionId, ...JSON.parse(String(row.result)) } : null
}
