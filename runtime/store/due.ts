import { type Database, isMysql } from './database.ts'

/** An execution that may be claimed. */
export interface Candidate {
  id: string
  hook_id: string
  due_at: number
}

export interface Due {
  candidates: Candidate[]
  /** Whether more may be due than were looked at. */
  more: boolean
}

/**
 * Executions that are due and the oldest of their lane, at most `count`, without those of full hooks. When there are
 * more than that, hooks take turns, so that nobody waits behind another hook's backlog; each hook's longest due come
 * first. A plain read: whoever takes them looks again under a lock.
 */
export async function dueHeads(db: Database, now: number, count: number, fullHooks: string[]): Promise<Due> {
  const first: Candidate[] | null = fullHooks.length === 0 ? await headsOf(db, now, count) : null
  if (first && first.length < count) return { candidates: first, more: false }
  const hooks = await hooksWithWork(db, now, fullHooks)
  if (hooks.length < 2 && first) return { candidates: first, more: true }
  if (hooks.length === 0) return { candidates: [], more: false }
  const each = Math.min(count, Math.ceil((2 * count) / hooks.length))
  const queries = hooks.map(id => db.select('*').from(headsOf(db, now, each).where('e.hook_id', id).as('h')))
  const found = takingTurns(await db.unionAll(queries))
  return { candidates: found.slice(0, count), more: found.length >= Math.min(count, each) }
}

/** Each hook's first, then each hook's second … */
function takingTurns(rows: Candidate[]): Candidate[] {
  const byDue = rows.toSorted((a, b) => a.due_at - b.due_at || (a.id < b.id ? -1 : 1))
  const seen = new Map<string, number>()
  const turns = byDue.map(row => {
    const turn = seen.get(row.hook_id) ?? 0
    seen.set(row.hook_id, turn + 1)
    return { row, turn }
  })
  return turns.sort((a, b) => a.turn - b.turn).map(({ row }) => row)
}

const headsOf = (db: Database, now: number, count: number) =>
  db('sandhook_executions as e')
    .where('e.due_at', '<=', now)
    .whereNotExists(
      db('sandhook_executions as p').whereRaw('p.open_lane = e.open_lane').whereRaw('p.id < e.id').select(db.raw('1'))
    )
    .orderBy(['e.due_at', 'e.id'])
    .limit(count)
    .select('e.id', 'e.hook_id', 'e.due_at')

/** Hooks that are asked in one statement: those that have waited longest. */
const MAX_HOOKS = 50

/**
 * Each hook that has executions, and when the first of them is due: one look into the index for each hook, not for each
 * row. MySQL skips from group to group by itself; SQLite has to be told.
 */
const FIRST_DUE = {
  mysql: 'SELECT hook_id, MIN(due_at) AS due FROM sandhook_executions GROUP BY hook_id',
  sqlite: `WITH RECURSIVE hooks (id) AS (
      SELECT MIN(hook_id) FROM sandhook_executions
      UNION ALL
      SELECT (SELECT MIN(hook_id) FROM sandhook_executions WHERE hook_id > hooks.id) FROM hooks WHERE id IS NOT NULL
    )
    SELECT id AS hook_id, (SELECT MIN(due_at) FROM sandhook_executions WHERE hook_id = hooks.id) AS due
    FROM hooks WHERE id IS NOT NULL`
}

/** Hooks that have something due, the longest due first. */
async function hooksWithWork(db: Database, now: number, fullHooks: string[]): Promise<string[]> {
  const mysql = isMysql(db)
  const answer = await db.raw(mysql ? FIRST_DUE.mysql : FIRST_DUE.sqlite)
  const rows: { hook_id: string; due: number | null }[] = mysql ? answer[0] : answer
  const waiting = rows.flatMap(({ hook_id: id, due }) => (due !== null && due <= now ? [{ id, due }] : []))
  return waiting
    .filter(({ id }) => !fullHooks.includes(id))
    .sort((a, b) => a.due - b.due)
    .slice(0, MAX_HOOKS)
    .map(({ id }) => id)
}
