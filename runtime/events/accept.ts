import { v7 as uuid } from 'uuid'
import type { CatalogEntry } from '../config-files.ts'
import { asRuntimeError, RuntimeError } from '../errors.ts'
import type { ShopDatabase } from '../host/shop.ts'
import { parseStatement } from '../host/sql/statement.ts'
import type { EventSource, HookEvent, Json, MerId } from '../model.ts'
import { type Also, type Database, guarded, isDuplicate, type Transaction, transact } from '../store/database.ts'
import { insertEvents, knownEvents } from '../store/events.ts'
import { queueBehind } from '../store/lane-order.ts'
import { insertExecutions, laneOf, newExecution } from '../store/queue.ts'
import { merIdOf } from '../store/row.ts'
import type { Registry } from './registry.ts'
import { concernsMerchants, route } from './router.ts'

/** An event as a sender gives it; what is missing is filled in. */
export interface IncomingEvent {
  id?: string | undefined
  eventKey: string
  payload: Json
  timestamp?: number | undefined
  merId?: MerId | undefined
  key?: string | undefined
  data?: Json | undefined
  /** Raised by a hook: one more than the depth of the event that the hook ran for. */
  depth?: number | undefined
}

/** What accepting an event came to; a duplicate was accepted before, and nothing happens twice. */
export interface Accepted {
  id: string
  duplicate: boolean
  /** Ids of the executions that it caused. */
  executions: string[]
}

/**
 * The one door for events, whichever way they come. Resolves when the events and their executions are committed, with
 * what is `also` to be written, unless there are no events. Throws STORE_UNAVAILABLE, EVENT_INVALID.
 */
export type Accept = (events: IncomingEvent[], source: EventSource, also?: Also<Accepted[]>) => Promise<Accepted[]>

export interface AcceptNeeds {
  db: Database
  registry: Registry
  /** The merchant that an event belongs to, when the sender does not say; null: none, or unknown. */
  merchantOf: (event: HookEvent) => Promise<MerId | null>
  /** Told after a commit that there is work. */
  onAccepted: () => void
  /** Told how many came, and how many of them were known. */
  onCounted: (source: EventSource, events: number, duplicates: number) => void
  /** How much may wait for the database, in characters; default: 64 million. */
  maxWaiting?: number
}

interface Waiting {
  events: HookEvent[]
  also: Also<Accepted[]> | undefined
  resolve: (accepted: Accepted[]) => void
  reject: (error: unknown) => void
}

/** Events in one transaction: enough to share a disk flush among many senders. */
const MAX_BATCH = 500
const MAX_RACES = 5
/** Characters of events that may wait for the database; what comes beyond is refused, to be sent again. */
const MAX_WAITING = 64 * 1024 * 1024

/**
 * Accepts events in batches: whatever arrives while a transaction is being written goes into the next one, so that the
 * rate is not bound by the disk's flushes. One event's transaction holds the event and all its executions.
 */
export function createAccept(needs: AcceptNeeds): Accept {
  const { db, registry, merchantOf, onAccepted, onCounted, maxWaiting = MAX_WAITING } = needs
  const waiting: Waiting[] = []
  let writing = false
  let held = 0

  async function write(): Promise<void> {
    if (writing) return
    writing = true
    while (waiting.length > 0) {
      const batch = takeBatch(waiting)
      try {
        const accepted = await acceptAll(
          batch.flatMap(({ events }) => events),
          batch[0]?.also
        )
        let from = 0
        for (const { events, resolve } of batch) {
          resolve(accepted.slice(from, from + events.length))
          from += events.length
        }
        onAccepted()
      } catch (error) {
        for (const { reject } of batch) reject(error)
      }
    }
    writing = false
  }

  async function acceptAll(events: HookEvent[], also?: Also<Accepted[]>): Promise<Accepted[]> {
    const { hooks } = await registry.current()
    const insert = async (trx: Transaction): Promise<Accepted[]> => {
      const known = await knownEvents(
        trx,
        events.map(event => event.id)
      )
      const now = Date.now()
      const fresh: HookEvent[] = []
      const outcomes = events.map(event => {
        const duplicate = known.has(event.id)
        known.add(event.id)
        if (!duplicate) fresh.push(event)
        const caused = duplicate ? [] : route(hooks, event).map(({ hook }) => toQueue(event, hook, now))
        return { id: event.id, duplicate, caused }
      })
      const executions = outcomes.flatMap(({ caused }) => caused)
      await queueBehind(trx, executions)
      const accepted = outcomes.map(({ id, duplicate, caused }) => ({
        ...{ id, duplicate },
        executions: caused.map(({ execution }) => execution.id)
      }))
      await insertEvents(trx, fresh, now)
      await insertExecutions(trx, executions)
      await also?.(trx, accepted)
      return accepted
    }
    return insertOnce(db, insert)
  }

  /** Done before an event joins others: a shop that does not answer holds up its own sender only. */
  async function withMerchants(events: HookEvent[]): Promise<HookEvent[]> {
    const { hooks } = await registry.current()
    return Promise.all(
      events.map(async event =>
        event.merId === null && concernsMerchants(hooks, event.eventKey)
          ? { ...event, merId: await merchantOf(event) }
          : event
      )
    )
  }

  const { accept } = guarded({
    async accept(
      incoming: IncomingEvent[],
      source: EventSource,
      also: Also<Accepted[]> | undefined
    ): Promise<Accepted[]> {
      if (incoming.length === 0) return []
      const size = incoming.reduce((sum, event) => sum + sizeOf(event), 0)
      if (held > 0 && held + size > maxWaiting) throw crowded()
      held += size
      try {
        const events = await withMerchants(incoming.map(event => complete(event, source)))
        return await new Promise((resolve, reject) => {
          waiting.push({ events, also, resolve, reject })
          setImmediate(() => void write())
        })
      } finally {
        held -= size
      }
    }
  })
  return async (events, source, also) => {
    const accepted = await accept(events, source, also)
    onCounted(source, accepted.length, accepted.filter(({ duplicate }) => duplicate).length)
    return accepted
  }
}

/** What an event holds of this process's memory while it waits, roughly; in characters. */
const sizeOf = ({ payload, data }: IncomingEvent): number =>
  500 + (typeof payload === 'string' ? payload.length : JSON.stringify([payload, data]).length)

const crowded = (): RuntimeError =>
  new RuntimeError('STORE_UNAVAILABLE', 'More events wait for the database than fit into memory; send them again.', {
    retryAfterMs: 2_000
  })

const toQueue = (event: HookEvent, hook: { id: string; path: string }, now: number) => ({
  execution: newExecution(event, hook, now),
  lane: laneOf(hook.id, event.key)
})

/** Who has something else to write is alone: should that fail, it fails nobody else's events. */
function takeBatch(waiting: Waiting[]): Waiting[] {
  const batch: Waiting[] = []
  for (let size = 0; waiting[0] && (size === 0 || size + waiting[0].events.length <= MAX_BATCH); ) {
    if (batch.length > 0 && waiting[0].also) break
    const next = waiting.shift() as Waiting
    size += next.events.length
    batch.push(next)
    if (next.also) break
  }
  return batch
}

/** Two nodes may be given the same new event at the same moment: the later one looks again, and finds it known. */
async function insertOnce<T>(db: Database, insert: (trx: Transaction) => Promise<T>): Promise<T> {
  for (let race = 1; ; race++) {
    try {
      return await transact(db, insert)
    } catch (error) {
      if (!isDuplicate(error) || race === MAX_RACES) throw error
    }
  }
}

/** What the tables can hold; every door is bound by it, so that one sender's event can't fail another's. */
const LONGEST = { id: 128, eventKey: 100, key: 191 }

function refuseOversized(event: IncomingEvent): void {
  for (const [name, longest] of Object.entries(LONGEST)) {
    const value = event[name as keyof typeof LONGEST]
    if (value !== undefined && (value.length > longest || value.trim() !== value || value === ''))
      throw new RuntimeError(
        'EVENT_INVALID',
        `${name}: must have 1 to ${longest} characters and no blanks around them.`
      )
  }
}

function complete(event: IncomingEvent, source: EventSource): HookEvent {
  refuseOversized(event)
  return {
    id: event.id ?? uuid(),
    eventKey: event.eventKey,
    payload: event.payload,
    timestamp: event.timestamp ?? Date.now(),
    merId: event.merId ?? null,
    key: event.key ?? keyOf(event.payload),
    source,
    depth: event.depth ?? 0,
    ...(event.data === undefined ? {} : { data: event.data })
  }
}

/** Members of an object payload that name the thing that it is about, the most telling first. */
const NAMING = ['orderNo', 'orderId', 'orderCode', 'order_code', 'id']
const MAX_KEY = 191

/** The ordering key of a payload: a string or number itself, or what names an object; null: any order will do. */
export function keyOf(payload: Json): string | null {
  if (typeof payload === 'string' || typeof payload === 'number') return String(payload).slice(0, MAX_KEY)
  if (payload === null || typeof payload !== 'object' || Array.isArray(payload)) return null
  const name = NAMING.find(member => ['string', 'number'].includes(typeof payload[member]))
  return name === undefined ? null : String(payload[name]).slice(0, MAX_KEY)
}

/**
 * Looks an event's merchant up in the shop, with the query that the catalog has for its key. An outage of the shop is
 * the sender's to repeat; a query that fails otherwise leaves the event without a merchant, and `onFailure` knows.
 */
export function merchantLookup(
  catalog: CatalogEntry[],
  shop: ShopDatabase,
  onFailure: (error: RuntimeError, event: HookEvent) => void
): AcceptNeeds['merchantOf'] {
  const queries = new Map(catalog.map(({ key, merchantQuery }) => [key, merchantQuery]))
  return async event => {
    const sql = queries.get(event.eventKey)
    const { payload } = event
    if (sql === undefined || (typeof payload !== 'string' && typeof payload !== 'number')) return null
    try {
      const options = { bounds: { rows: 1, bytes: 10_000 }, signal: AbortSignal.timeout(LOOKUP_MS) }
      const answer = await shop.run(parseStatement(sql), [payload], options)
      const [value] = Object.values(('rows' in answer && answer.rows[0]) || {})
      return value === null || value === undefined ? null : merIdOf(String(value))
    } catch (thrown) {
      const error = asRuntimeError(thrown)
      if (error.code === 'DB_UNAVAILABLE')
        throw new RuntimeError('STORE_UNAVAILABLE', error.message, { cause: error, retryAfterMs: 2_000 })
      onFailure(error, event)
      return null
    }
  }
}

const LOOKUP_MS = 5_000
