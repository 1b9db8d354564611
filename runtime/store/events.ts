import type { Knex } from 'knex'
import type { EventSource, HookEvent, MerId } from '../model.ts'
import { type Database, guarded, insertRows } from './database.ts'
import { fromText, merIdOf, ownerOf, type Page, type PageRequest, pageOf, toText } from './row.ts'

/** An event as it was accepted. */
export type StoredEvent = HookEvent & { receivedAt: number }

export interface EventFilter {
  eventKey?: string | undefined
  key?: string | undefined
  /** Only this merchant's events. */
  merId?: MerId | undefined
}

interface EventRow {
  id: string
  event_key: string
  payload: string
  happened_at: number
  owner: string
  ordering_key: string | null
  source: string
  depth: number
  data: string | null
  received_at: number
}

export type EventStore = ReturnType<typeof createEventStore>

/** Accepted events, to be read; they are written together with their executions, by `insertEvents`. */
export function createEventStore(db: Database) {
  return guarded({
    /** Null when there is none. */
    async get(id: string): Promise<StoredEvent | null> {
      const row: EventRow | undefined = await db('sandhook_events').where({ id }).first()
      return row ? toEvent(row) : null
    },

    /** Several events at once, by id. */
    async getMany(ids: string[]): Promise<Map<string, StoredEvent>> {
      const rows: EventRow[] = await db('sandhook_events').whereIn('id', ids)
      return new Map(rows.map(row => [row.id, toEvent(row)]))
    },

    /** One page of events, the newest first. */
    async list(filter: EventFilter, page: PageRequest): Promise<Page<StoredEvent>> {
      const query = db('sandhook_events').orderBy([
        { column: 'received_at', order: 'desc' },
        { column: 'id', order: 'desc' }
      ])
      if (filter.eventKey !== undefined) query.where('event_key', filter.eventKey)
      if (filter.key !== undefined) query.where('ordering_key', filter.key)
      if (filter.merId !== undefined) query.where('owner', ownerOf(filter.merId))
      if (page.cursor) {
        const [at, id] = JSON.parse(page.cursor) as [number, string]
        query.whereRaw('(received_at < ? OR (received_at = ? AND id < ?))', [at, at, id])
      }
      const rows: EventRow[] = await query.limit(page.limit + 1)
      return pageOf(rows, page, row => JSON.stringify([row.received_at, row.id]), toEvent)
    },

    /** Deletes at most `count` events received before `time` that no execution names any more. */
    async purge(time: number, count: number): Promise<number> {
      const old: { id: string }[] = await db('sandhook_events as e')
        .where('e.received_at', '<', time)
        .whereNotExists(db('sandhook_executions as x').whereRaw('x.event_id = e.id').select(db.raw('1')))
        .limit(count)
        .select('e.id')
      if (old.length === 0) return 0
      return db('sandhook_events')
        .whereIn(
          'id',
          old.map(row => row.id)
        )
        .delete()
    }
  })
}

/** Which of these ids are accepted already. */
export async function knownEvents(trx: Knex.Transaction, ids: string[]): Promise<Set<string>> {
  const rows: { id: string }[] = await trx('sandhook_events').whereIn('id', ids).select('id')
  return new Set(rows.map(row => row.id))
}

/** Inserts new events in the caller's transaction; an id that exists fails the statement. */
export async function insertEvents(trx: Knex.Transaction, events: HookEvent[], receivedAt: number): Promise<void> {
  await insertRows(
    trx,
    'sandhook_events',
    events.map(event => fromEvent(event, receivedAt))
  )
}

/** An event as a row. */
export const fromEvent = (event: HookEvent, receivedAt: number): EventRow => ({
  id: event.id,
  event_key: event.eventKey,
  payload: JSON.stringify(event.payload),
  happened_at: event.timestamp,
  owner: ownerOf(event.merId),
  ordering_key: event.key,
  source: event.source,
  depth: event.depth,
  data: toText(event.data ?? null),
  received_at: receivedAt
})

const toEvent = (row: EventRow): StoredEvent => ({
  id: row.id,
  eventKey: row.event_key,
  payload: JSON.parse(row.payload),
  timestamp: row.happened_at,
  merId: merIdOf(row.owner),
  key: row.ordering_key,
  source: row.source as EventSource,
  depth: row.depth,
  ...(row.data === null ? {} : { data: fromText(row.data) ?? null }),
  receivedAt: row.received_at
})
