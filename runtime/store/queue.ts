import { createHash } from 'node:crypto'
import type { Knex } from 'knex'
import { v7 as uuid } from 'uuid'
import type { Attempt, Execution, HookEvent } from '../model.ts'
import { insertAttempts } from './attempts.ts'
import { batched } from './batch.ts'
import {
  type Database,
  guarded,
  insertRows,
  isDuplicate,
  isMysql,
  lengthOfRow,
  transact,
  upsertRows
} from './database.ts'
import { dueHeads } from './due.ts'
import { createEventStore, type StoredEvent } from './events.ts'
import { type ExecutionRow, fromExecution, toExecution } from './execution-row.ts'
import { fromText, toText } from './row.ts'

/** An execution that this node may run until its lease ends, with the event that it is about. */
export interface Claim {
  execution: Execution
  event: StoredEvent
  lane: string | null
}

/** What became of a claim: how the execution stands now, and the run to remember (null: none was started). */
export interface Settlement {
  claim: Claim
  execution: Execution
  attempt: Attempt | null
}

export interface ClaimRequest {
  /** At most so many. */
  count: number
  /** Takes a place among a hook's runs at once for one more execution; false: there is none left. */
  room: (hookId: string) => boolean
  /** Hooks that have no room at all. */
  fullHooks: string[]
}

export interface ClaimAnswer {
  claims: Claim[]
  /** Whether more may be due than were looked at. */
  more: boolean
}

/** A completed outgoing call, kept until its attempt is settled. */
export interface JournalEntry {
  callNo: number
  /** What was asked; an entry answers only the same request. */
  fingerprint: string
  answer: unknown
}

export type Queue = ReturnType<typeof createQueue>

/**
 * The executions table as a queue under leases, for one node.
 *
 * Invariants:
 * Q1 A claim belongs to one node until it settles it or the lease ends; whatever comes later is refused (`settle`
 *    answers which ones were lost).
 * Q2 In a lane, only the oldest unfinished execution may be claimed, and never two at once (unique `running_lane`).
 * Q3 A run that ends without settling leaves a row that `reap` gives back, with no attempt used up.
 */
export function createQueue(db: Database, node: string, leaseMs: number) {
  const events = createEventStore(db)

  async function claim({ count, room, fullHooks }: ClaimRequest): Promise<ClaimAnswer> {
    const now = Date.now()
    const { candidates, more } = await dueHeads(db, now, count, fullHooks)
    const wanted = candidates.filter(row => room(row.hook_id)).map(row => row.id)
    if (wanted.length === 0) return { claims: [], more: false }
    const rows = await transact(db, trx => take(trx, wanted, { node, now, leaseUntil: now + leaseMs }))
    const found = await events.getMany(rows.map(row => row.event_id))
    const claims = rows.flatMap(row => {
      const event = found.get(row.event_id)
      return event ? [{ execution: toExecution(row), event, lane: row.lane }] : []
    })
    return { claims, more }
  }

  const journal = batched<JournalRow>(rows => transact(db, async trx => writeJournal(trx, node, rows)), lengthOfRow)

  return guarded({
    claim,

    /**
     * Prolongs this node's leases of these executions, and answers those that it still has. One that it claimed but
     * never came to run ends by itself.
     */
    async renew(ids: string[]): Promise<Set<string>> {
      const held = (on: Knex) => on('sandhook_executions').whereIn('id', ids).where({ node, status: 'running' })
      await transact(db, async trx => held(trx).update({ lease_until: Date.now() + leaseMs }))
      const rows: { id: string }[] = await held(db).select('id')
      return new Set(rows.map(row => row.id))
    },

    /** Gives back what lost nodes had claimed; `all` also takes leases that still run (nobody else can exist). */
    async reap(all = false): Promise<number> {
      const horizon = all ? Number.MAX_SAFE_INTEGER : Date.now()
      return transact(db, async trx => {
        const query = trx('sandhook_executions').where('lease_until', '<', horizon).limit(500).select('id')
        const lost: { id: string }[] = await skipLocked(query, db)
        if (lost.length === 0) return 0
        return trx('sandhook_executions')
          .whereIn(
            'id',
            lost.map(row => row.id)
          )
          .update({
            status: trx.raw("CASE WHEN attempts > 0 THEN 'retrying' ELSE 'queued' END"),
            due_at: Date.now(),
            running_lane: null,
            node: null,
            lease_until: null
          })
      })
    },

    /** Writes what became of a batch, in one transaction. Answers the ids whose lease was lost meanwhile. */
    settle: (batch: Settlement[]): Promise<Set<string>> => transact(db, trx => settleBatch(trx, node, batch)),

    /** Keeps a completed call before the script sees its answer, unless its run has lost its lease. */
    journal: (executionId: string, attempt: number, entry: JournalEntry): Promise<void> =>
      journal({
        execution_id: executionId,
        attempt,
        call_no: entry.callNo,
        fingerprint: entry.fingerprint,
        answer: JSON.stringify(entry.answer)
      }),

    /** The calls that earlier runs of this attempt completed. */
    async journaled(executionId: string, attempt: number): Promise<JournalEntry[]> {
      const rows: { call_no: number; fingerprint: string; answer: string }[] = await db('sandhook_journal').where({
        execution_id: executionId,
        attempt
      })
      return rows.map(row => ({ callNo: row.call_no, fingerprint: row.fingerprint, answer: fromText(row.answer) }))
    }
  })
}

async function take(
  trx: Knex.Transaction,
  ids: string[],
  { node, now, leaseUntil }: { node: string; now: number; leaseUntil: number }
): Promise<ExecutionRow[]> {
  const query = trx('sandhook_executions').whereIn('id', ids).where('due_at', '<=', now).orderBy('id').select('*')
  const rows: ExecutionRow[] = await skipLocked(query, trx)
  const mark = (which: string[]) =>
    trx('sandhook_executions')
      .whereIn('id', which)
      .update({
        status: 'running',
        node,
        lease_until: leaseUntil,
        running_lane: trx.raw('lane'),
        due_at: null,
        runs: trx.raw('runs + 1'),
        started_at: trx.raw('COALESCE(started_at, ?)', [now])
      })
  const taken = await markEach(
    rows.map(row => row.id),
    mark
  )
  return rows
    .filter(row => taken.has(row.id))
    .map(row => ({ ...row, status: 'running', runs: row.runs + 1, started_at: row.started_at ?? now, due_at: null }))
}

/**
 * Marks all at once; when one of them meets a lane that is running elsewhere (an older execution of it was committed
 * late), one by one, leaving out those.
 */
async function markEach(ids: string[], mark: (ids: string[]) => PromiseLike<unknown>): Promise<Set<string>> {
  if (ids.length === 0) return new Set()
  try {
    await mark(ids)
    return new Set(ids)
  } catch (error) {
    if (!isDuplicate(error)) throw error
  }
  const taken = new Set<string>()
  for (const id of ids) {
    try {
      await mark([id])
      taken.add(id)
    } catch (error) {
      if (!isDuplicate(error)) throw error
    }
  }
  return taken
}

async function settleBatch(trx: Knex.Transaction, node: string, batch: Settlement[]): Promise<Set<string>> {
  const ids = batch.map(({ claim }) => claim.execution.id)
  const mine: { id: string; runs: number }[] = await trx('sandhook_executions')
    .whereIn('id', ids)
    .where({ node, status: 'running' })
    .orderBy('id')
    .forUpdate()
    .select('id', 'runs')
  // A lost execution may have come back to this very node: that is another claim, with a run of its own.
  const runs = new Map(mine.map(row => [row.id, row.runs]))
  const { kept = [], lost = [] } = Object.groupBy(batch, ({ claim: { execution } }) =>
    runs.get(execution.id) === execution.runs ? 'kept' : 'lost'
  )
  await insertAttempts(trx, kept)
  const rows = kept.map(({ execution, claim }) => fromExecution(execution, claim.lane))
  await upsertRows(trx, 'sandhook_executions', ['id'], rows)
  await forgetJournal(trx, kept)
  return new Set(lost.map(({ claim }) => claim.execution.id))
}

interface JournalRow {
  execution_id: string
  attempt: number
  call_no: number
  fingerprint: string
  answer: string
}

/**
 * Writes what still serves somebody: calls of executions that this node runs, and of calls over HTTP, which are not in
 * the table yet. A node that was held up finds its executions run and settled by others, who have forgotten the journal.
 */
async function writeJournal(trx: Knex.Transaction, node: string, rows: JournalRow[]): Promise<void> {
  const found: { id: string; node: string | null; status: string }[] = await trx('sandhook_executions')
    .whereIn(
      'id',
      rows.map(row => row.execution_id)
    )
    .orderBy('id')
    .forUpdate()
    .select('id', 'node', 'status')
  const lost = new Set(found.filter(row => row.node !== node || row.status !== 'running').map(row => row.id))
  const kept = rows.filter(row => !lost.has(row.execution_id))
  await upsertRows(trx, 'sandhook_journal', ['execution_id', 'attempt', 'call_no'], kept)
}

/** The journal serves only runs that repeat the same attempt. */
async function forgetJournal(trx: Knex.Transaction, kept: Settlement[]): Promise<void> {
  const over = kept.filter(({ claim, execution }) => execution.attempts !== claim.execution.attempts)
  // Only a first run's record proves that there is nothing to forget: an earlier one's calls are not in it.
  const called = over.filter(
    ({ attempt, claim }) => !attempt || claim.execution.runs > 1 || attempt.calls.some(call => call.kind === 'http')
  )
  if (called.length === 0) return
  await trx('sandhook_journal')
    .whereIn(
      'execution_id',
      called.map(({ execution }) => execution.id)
    )
    .delete()
}

/** Adds new executions in the caller's transaction. */
export async function insertExecutions(
  trx: Knex.Transaction,
  executions: { execution: Execution; lane: string | null }[]
): Promise<void> {
  const rows = executions.map(({ execution, lane }) => fromExecution(execution, lane))
  await insertRows(trx, 'sandhook_executions', rows)
}

/** Sends finished executions round again under their own ids, so that partners recognise the idempotency keys. */
export async function requeue(trx: Knex.Transaction, ids: string[]): Promise<void> {
  // Attempts are counted anew: what an attempt of the same number was answered is not for this one.
  await trx('sandhook_journal').whereIn('execution_id', ids).delete()
  await trx('sandhook_executions')
    .whereIn('id', ids)
    .update({
      status: 'queued',
      open_lane: trx.raw('lane'),
      due_at: Date.now(),
      attempts: 0,
      crashes: 0,
      result: null,
      error: toText(null),
      started_at: null,
      finished_at: null,
      duration_ms: null
    })
}

/** The lane of a hook's executions for one ordering key. */
export const laneOf = (hookId: string, key: string | null): string | null =>
  key === null ? null : createHash('sha1').update(`${hookId}\0${key}`).digest('hex')

/** A fresh execution of an event by a hook; ids rise with time, also within a millisecond. */
export function newExecution(event: HookEvent, hook: { id: string; path: string }, now: number): Execution {
  return {
    id: uuid(),
    eventId: event.id,
    eventKey: event.eventKey,
    hookId: hook.id,
    hookPath: hook.path,
    merId: event.merId,
    status: 'queued',
    attempts: 0,
    runs: 0,
    crashes: 0,
    result: null,
    error: null,
    nextAttemptAt: now,
    createdAt: now,
    startedAt: null,
    finishedAt: null,
    durationMs: null
  }
}

const skipLocked = <Q extends Knex.QueryBuilder>(query: Q, db: Knex): Q =>
  isMysql(db as Database) ? (query.forUpdate().skipLocked() as Q) : query
