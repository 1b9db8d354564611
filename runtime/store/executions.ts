import type { Knex } from 'knex'
import { v7 as uuid } from 'uuid'
import { RuntimeError } from '../errors.ts'
import type { Attempt, Execution, ExecutionStatus, HookEvent, MerId } from '../model.ts'
import { attemptsOf, fromAttempt } from './attempts.ts'
import { batched } from './batch.ts'
import { type Also, type Changed, type Database, guarded, insertRows, lengthOfRow, transact } from './database.ts'
import { fromEvent } from './events.ts'
import { type ExecutionRow, fromExecution, toExecution } from './execution-row.ts'
import { insertExecutions, requeue } from './queue.ts'
import { ownerOf, type Page, type PageRequest, pageOf } from './row.ts'

export interface ExecutionFilter {
  status?: ExecutionStatus | undefined
  /** A hook's id or path. */
  hook?: string | undefined
  eventId?: string | undefined
  merId?: MerId | undefined
  /** Created at or after, and before: milliseconds since the epoch. */
  from?: number | undefined
  to?: number | undefined
}

/** What waits for a run of one hook. */
export interface Backlog {
  hook: string
  waiting: number
  /** When the oldest of it was made, in milliseconds since the epoch. */
  oldest: number
}

const FINISHED = ['succeeded', 'dead', 'discarded'] as const

/** What a call over HTTP leaves behind. */
const RECORD = ['sandhook_events', 'sandhook_executions', 'sandhook_attempts'] as const

export type ExecutionStore = ReturnType<typeof createExecutionStore>

/** Executions to be looked at and repeated; the queue's own moves are in queue.ts. */
export function createExecutionStore(db: Database) {
  const record = batched<Record<(typeof RECORD)[number], object>>(
    calls =>
      transact(db, async trx => {
        for (const table of RECORD)
          await insertRows(
            trx,
            table,
            calls.map(call => call[table])
          )
      }),
    call => RECORD.reduce((sum, table) => sum + lengthOfRow(call[table]), 0)
  )

  return guarded({
    /** One page of executions, the newest first. */
    async list(filter: ExecutionFilter, page: PageRequest): Promise<Page<Execution>> {
      const query = filtered(db, filter).orderBy('id', 'desc')
      if (page.cursor) query.where('id', '<', page.cursor)
      const rows: ExecutionRow[] = await query.limit(page.limit + 1)
      return pageOf(rows, page, row => row.id, toExecution)
    },

    /** An execution and all its runs. Throws NOT_FOUND. */
    async get(id: string): Promise<{ execution: Execution; history: Attempt[] }> {
      const row: ExecutionRow | undefined = await db('sandhook_executions').where({ id }).first()
      if (!row) throw new RuntimeError('NOT_FOUND', `There is no execution with the id ${id}.`)
      return { execution: toExecution(row), history: await attemptsOf(db, id) }
    },

    /** All executions of some events. */
    async ofEvents(eventIds: string[]): Promise<Execution[]> {
      const rows: ExecutionRow[] = await db('sandhook_executions').whereIn('event_id', eventIds).orderBy('id')
      return rows.map(toExecution)
    },

    /**
     * Again, with the published version. What failed goes round under its own id; what succeeded has its effects
     * already, so it is done anew as a further execution of the same event. Answers the execution that will run.
     * Throws NOT_FOUND, CONFLICT when it is not finished or was a call over HTTP.
     */
    replay: (id: string, also?: Also<Changed<Execution>>): Promise<Execution> =>
      transact(db, async trx => {
        const row = await lockedRow(trx, id)
        refuseReplay(row)
        const [replayed] = await replayRows(trx, [row])
        const again = toExecution(await trx('sandhook_executions').where({ id: replayed }).first())
        await also?.(trx, { before: toExecution(row), after: again })
        return again
      }),

    /**
     * The same for the next `count` finished executions that match, by rising id from beyond `after` ('': from the
     * first). Answers how many, and where to go on (null: there are no more).
     */
    replayMany: (
      filter: ExecutionFilter,
      count: number,
      after = '',
      also?: Also<number>
    ): Promise<{ replayed: number; last: string | null }> =>
      transact(db, async trx => {
        const query = filtered(trx, filter).whereIn('status', FINISHED).where('id', '>', after)
        const rows: ExecutionRow[] = await query.orderBy('id').limit(count).forUpdate()
        const { length: replayed } = await replayRows(trx, rows)
        if (replayed > 0) await also?.(trx, replayed)
        return { replayed, last: rows.length < count ? null : (rows.at(-1)?.id ?? null) }
      }),

    /** Takes a dead letter off the list for good; its history stays. Throws NOT_FOUND, CONFLICT. */
    discard: (id: string, also?: Also<Changed<Execution>>): Promise<Execution> =>
      transact(db, async trx => {
        const row = await lockedRow(trx, id)
        if (row.status !== 'dead')
          throw new RuntimeError('CONFLICT', `Execution ${id} is ${row.status}; only dead letters can be discarded.`)
        await trx('sandhook_executions').where({ id }).update({ status: 'discarded' })
        const discarded = toExecution({ ...row, status: 'discarded' })
        await also?.(trx, { before: toExecution(row), after: discarded })
        return discarded
      }),

    /** Remembers a call over HTTP, which never was in the queue: its event, execution and run. */
    record: (event: HookEvent, execution: Execution, attempt: Attempt): Promise<void> =>
      record({
        sandhook_events: fromEvent(event, Date.now()),
        sandhook_executions: fromExecution(execution, null),
        sandhook_attempts: fromAttempt(execution.id, attempt)
      }),

    /** How many executions stand where; a merchant's own when given. */
    async counts(merId?: MerId): Promise<Record<string, number>> {
      const query = db('sandhook_executions').groupBy('status').select('status').count('* as n')
      if (merId !== undefined) query.where('owner', ownerOf(merId))
      const rows = (await query) as unknown as { status: string; n: number | string }[]
      return Object.fromEntries(rows.map(row => [row.status, Number(row.n)]))
    },

    /** The same by hook. */
    async countsByHook(merId?: MerId): Promise<{ hook: string; status: string; count: number }[]> {
      const query = db('sandhook_executions')
        .groupBy('hook_path', 'status')
        .select('hook_path', 'status')
        .count('* as n')
      if (merId !== undefined) query.where('owner', ownerOf(merId))
      const rows = (await query) as unknown as { hook_path: string; status: string; n: number | string }[]
      return rows.map(row => ({ hook: row.hook_path, status: row.status, count: Number(row.n) }))
    },

    /** How many executions of each hook wait for a run, and when the oldest of them was made. */
    async backlog(merId?: MerId): Promise<Backlog[]> {
      const query = db('sandhook_executions')
        .whereIn('status', ['queued', 'retrying'])
        .groupBy('hook_path')
        .select('hook_path as hook')
        .count('* as n')
        .min('created_at as oldest')
      if (merId !== undefined) query.where('owner', ownerOf(merId))
      const rows = (await query) as unknown as { hook: string; n: number | string; oldest: number }[]
      return rows.map(({ hook, n, oldest }) => ({ hook, waiting: Number(n), oldest }))
    },

    /** When the newest `count` successes were made and first run, and how long the last run took. */
    async newestTimes(
      count: number,
      merId?: MerId
    ): Promise<{ createdAt: number; startedAt: number; durationMs: number }[]> {
      const query = db('sandhook_executions').where('status', 'succeeded').orderBy('id', 'desc').limit(count)
      if (merId !== undefined) query.where('owner', ownerOf(merId))
      const rows: ExecutionRow[] = await query.select('created_at', 'started_at', 'duration_ms')
      return rows.map(row => ({
        createdAt: row.created_at,
        startedAt: row.started_at ?? row.created_at,
        durationMs: row.duration_ms ?? 0
      }))
    },

    /** Deletes at most `count` executions finished and created before `time`, with their runs; not dead letters. */
    async purge(time: number, count: number): Promise<number> {
      const old: { id: string }[] = await db('sandhook_executions')
        .where('id', '<', firstIdAt(time))
        .whereIn('status', ['succeeded', 'failed', 'discarded'])
        .where('finished_at', '<', time)
        .orderBy('id')
        .limit(count)
        .select('id')
      const ids = old.map(row => row.id)
      if (ids.length === 0) return 0
      return transact(db, async trx => {
        await trx('sandhook_attempts').whereIn('execution_id', ids).delete()
        await trx('sandhook_journal').whereIn('execution_id', ids).delete()
        return trx('sandhook_executions').whereIn('id', ids).delete()
      })
    }
  })
}

/** Execution ids begin with their time: the least id that one made at `time` can have. */
const firstIdAt = (time: number): string => uuid({ msecs: time, seq: 0, random: new Uint8Array(16) })

function filtered(db: Knex, filter: ExecutionFilter) {
  const query = db('sandhook_executions')
  if (filter.status !== undefined) query.where('status', filter.status)
  if (filter.eventId !== undefined) query.where('event_id', filter.eventId)
  if (filter.merId !== undefined) query.where('owner', ownerOf(filter.merId))
  if (filter.hook !== undefined) query.where(filter.hook.startsWith('/') ? 'hook_path' : 'hook_id', filter.hook)
  if (filter.from !== undefined) query.where('created_at', '>=', filter.from)
  if (filter.to !== undefined) query.where('created_at', '<', filter.to)
  return query
}

async function lockedRow(trx: Knex.Transaction, id: string): Promise<ExecutionRow> {
  const row: ExecutionRow | undefined = await trx('sandhook_executions').where({ id }).forUpdate().first()
  if (row) return row
  throw new RuntimeError('NOT_FOUND', `There is no execution with the id ${id}.`)
}

function refuseReplay(row: ExecutionRow): void {
  if (row.status === 'failed')
    throw new RuntimeError(
      'CONFLICT',
      `Execution ${row.id} was a call over HTTP: its caller repeats it, not the queue.`
    )
  if (row.finished_at === null)
    throw new RuntimeError('CONFLICT', `Execution ${row.id} is ${row.status}; only finished ones can be replayed.`)
}

async function replayRows(trx: Knex.Transaction, rows: ExecutionRow[]): Promise<string[]> {
  const failed = rows.filter(row => row.status !== 'succeeded').map(row => row.id)
  if (failed.length > 0) await requeue(trx, failed)
  const now = Date.now()
  const anew = rows
    .filter(row => row.status === 'succeeded')
    .map(row => ({
      lane: row.lane,
      execution: {
        ...toExecution(row),
        ...{ id: uuid(), status: 'queued' as const, attempts: 0, runs: 0, crashes: 0, result: null, error: null },
        ...{ nextAttemptAt: now, createdAt: now, startedAt: null, finishedAt: null, durationMs: null }
      }
    }))
  await insertExecutions(trx, anew)
  return [...failed, ...anew.map(({ execution }) => execution.id)]
}
