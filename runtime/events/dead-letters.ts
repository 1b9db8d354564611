import type { Logger } from 'pino'
import type { Also } from '../store/database.ts'
import type { DeadFilter, DeadMessage, MessageStore } from '../store/messages.ts'
import type { Accept } from './accept.ts'
import { type Delivery, REASON_HEADER, TOPIC_HEADER } from './delivery.ts'
import { readMessage } from './message-body.ts'
import type { Interpret } from './message-events.ts'
import type { Publisher } from './publisher.ts'
import { rest } from './queue-reader.ts'

export interface DeadLetterNeeds {
  store: Pick<MessageStore, 'bury' | 'oldestDead' | 'forget' | 'countDead'>
  interpret: Interpret
  accept: Accept
}

/** What feeding dead messages again came to. */
export interface Refed {
  /** Messages that have become events now and are off the list. */
  refed: number
  /** Messages that are still on it. */
  left: number
}

export const DEAD_QUEUE = 'sandhook.dead'
const PAUSE_MS = 2_000
/** The longest that the broker can be told, 49 days, is more than the list is kept. */
const COPY_TTL_MS = 30 * 86_400_000
const CHUNK = 100

/**
 * Makes a message a dead letter: a row of the list that is read and fed again over HTTP, then a copy in the queue
 * `sandhook.dead` for whoever watches the broker; nothing reads that queue here. Goes on trying until both have it, or
 * `signal` fires: then the broker delivers the message again. Answers whether both have it.
 */
export async function bury(
  delivery: Delivery,
  reason: string,
  { store, publisher, logger }: { store: DeadLetterNeeds['store']; publisher: Pick<Publisher, 'send'>; logger: Logger },
  signal: AbortSignal
): Promise<boolean> {
  const { identity: id, topic, text: body, sentAt = null, raw } = delivery
  const { properties, content } = raw
  const headers = { ...properties.headers, [REASON_HEADER]: reason, [TOPIC_HEADER]: topic }
  while (!signal.aborted) {
    try {
      await store.bury({ id, topic, reason, body, sentAt, receivedAt: Date.now() })
      await publisher.send({
        ...{ exchange: '', routingKey: DEAD_QUEUE, content },
        options: {
          ...{ headers, persistent: true, mandatory: true, messageId: id, expiration: COPY_TTL_MS },
          contentType: properties.contentType
        }
      })
      return true
    } catch (error) {
      logger.warn({ err: error, topic, id }, 'A message could not be put to the dead letters yet')
      await rest(PAUSE_MS, signal)
    }
  }
  return false
}

/**
 * Feeds dead messages that were on the list when it began through the table again, the oldest first. `also` is told how
 * many were read so far, in each transaction that makes anything of them.
 */
export async function refeed(
  { topic, limit }: DeadFilter & { limit: number },
  needs: DeadLetterNeeds,
  also?: Also<number>
): Promise<Refed> {
  const { store } = needs
  const until = Date.now()
  let refed = 0
  let seen = 0
  for (let after: DeadMessage | null = null; seen < limit; ) {
    const batch = await store.oldestDead({ topic }, { after, until, count: Math.min(CHUNK, limit - seen) })
    if (batch.length === 0) break
    seen += batch.length
    const read = seen
    refed += await feed(batch, needs, async trx => also?.(trx, read))
    after = batch.at(-1) ?? null
  }
  return { refed, left: await store.countDead({ topic }) }
}

/** What of a message becomes events now is accepted; the message stays on the list until all of it does. */
async function feed(
  batch: DeadMessage[],
  { store, interpret, accept }: DeadLetterNeeds,
  also: Also<unknown>
): Promise<number> {
  const messages = batch.map(({ id, topic, body, sentAt, receivedAt }) => ({
    ...{ identity: id, topic, body: readMessage(body) },
    sentAt: sentAt ?? receivedAt
  }))
  const meanings = await interpret(messages)
  await accept(
    meanings.flatMap(({ events }) => events),
    'amqp',
    also
  )
  const whole = batch.filter((_, i) => meanings[i]?.refusals.length === 0)
  await store.forget(
    whole.map(({ id }) => id),
    also
  )
  return whole.length
}
