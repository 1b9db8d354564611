import { createHash } from 'node:crypto'
import { Redis } from 'ioredis'
import type { Logger } from 'pino'
import { RuntimeError } from '../errors.ts'
import type { Json } from '../model.ts'
import { merIdOf } from '../store/row.ts'
import type { Accept, IncomingEvent } from './accept.ts'
import { createBuffer } from './buffer.ts'
import { parseExactly } from './canonical-json.ts'
import { payloadOf, problemOf, timeOf } from './incoming.ts'

export interface RedisNeeds {
  /** `redis://` or `rediss://` */
  url: string
  accept: Accept
  /** Told of messages that came and are no events, or for which there was no room. */
  onLost: (count: number, reason: 'invalid' | 'full' | 'refused') => void
  logger: Logger
}

/** Where the platform publishes its events. */
export const CHANNEL = 'magic-api:event'

const MEMORY = 32 * 1024 * 1024
const MAX_BACKOFF_MS = 5_000
const COMMAND_MS = 5_000
const HEARTBEAT_MS = 10_000
const DRAIN_MS = 5_000

/**
 * Listens on the platform's channel. A channel keeps nothing for those who are not there: what is published while no
 * node listens is lost. Any number of nodes may listen; an event that several of them hear is accepted once.
 */
export function startRedis({ url, accept, onLost, logger }: RedisNeeds) {
  const buffer = createBuffer<IncomingEvent>({
    bytes: MEMORY,
    write: events => accept(events, 'redis'),
    onLost(count, error) {
      onLost(count, error ? 'refused' : 'full')
      if (error) logger.warn({ err: error }, 'An event of the Redis channel was refused')
    }
  })
  const hear = (text: string) => {
    const event = toIncoming(text, Date.now())
    if (typeof event !== 'string') return void buffer.push(event, Buffer.byteLength(text))
    onLost(1, 'invalid')
    logger.warn({ bytes: text.length, reason: event }, 'A message of the Redis channel is no event')
  }
  const listener = listen(url, hear, logger)
  return {
    /** Throws BROKER_UNAVAILABLE while nobody would hear a message. */
    async check(): Promise<void> {
      if (!listener.listening()) throw new RuntimeError('BROKER_UNAVAILABLE', `Not subscribed to ${CHANNEL} in Redis.`)
    },
    async stop(): Promise<void> {
      listener.stop()
      await buffer.stop(DRAIN_MS)
    }
  }
}

/** Keeps a subscription, whatever becomes of the connection or the server; each change is logged once. */
function listen(url: string, hear: (text: string) => void, logger: Logger) {
  const client = new Redis(url, {
    // A restricted account may not ask INFO, and old servers don't know RESP3.
    ...{ enableReadyCheck: false, protocol: 2, autoResubscribe: false },
    ...{
      maxRetriesPerRequest: null,
      enableOfflineQueue: false,
      commandTimeout: COMMAND_MS,
      connectTimeout: COMMAND_MS
    },
    retryStrategy: attempt => Math.min(100 * 2 ** Math.min(attempt, 10), MAX_BACKOFF_MS)
  })
  let listening = false
  let said = ''
  const say = (message: string, error?: Error) => {
    if (message !== said) logger[error ? 'warn' : 'info']({ err: error }, message)
    said = message
  }
  client.on('ready', () =>
    client.subscribe(CHANNEL).then(
      () => {
        listening = true
        say(`Listening on ${CHANNEL} in Redis`)
      },
      error => say(`Redis does not let us listen on ${CHANNEL}; trying again`, error)
    )
  )
  client.on('message', (_channel, text) => hear(text))
  client.on('error', error => say('Redis does not answer; what is published meanwhile is lost', error))
  client.on('close', () => {
    if (listening) say('Redis has closed the connection; what is published meanwhile is lost')
    listening = false
  })
  // A subscriber only listens: it would not notice a peer that is gone without a word.
  const heartbeat = setInterval(() => {
    if (client.status !== 'ready') return
    if (listening) client.ping().catch(() => client.disconnect(true))
    else client.disconnect(true)
  }, HEARTBEAT_MS)
  return {
    listening: () => listening,
    stop() {
      clearInterval(heartbeat)
      client.disconnect()
    }
  }
}

/** Messages without a time that are the same within so long are one message that several nodes heard. */
const SAME_MS = 10_000

/** A message `{ eventKey, payload, timestamp }` as an event, or what is wrong with it. */
export function toIncoming(text: string, now: number): IncomingEvent | string {
  try {
    const parsed = parseExactly(text)
    // Some of Java's serializers quote a text once more.
    const message = typeof parsed === 'string' ? parseExactly(parsed) : parsed
    if (message === null || typeof message !== 'object' || Array.isArray(message)) return 'it is no JSON object'
    const { eventKey, payload, timestamp, merId } = message
    if (typeof eventKey !== 'string') return 'it has no event key'
    const time = timeOf(timestamp, now)
    const event: IncomingEvent = {
      id: `redis:${idOf(text, time ?? Math.floor(now / SAME_MS))}`,
      eventKey,
      payload: typeof payload === 'string' ? readPayload(payload) : (payload as Json),
      timestamp: time,
      merId: typeof merId === 'string' || typeof merId === 'number' ? (merIdOf(String(merId)) ?? undefined) : undefined
    }
    return problemOf(event) ?? event
  } catch (error) {
    return `it is no JSON: ${(error as Error).message}`
  }
}

/** Some publishers put an object payload in as its text. */
function readPayload(text: string): Json {
  try {
    return payloadOf(text)
  } catch {
    return text
  }
}

const idOf = (text: string, time: number): string => createHash('sha256').update(`${text}\n${time}`).digest('hex')
