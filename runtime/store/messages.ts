import type { Knex } from 'knex'
import { type Also, type Database, guarded, transact } from './database.ts'
import { type Page, type PageRequest, pageOf } from './row.ts'

/** A message that became no event, or not all of its events. */
export interface DeadMessage {
  /** What the ids of its events begin with. */
  id: string
  topic: string
  reason: string
  /** Its text. */
  body: string
  sentAt: number | null
  receivedAt: number
}

interface DeadRow {
  id: string
  topic: string
  reason: string
  body: string
  sent_at: number | null
  received_at: number
}

export interface DeadFilter {
  topic?: string | undefined
}

export type MessageStore = ReturnType<typeof createMessageStore>

const MAX_REASON = 1_000
const CHUNK = 100

/** What is known of messages from RabbitMQ beside their events: those that are dead, and which ones came before. */
export function createMessageStore(db: Database) {
  const dead = (filter: DeadFilter) =>
    db('sandhook_dead_messages').where(filter.topic === undefined ? {} : { topic: filter.topic })

  return guarded({
    /** One that is known by its id keeps its place and gets the new reason. */
    async bury(message: DeadMessage): Promise<void> {
      await db('sandhook_dead_messages').insert(toRow(message)).onConflict('id').merge(['reason'])
    },

    /** One page of dead messages, the newest first. */
    async listDead(filter: DeadFilter, page: PageRequest): Promise<Page<DeadMessage>> {
      const query = dead(filter).orderBy([
        { column: 'received_at', order: 'desc' },
        { column: 'id', order: 'desc' }
      ])
      if (page.cursor) {
        const [at, id] = JSON.parse(page.cursor) as [number, string]
        query.whereRaw('(received_at < ? OR (received_at = ? AND id < ?))', [at, at, id])
      }
      const rows: DeadRow[] = await query.limit(page.limit + 1)
      return pageOf(rows, page, row => JSON.stringify([row.received_at, row.id]), toMessage)
    },

    /** At most `count` dead messages that came after `after` and no later than `until`, the oldest first. */
    async oldestDead(
      filter: DeadFilter,
      { after, until, count }: { after: DeadMessage | null; until: number; count: number }
    ): Promise<DeadMessage[]> {
      const query = dead(filter).where('received_at', '<=', until).orderBy(['received_at', 'id']).limit(count)
      if (after)
        query.whereRaw('(received_at > ? OR (received_at = ? AND id > ?))', [
          ...[after.receivedAt, after.receivedAt, after.id]
        ])
      const rows: DeadRow[] = await query
      return rows.map(toMessage)
    },

    async forget(ids: string[], also?: Also<number>): Promise<void> {
      if (ids.length === 0) return
      await transact(db, async trx => also?.(trx, await trx('sandhook_dead_messages').whereIn('id', ids).delete()))
    },

    async countDead(filter: DeadFilter): Promise<number> {
      const [row] = await dead(filter).count('* as n')
      return Number(row?.n ?? 0)
    },

    /** Deletes at most `count` dead messages that came before `time`; answers how many. */
    async purgeDead(time: number, count: number): Promise<number> {
      const old: { id: string }[] = await db('sandhook_dead_messages').where('received_at', '<', time).limit(count)
      if (old.length === 0) return 0
      return db('sandhook_dead_messages')
        .whereIn(
          'id',
          old.map(row => row.id)
        )
        .delete()
    },

    /** Which of these are executions of this installation. */
    async ownExecutions(ids: string[]): Promise<Set<string>> {
      const rows: { id: string }[] = await db('sandhook_executions').whereIn('id', ids).select('id')
      return new Set(rows.map(row => row.id))
    },

    /**
     * Of these beginnings of ids, those under which a message has come since `since`, with the id of the first thing
     * that is stored of it: an event, or a dead message.
     */
    async known(prefixes: string[], since: number): Promise<Map<string, string>> {
      const found = new Map<string, string>()
      for (const table of ['sandhook_dead_messages', 'sandhook_events'])
        for (let from = 0; from < prefixes.length; from += CHUNK) {
          const chunk = prefixes.slice(from, from + CHUNK)
          const rows: { id: string }[] = await db(table)
            .where('received_at', '>=', since)
            .where(query => void chunk.reduce(beginsWith, query))
            .select('id')
          for (const { id } of rows) found.set(id.slice(0, chunk[0]?.length ?? 0), id)
        }
      return found
    }
  })
}

/** The prefixes end with a colon, which the semicolon follows: a range of the primary key. */
const beginsWith = (query: Knex.QueryBuilder, prefix: string): Knex.QueryBuilder =>
  query.orWhere(range => void range.where('id', '>=', prefix).where('id', '<', `${prefix.slice(0, -1)};`))

const toRow = (message: DeadMessage): DeadRow => ({
  id: message.id,
  topic: message.topic,
  reason: message.reason.slice(0, MAX_REASON),
  body: message.body,
  sent_at: message.sentAt,
  received_at: message.receivedAt
})

const toMessage = (row: DeadRow): DeadMessage => ({
  id: row.id,
  topic: row.topic,
  reason: row.reason,
  body: row.body,
  sentAt: row.sent_at,
  receivedAt: row.received_at
})
