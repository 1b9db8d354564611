import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import { asRuntimeError, retryOf } from '../errors.ts'
import { isMissingTable, MAX_TAKEN, type Outbox, type OutboxRow } from '../host/outbox.ts'
import type { Lease } from '../store/leases.ts'
import { merIdOf } from '../store/row.ts'
import type { Accept, IncomingEvent } from './accept.ts'
import { parseExactly } from './canonical-json.ts'
import { payloadOf, problemOf, timeOf } from './incoming.ts'

export interface OutboxNeeds {
  outbox: Outbox
  accept: Accept
  /** The one node that picks up: two at once would accept one order's rows in any order. */
  lease: Lease
  logger: Logger
}

const POLL_MS = 1_000
/** Between looks for a table that is not there. */
const ABSENT_MS = 60_000
const OUTAGE_PAUSE_MS = 2_000

/**
 * Picks up what the shop has left in its outbox, until it is stopped.
 *
 * O1 A row is marked only after its event is committed: whatever dies in between, the row comes again, and `accept`
 *    knows its id.
 * O2 Rows are found by not being marked, never by a highest id: one whose transaction commits late is not passed by.
 * O3 Rows are accepted by rising id. What one order's transactions wrote one after the other keeps its order.
 */
export function startOutbox({ outbox, accept, lease, logger }: OutboxNeeds): { stop: () => Promise<void> } {
  const stopping = new AbortController()
  let present: boolean | null = null
  let size = MAX_TAKEN
  let said = ''

  const say = (message: string, error?: unknown) => {
    if (message !== said) logger[error ? 'warn' : 'info']({ err: error }, message)
    said = message
  }

  async function look(): Promise<boolean> {
    if (present) return true
    present = await outbox.exists()
    say(present ? 'The outbox is read' : 'The shop has no outbox: events come by other ways (sql/shop/outbox.sql)')
    return present
  }

  /** Answers how long to rest, in milliseconds. */
  async function pickUp(): Promise<number> {
    if (!(await look())) return ABSENT_MS
    if (!(await lease.hold())) return POLL_MS
    const rows = await outbox.waiting(size)
    await takeRows(rows)
    const full = rows.length === size
    size = Math.min(size * 2, MAX_TAKEN)
    if (rows.length > 0) say('The outbox is read')
    return full ? 0 : POLL_MS
  }

  async function takeRows(rows: OutboxRow[]): Promise<void> {
    const now = Date.now()
    const read = rows.map(row => ({ row, event: toIncoming(row, now) }))
    const good = read.flatMap(({ row, event }) => (typeof event === 'string' ? [] : [{ row, event }]))
    await takeEvents(good)
    for (const { row, event } of read) if (typeof event === 'string') await refuse(row.id, event)
  }

  /** One that the store refuses does not take the others with it. */
  async function takeEvents(batch: { row: OutboxRow; event: IncomingEvent }[]): Promise<void> {
    try {
      const events = batch.map(({ event }) => event)
      await accept(events, 'outbox')
    } catch (thrown) {
      const error = asRuntimeError(thrown)
      if (retryOf(error.code) === 'free') throw error
      const [first] = batch
      if (batch.length === 1 && first) return refuse(first.row.id, error.message)
      for (const each of batch) await takeEvents([each])
      return
    }
    await outbox.take(batch.map(({ row }) => row.id))
  }

  async function refuse(id: OutboxRow['id'] | undefined, error: string): Promise<void> {
    if (id === undefined) return
    await outbox.refuse(id, error)
    logger.warn({ row: id, error }, 'A row of sandhook_outbox is no event; its column `error` says why')
  }

  async function afterFailure(thrown: unknown): Promise<number> {
    const error = asRuntimeError(thrown)
    if (error.code === 'HOOK_DB_LIMIT') {
      if (size === 1) await refuse(await outbox.oldest(), 'it is larger than 4 MB')
      size = Math.max(1, Math.floor(size / 4))
      return 0
    }
    if (isMissingTable(error)) present = null
    say(`The outbox can't be read (${error.message}); trying again`, error)
    return present === null ? ABSENT_MS : OUTAGE_PAUSE_MS
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      const pause = await pickUp()
        .catch(afterFailure)
        .catch(() => OUTAGE_PAUSE_MS)
      if (pause > 0) await sleep(pause, undefined, stopping).catch(() => {})
    }
    await lease.release().catch(() => {})
  }

  const running = run()
  return {
    async stop() {
      stopping.abort()
      await running
    }
  }
}

/** A row as an event, or what is wrong with it. */
export function toIncoming(row: OutboxRow, now: number): IncomingEvent | string {
  const { id, event_key: eventKey, payload, mer_id: merId, created_at: createdAt, ordering_key: key, data } = row
  try {
    const event: IncomingEvent = {
      id: row.event_id || rowId(id, createdAt),
      eventKey: eventKey ?? '',
      payload: payload === null ? null : payloadOf(String(payload)),
      timestamp: timeOf(createdAt, now),
      merId: merId === null || merId === '' ? undefined : (merIdOf(String(merId)) ?? undefined),
      key: key || undefined,
      data: data === null || data === '' ? undefined : parseExactly(data)
    }
    return problemOf(event) ?? event
  } catch (error) {
    return `its payload or data is no JSON: ${(error as Error).message}`
  }
}

/** With its time: where a table is emptied, its ids begin anew, and old ones are known as events. */
const rowId = (id: OutboxRow['id'], createdAt: OutboxRow['created_at']): string =>
  createdAt === null ? `outbox:${id}` : `outbox:${id}:${createdAt}`
