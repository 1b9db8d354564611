import { type Database, guarded, isMysql, transact } from './database.ts'
import { fromText, type Page, type PageRequest, pageOf } from './row.ts'

/** A message that its sender says it sent. */
export interface SentMessage {
  /** Topic and body as 64 hex digits. */
  fingerprint: string
  topic: string
  body: string
  reportedAt: number
  /** When it last came, or was made an event by hand; null: never. */
  receivedAt: number | null
  /** Since when its last report waits for the message; null: it does not. */
  missingSince: number | null
  /** Events made of it by hand; null: none were. */
  eventIds: string[] | null
}

interface SentRow {
  fingerprint: string
  topic: string
  body: string
  reported_at: number
  received_at: number | null
  missing_since: number | null
  event_ids: string | null
}

/** A report that comes at most so long after the message is about that message, in milliseconds. */
const SAME_MS = 600_000

export type SentMessageStore = ReturnType<typeof createSentMessageStore>

/**
 * Messages that were reported as sent, reconciled with those that came, in whatever order the two arrive. Copies of one
 * message within ten minutes are one message: a report that is repeated, or a delivery, does not count twice.
 */
export function createSentMessageStore(db: Database) {
  const sent = () => db('sandhook_sent_messages')
  const missing = (before: number) => sent().where('missing_since', '<=', before)
  const given = (column: string) => db.raw(isMysql(db) ? `VALUES(${column})` : `excluded.${column}`)

  /** In one order, so that nodes with the same messages do not lock each other out. */
  async function upsert(rows: { fingerprint: string }[], changes: object): Promise<void> {
    const distinct = new Map(rows.map(row => [row.fingerprint, row]))
    const sorted = [...distinct.values()].sort((a, b) => (a.fingerprint < b.fingerprint ? -1 : 1))
    if (sorted.length === 0) return
    await transact(db, async trx => {
      await trx('sandhook_sent_messages').insert(sorted).onConflict('fingerprint').merge(changes)
    })
  }

  return guarded({
    /** Notes what senders say; at most a few hundred, of a megabyte in all. */
    async report(messages: Pick<SentMessage, 'fingerprint' | 'topic' | 'body'>[], now: number): Promise<void> {
      const rows = messages.map(message => ({ ...message, reported_at: now, missing_since: now }))
      await upsert(rows, {
        body: given('body'),
        reported_at: now,
        missing_since: db.raw('CASE WHEN received_at >= ? THEN NULL ELSE COALESCE(missing_since, ?) END', [
          now - SAME_MS,
          now
        ])
      })
    },

    /** Notes what came; at most a few hundred. */
    async received(messages: Pick<SentMessage, 'fingerprint' | 'topic'>[], now: number): Promise<void> {
      const rows = messages.map(message => ({ ...message, received_at: now }))
      await upsert(rows, { received_at: now, missing_since: null })
    },

    /** One page of messages that were missing at the time `before` already, the longest missing first. */
    async missing(before: number, topic: string | undefined, page: PageRequest): Promise<Page<SentMessage>> {
      const query = missing(before).orderBy(['missing_since', 'fingerprint'])
      if (topic !== undefined) query.where({ topic })
      if (page.cursor) {
        const [since, fingerprint] = JSON.parse(page.cursor) as [number, string]
        query.whereRaw('(missing_since > ? OR (missing_since = ? AND fingerprint > ?))', [since, since, fingerprint])
      }
      const rows: SentRow[] = await query.limit(page.limit + 1)
      return pageOf(rows, page, row => JSON.stringify([row.missing_since, row.fingerprint]), toSent)
    },

    /** How many were missing at the time `before` already, by topic; the topics with the most, 200 of them at most. */
    async countMissing(before: number): Promise<{ topic: string; count: number }[]> {
      const rows: { topic: string; n: number | string }[] = await missing(before)
        .groupBy('topic')
        .orderBy([{ column: 'n', order: 'desc' }, { column: 'topic' }])
        .limit(200)
        .select('topic')
        .count('* as n')
      return rows.map(({ topic, n }) => ({ topic, count: Number(n) }))
    },

    /** How many were missing at the time `before` already. */
    async totalMissing(before: number): Promise<number> {
      const [row] = await missing(before).count('* as n')
      return Number(row?.n ?? 0)
    },

    /** One that was reported; null when there is none. */
    async get(fingerprint: string): Promise<SentMessage | null> {
      const row: SentRow | undefined = await sent().where({ fingerprint }).whereNotNull('reported_at').first()
      return row ? toSent(row) : null
    },

    /** Notes that it is missing no more: these events were made of it. */
    async injected(fingerprint: string, eventIds: string[], now: number): Promise<void> {
      const changes = { received_at: now, missing_since: null, event_ids: JSON.stringify(eventIds) }
      await sent().where({ fingerprint }).update(changes)
    },

    /** Deletes at most `count` messages reported before `time`. */
    purge: (time: number, count: number): Promise<number> =>
      purge(db, count, query => query.where('reported_at', '<', time)),

    /** Deletes at most `count` messages that came before `time` and that nobody reported. */
    purgeReceived: (time: number, count: number): Promise<number> =>
      purge(db, count, query => query.whereNull('reported_at').where('received_at', '<', time))
  })
}

type Query = ReturnType<Database>

async function purge(db: Database, count: number, which: (query: Query) => Query): Promise<number> {
  const rows: { fingerprint: string }[] = await which(db('sandhook_sent_messages')).limit(count).select('fingerprint')
  if (rows.length === 0) return 0
  const old = rows.map(({ fingerprint }) => fingerprint)
  // Again by the condition: one of them may have been reported since.
  return which(db('sandhook_sent_messages').whereIn('fingerprint', old)).delete()
}

const toSent = (row: SentRow): SentMessage => ({
  fingerprint: row.fingerprint,
  topic: row.topic,
  body: row.body,
  reportedAt: row.reported_at,
  receivedAt: row.received_at,
  missingSince: row.missing_since,
  eventIds: fromText(row.event_ids)
})
