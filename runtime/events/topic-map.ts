import { createHash } from 'node:crypto'
import type { TopicRow } from '../config-files.ts'
import type { Json } from '../model.ts'
import type { IdPair } from '../store/id-pairs.ts'
import type { IncomingEvent } from './accept.ts'
import { timeOf } from './incoming.ts'

/** A message as its sender meant it. */
export interface Message {
  topic: string
  body: Json
  /** When it was sent, in milliseconds since the epoch, as far as its sender said so. */
  sentAt?: number | undefined
}

/** An event that a message is to become; ERP ids are not yet exchanged for the front's. */
export interface Draft {
  eventKey: string
  payload: string | null
  /** Names the payload's kind when it is an ERP id. */
  lookup: string | undefined
  key: string | undefined
  /** What it is one of a kind by, among the events of its key: the payload, or a text; undefined: nothing. */
  once: true | string | undefined
  timestamp: number | undefined
  data: Json
  /** Which part of the message it comes from: what tells the ids of one message's events apart. */
  part: string
}

/** What a message says, by the table. */
export interface Reading {
  drafts: Draft[]
  /** Pairs of ids that it tells. */
  pairs: IdPair[]
  /** Why parts of it became no event although somebody may have expected one. */
  refusals: string[]
}

export interface TopicMap {
  /** Every topic that the table names, once. */
  topics: string[]
  /** Reads a message. `raw`: somebody wants its topic as it is, so that every element is also an event `mq:<topic>`. */
  read: (message: Message, raw: boolean) => Reading
}

const ORDER_NUMBER = ['orderCode', 'order_code']
const MAX_PAYLOAD = 1_000
const MAX_ID = 128
const MAX_KEY = 191

/** Reads messages by the table of `config/topics.json`. Of a topic's rows the first that fits decides. */
export function createTopicMap(rows: TopicRow[]): TopicMap {
  const byTopic = Map.groupBy(rows, row => row.topic)

  function readElement(message: Message, element: Json, part: string, raw: boolean): Reading {
    const own = byTopic.get(message.topic) ?? []
    const row = own.find(({ when }) => fits(when, element))
    const drafts: Draft[] = []
    const refusals: string[] = []
    const pairs = row ? pairsOf(row, element) : []
    const payload = row ? payloadOf(row, element) : null
    if (!row) refusals.push(`${reasonWhyNone(message.topic, own, element)}${placeOf(part)}`)
    else if (row.event !== undefined && payload === null)
      refusals.push(`it has none of ${(row.payload ?? ORDER_NUMBER).join(', ')}${placeOf(part)}`)
    const draft = {
      ...{ payload, lookup: row?.lookup, key: textAt(element, row?.key ?? [])?.slice(0, MAX_KEY), data: element, part },
      timestamp: timeOf(valueAt(element, row?.timestamp ?? ''), Date.now()) ?? message.sentAt
    }
    if (row?.event !== undefined && payload !== null)
      drafts.push({ ...draft, eventKey: row.event, once: onceOf(row, element) })
    if (raw) drafts.push({ ...draft, eventKey: rawKey(message.topic), once: undefined, part: `${part}:raw` })
    return { drafts, pairs, refusals }
  }

  return {
    topics: [...byTopic.keys()],
    read(message, raw) {
      const { topic, body } = message
      if (!Array.isArray(body)) return readElement(message, body, '', raw)
      const refusal = refusalOfList(byTopic.get(topic) ?? [], topic, body)
      if (refusal !== null) return { drafts: [], pairs: [], refusals: [refusal] }
      const readings = body.map((element, i) => readElement(message, element, partOf(i), raw))
      return {
        drafts: readings.flatMap(({ drafts }) => drafts),
        pairs: readings.flatMap(({ pairs }) => pairs),
        refusals: readings.flatMap(({ refusals }) => refusals)
      }
    }
  }
}

/** The event key under which hooks get a topic's messages as they are. */
export const rawKey = (topic: string): string => `mq:${topic}`

/** The event of a draft, named for good. `identity` tells this message from all others. */
export function eventOf(draft: Draft, identity: string, frontId: (lookup: string, id: string) => string | undefined) {
  const { eventKey, lookup, key, once, timestamp, data, part } = draft
  const payload =
    lookup === undefined || draft.payload === null
      ? draft.payload
      : (frontId(lookup, draft.payload) ?? `erp:${draft.payload}`)
  const id = once === undefined ? identity + part : `mq:${eventKey}:${once === true ? payload : once}`
  const event: IncomingEvent = { id: fitted(id), eventKey, payload, key, timestamp, data }
  return event
}

/** Ids have a length; a longer one is stood for by its digest. */
const fitted = (id: string): string =>
  id.length <= MAX_ID ? id : `mq:${createHash('sha256').update(id).digest('hex')}`

/** What tells a list's element from its first one in ids. */
export const partOf = (index: number): string => (index === 0 ? '' : `#${index + 1}`)
const placeOf = (part: string): string => (part === '' ? '' : ` (element ${part.slice(1)})`)

function refusalOfList(rows: TopicRow[], topic: string, body: Json[]): string | null {
  if (rows.length === 0) return reasonWhyNone(topic, rows, body)
  if (!rows.some(row => row.each)) return 'the body is a list, and no row of its topic has "each"'
  return body.length === 0 ? 'the body is an empty list' : null
}

function fits(when: TopicRow['when'], element: Json): boolean {
  return Object.entries(when ?? {}).every(([path, wanted]) => {
    const given = valueAt(element, path) ?? null
    return [wanted].flat().some(value => (value === null ? given === null : spelling(given) === String(value)))
  })
}

/** The document's senders write one value now as a number, now as a text. */
const spelling = (value: Json): string | null =>
  value !== null && typeof value !== 'object' ? String(value).trim() : null

function reasonWhyNone(topic: string, rows: TopicRow[], element: Json): string {
  if (rows.length === 0) return `no row of config/topics.json names the topic ${topic}`
  const asked = new Set(rows.flatMap(({ when }) => Object.keys(when ?? {})))
  const given = [...asked].map(path => `${path}=${JSON.stringify(valueAt(element, path))?.slice(0, 100)}`)
  return `no row of its topic in config/topics.json fits ${given.join(', ')}`
}

function payloadOf(row: TopicRow, element: Json): string | null {
  const found = textAt(element, row.payload ?? ORDER_NUMBER)
  return found === undefined || found.length > MAX_PAYLOAD ? null : found
}

function onceOf(row: TopicRow, element: Json): Draft['once'] {
  return Array.isArray(row.once) ? textAt(element, row.once) : row.once || undefined
}

function pairsOf({ remember }: TopicRow, element: Json): IdPair[] {
  if (!remember) return []
  const erpId = textAt(element, [remember.erp])
  const frontId = textAt(element, [remember.front])
  return erpId === undefined || frontId === undefined ? [] : [{ kind: remember.kind, erpId, frontId }]
}

/** The first of these members that has a number or a text. */
function textAt(element: Json, paths: string[]): string | undefined {
  for (const path of paths) {
    const value = valueAt(element, path)
    const text = typeof value === 'string' || typeof value === 'number' ? String(value).trim() : ''
    if (text !== '') return text
  }
  return undefined
}

/** The member at a path such as `data.id`. */
function valueAt(element: Json, path: string): Json | undefined {
  let value: Json | undefined = element
  for (const name of path.split('.')) {
    if (value === null || typeof value !== 'object' || Array.isArray(value) || !Object.hasOwn(value, name))
      return undefined
    value = value[name]
  }
  return value
}
