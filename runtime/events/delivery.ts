import type { ConsumeMessage } from 'amqplib'
import { v7 as uuid } from 'uuid'
import type { Json } from '../model.ts'
import type { MessageStore } from '../store/messages.ts'
import { fingerprintOf } from './canonical-json.ts'
import { timeOf } from './incoming.ts'
import { parseMessage } from './message-body.ts'

/** The topic of a message that has been passed on, and is no longer its routing key. */
export const TOPIC_HEADER = 'x-sandhook-topic'
/** Set on a message that may have been passed on twice. */
export const AGAIN_HEADER = 'x-sandhook-redelivered'
export const REASON_HEADER = 'x-sandhook-reason'

/** A message as the broker handed it over. */
export interface Delivery {
  raw: ConsumeMessage
  topic: string
  text: string
  /** What it says, or its text when it can't be read. */
  body: Json
  /** Why it can't be read; null: it can. */
  problem: string | null
  messageId: string | null
  /** Whether it may have come before. */
  redelivered: boolean
  sentAt: number | undefined
  /** What the ids of its events begin with; empty until `identify` has named it. */
  identity: string
}

/** How messages that hooks have sent are marked. */
export const APP_ID = 'sandhook'

/** As much as the HTTP door takes. */
const MAX_BYTES = 5 * 1024 * 1024
const MAX_MESSAGE_ID = 100

export function deliveryOf(raw: ConsumeMessage): Delivery {
  const { fields, properties, content } = raw
  const headers = properties.headers ?? {}
  const topic = headers[TOPIC_HEADER]
  const { messageId } = properties
  return {
    raw,
    topic: typeof topic === 'string' ? topic : fields.routingKey,
    ...textOf(content),
    messageId: typeof messageId === 'string' && messageId !== '' ? messageId : null,
    redelivered: fields.redelivered || headers[AGAIN_HEADER] === true,
    sentAt: timeOf(properties.timestamp, Date.now()),
    identity: ''
  }
}

function textOf(content: Buffer): Pick<Delivery, 'text' | 'body' | 'problem'> {
  if (content.length > MAX_BYTES) {
    const text = content.toString('utf8', 0, 10_000)
    return { text, body: text, problem: `it has ${content.length} bytes, and at most ${MAX_BYTES} are taken` }
  }
  const text = content.toString('utf8')
  try {
    return { text, body: parseMessage(text), problem: null }
  } catch (error) {
    return { text, body: text, problem: `it is no JSON: ${(error as Error).message}` }
  }
}

/** So long after its first delivery, a repeated message without an id is known again. */
const WINDOW_MS = 600_000
const DIGITS = 40

/**
 * Gives each delivery the identity that it had when it came before, or a new one. A message with an id is known by it.
 * One without is taken for one that came before only when the broker says that it may have, and one with the same topic
 * and body has come within ten minutes: so nothing that a sender said twice is lost, unless the broker repeated it too.
 * Throws STORE_UNAVAILABLE.
 */
export async function identify(deliveries: Delivery[], store: Pick<MessageStore, 'known'>): Promise<void> {
  const nameless = deliveries.filter(({ identity }) => identity === '')
  const prefixes = new Map(nameless.map(delivery => [delivery, prefixOf(delivery)]))
  const repeated = nameless.filter(({ redelivered, messageId }) => redelivered && messageId === null)
  const asked = [...new Set(repeated.map(delivery => prefixes.get(delivery) ?? ''))]
  const known = asked.length > 0 ? await store.known(asked, Date.now() - WINDOW_MS) : new Map<string, string>()
  for (const delivery of nameless) {
    const prefix = prefixes.get(delivery) ?? ''
    if (delivery.messageId !== null) delivery.identity = prefix
    else {
      const before = delivery.redelivered ? known.get(prefix) : undefined
      delivery.identity = before?.slice(0, prefix.length + UUID_LENGTH) ?? prefix + uuid()
      known.set(prefix, delivery.identity)
    }
  }
}

const UUID_LENGTH = 36

/** A long id of a sender's is stood for by its digest. */
function prefixOf({ topic, body, messageId }: Delivery): string {
  if (messageId === null) return `mq:${fingerprintOf(topic, body).slice(0, DIGITS)}:`
  return `amqp:${messageId.length <= MAX_MESSAGE_ID ? messageId : fingerprintOf('', messageId)}`
}

/**
 * Those of a batch that hooks of this installation have sent: what they tell is known here already, and to take it for
 * an event would have hooks answer themselves.
 */
export async function echoesAmong(
  batch: Delivery[],
  store: Pick<MessageStore, 'ownExecutions'>
): Promise<Set<Delivery>> {
  const senders = batch.flatMap(delivery => {
    const { appId } = delivery.raw.properties
    const execution = appId === APP_ID && /^([0-9a-f-]{36}):\d+/.exec(delivery.messageId ?? '')?.[1]
    return execution ? [{ delivery, execution }] : []
  })
  if (senders.length === 0) return new Set()
  const ours = await store.ownExecutions([...new Set(senders.map(({ execution }) => execution))])
  return new Set(senders.filter(({ execution }) => ours.has(execution)).map(({ delivery }) => delivery))
}
