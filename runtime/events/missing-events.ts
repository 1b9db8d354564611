import { createHash } from 'node:crypto'
import type { MonitorConfig } from '../config-files.ts'
import { RuntimeError } from '../errors.ts'
import type { Param, Row, ShopDatabase } from '../host/shop.ts'
import { parseStatement } from '../host/sql/statement.ts'
import type { MerId } from '../model.ts'
import type { Arrivals } from '../store/arrivals.ts'
import type { Also } from '../store/database.ts'
import { merIdOf } from '../store/row.ts'
import { type Accept, type Accepted, type IncomingEvent, keyOf } from './accept.ts'

/** A row of `events` in config/monitor.json. */
export type ExpectedEvent = MonitorConfig['events'][number]

/** Something in the shop that there should be an event of. */
export interface Expected {
  payload: string | number
  merId: MerId | null
  /** The ordering key that its event has, when it is not the payload. */
  key: string
}

/** What came of comparing the shop with the events that came. */
export interface Comparison {
  eventKey: string
  /** From when on the shop was asked, in milliseconds since the epoch. */
  from: number
  /** How many events there should be. */
  expected: number
  missing: Expected[]
}

export interface MissingEventNeeds {
  entries: ExpectedEvent[]
  shop: ShopDatabase
  arrivals: Arrivals
  accept: Accept
}

export type MissingEvents = ReturnType<typeof createMissingEvents>

const HOUR_MS = 3_600_000
/** Clocks of the shop and of the nodes differ by less. */
const SKEW_MS = HOUR_MS
const BOUNDS = { rows: 100_000, bytes: 32 * 1024 * 1024 }
const PATIENCE_MS = 30_000
/** Events raised by one call. */
const MAX_RAISED = 1_000
const CLOCK = 'SELECT FROM_UNIXTIME(?) AS time'

/** Compares what happened in the shop with the events that came of it. */
export function createMissingEvents({ entries, shop, arrivals, accept }: MissingEventNeeds) {
  async function ask(sql: string, params: Param[]): Promise<Row[]> {
    const statement = parseStatement(sql)
    if (statement.kind !== 'read')
      throw new RuntimeError('DB_DENIED', `A query of config/monitor.json must be a SELECT, not: ${sql}`)
    const answer = await shop.run(statement, params, { bounds: BOUNDS, signal: AbortSignal.timeout(PATIENCE_MS) })
    return 'rows' in answer ? answer.rows : []
  }

  /** What the shop has since a time, in the clock that the shop's own NOW() goes by. */
  async function expectedSince({ query }: ExpectedEvent, time: number): Promise<Expected[]> {
    const [clock] = await ask(CLOCK, [Math.floor(time / 1000)])
    return (await ask(query, [clock?.time ?? null])).flatMap(toExpected)
  }

  async function compare(entry: ExpectedEvent): Promise<Comparison> {
    const { eventKey, hours, graceSeconds } = entry
    const now = Date.now()
    const from = now - hours * HOUR_MS
    // A query knows only from when on: what is younger than the grace time is what it finds from there on.
    const [expected, young] = await Promise.all([
      expectedSince(entry, from),
      expectedSince(entry, now - graceSeconds * 1000)
    ])
    const due = without(expected, new Set(young.map(({ payload }) => String(payload))))
    const keys = [...new Set(due.map(({ key }) => key))]
    return {
      eventKey,
      from,
      expected: due.length,
      missing: without(due, await arrivals.arrived(eventKey, keys, from - SKEW_MS))
    }
  }

  const entryOf = (eventKey: string): ExpectedEvent => {
    const entry = entries.find(each => each.eventKey === eventKey)
    if (entry) return entry
    const known = entries.map(each => each.eventKey).join(', ') || 'none'
    throw new RuntimeError('NOT_FOUND', `config/monitor.json has no query for ${eventKey}; it has: ${known}.`)
  }

  return {
    /** One comparison for each query, or that of one key. Throws NOT_FOUND, and what the shop's database says. */
    async compare(eventKey?: string): Promise<Comparison[]> {
      const wanted = eventKey === undefined ? entries : [entryOf(eventKey)]
      const comparisons: Comparison[] = []
      for (const entry of wanted) comparisons.push(await compare(entry))
      return comparisons
    },

    /**
     * Raises events that never came, all of them or those with these payloads; at most 1 000 in one call. `left`: how
     * many are still missing. Raising one twice is harmless.
     */
    async raise(
      eventKey: string,
      payloads?: (string | number)[],
      also?: Also<Accepted[]>
    ): Promise<{ events: Accepted[]; left: number }> {
      const { missing } = await compare(entryOf(eventKey))
      const asked = payloads && new Set(payloads.map(String))
      const wanted = missing.filter(({ payload }) => !asked || asked.has(String(payload))).slice(0, MAX_RAISED)
      const events = await accept(
        wanted.map(each => toEvent(eventKey, each)),
        'monitor',
        also
      )
      return { events, left: missing.length - events.length }
    }
  }
}

/** Those whose payload is none of these; of several with one payload, the first. */
export function without(expected: Expected[], payloads: ReadonlySet<string>): Expected[] {
  const first = new Map(expected.toReversed().map(each => [String(each.payload), each]))
  return expected.filter(each => first.get(String(each.payload)) === each && !payloads.has(String(each.payload)))
}

/** A query's row: `payload`, and `mer_id` and `key` if it has them. */
function toExpected({ payload, mer_id: merId, key }: Row): Expected[] {
  if (typeof payload !== 'string' && typeof payload !== 'number') return []
  const owner = merId === null || merId === undefined ? null : merIdOf(String(merId))
  return [{ payload, merId: owner, key: String(key ?? keyOf(payload)) }]
}

function toEvent(eventKey: string, { payload, merId, key }: Expected): IncomingEvent {
  const id = `missing:${eventKey}:${payload}`
  return {
    id: id.length <= 128 ? id : `missing:${createHash('sha256').update(id).digest('hex')}`,
    ...{ eventKey, payload, key, merId: merId ?? undefined }
  }
}
