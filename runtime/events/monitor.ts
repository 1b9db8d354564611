import type { Logger } from 'pino'
import { RuntimeError } from '../errors.ts'
import type { Json } from '../model.ts'
import type { Also } from '../store/database.ts'
import type { Page, PageRequest } from '../store/row.ts'
import type { SentMessage, SentMessageStore } from '../store/sent-messages.ts'
import type { Accept, Accepted } from './accept.ts'
import { createBuffer } from './buffer.ts'
import { fingerprintOf } from './canonical-json.ts'
import { readMessage } from './message-body.ts'
import type { Interpret } from './message-events.ts'

export interface MonitorNeeds {
  sent: SentMessageStore
  accept: Accept
  /** Says which events a message comes to, by the topic map. */
  interpret: Interpret
  /** How long a message may be on its way. */
  graceSeconds: number
  /** Reports that one node takes; as many kilobytes of them. */
  reportsPerSecond: number
  /** Told of reports that are not kept. */
  onLost: (count: number, reason: 'full' | 'refused' | 'rate') => void
  logger: Logger
}

/** What is known of messages that were sent, and whether they came. */
export interface Monitor {
  /** Takes a sender's word for what it sent; never fails, and answers before anything is stored. */
  report: (topic: string, body: Json) => void
  /** Notes messages that came, with their bodies as `readMessage` reads them. Throws STORE_UNAVAILABLE. */
  noteReceived: (messages: { topic: string; body: Json }[]) => Promise<void>
  /** Messages that were reported and have not come within the grace time, the longest missing first. */
  missing: (topic: string | undefined, page: PageRequest) => Promise<Page<SentMessage>>
  countMissing: () => Promise<{ topic: string; count: number }[]>
  /** A report, missing or not. Throws NOT_FOUND. */
  get: (fingerprint: string) => Promise<SentMessage>
  /** Makes events of a missing message. Throws NOT_FOUND, CONFLICT when it has come, EVENT_INVALID. */
  inject: (fingerprint: string, also?: Also<Accepted[]>) => Promise<Accepted[]>
  /** How many were missing when last counted. */
  readonly missingCount: number
  stop: () => Promise<void>
}

const MEMORY = 16 * 1024 * 1024
/** With so many messages missing, something else is wrong than single messages: no more reports are kept. */
const MOST_MISSING = 100_000
const COUNT_MS = 15_000
const DRAIN_MS = 2_000
const CHUNK = 500

export function createMonitor(needs: MonitorNeeds): Monitor {
  const { sent, accept, interpret, onLost, logger } = needs
  const overdue = () => Date.now() - needs.graceSeconds * 1000
  const admit = createBudget(needs.reportsPerSecond)
  let missingCount = 0

  const buffer = createBuffer<Pick<SentMessage, 'fingerprint' | 'topic' | 'body'>>({
    bytes: MEMORY,
    write: reports => sent.report(reports, Date.now()),
    onLost(count, error) {
      onLost(count, error ? 'refused' : 'full')
      if (error) logger.warn({ err: error }, 'A report of a sent message was refused')
    }
  })
  const count = () =>
    sent.totalMissing(overdue()).then(
      total => {
        missingCount = total
      },
      error => logger.warn({ err: error }, 'Missing messages could not be counted')
    )
  const counting = setInterval(count, COUNT_MS)
  void count()

  return {
    report(topic, body) {
      const text = typeof body === 'string' ? body : JSON.stringify(body)
      const bytes = Buffer.byteLength(text)
      if (missingCount >= MOST_MISSING) return onLost(1, 'full')
      if (!admit(bytes, Date.now())) return onLost(1, 'rate')
      const fingerprint = fingerprintOf(topic, typeof body === 'string' ? readMessage(body) : body)
      buffer.push({ fingerprint, topic, body: text }, bytes)
    },
    async noteReceived(messages) {
      const rows = messages.map(({ topic, body }) => ({ topic, fingerprint: fingerprintOf(topic, body) }))
      for (let from = 0; from < rows.length; from += CHUNK)
        await sent.received(rows.slice(from, from + CHUNK), Date.now())
    },
    missing: (topic, page) => sent.missing(overdue(), topic, page),
    countMissing: () => sent.countMissing(overdue()),
    get: fingerprint => found(sent, fingerprint),
    async inject(fingerprint, also) {
      const message = await found(sent, fingerprint)
      if (message.missingSince === null)
        throw new RuntimeError('CONFLICT', 'This message is not missing any more: it has come, or was injected before.')
      const { topic, body } = message
      // An identity of its own, so that injecting it twice is harmless.
      const [meaning] = await interpret([{ topic, body: readMessage(body), identity: `monitor:${fingerprint}` }])
      if (!meaning || meaning.events.length === 0)
        throw new RuntimeError(
          'EVENT_INVALID',
          `This message is no event: ${meaning?.refusals.join('; ') || 'the table makes none of it'}.`
        )
      const accepted = await accept(meaning.events, 'monitor', also)
      await sent.injected(
        fingerprint,
        accepted.map(({ id }) => id),
        Date.now()
      )
      return accepted
    },
    get missingCount() {
      return missingCount
    },
    async stop() {
      clearInterval(counting)
      await buffer.stop(DRAIN_MS)
    }
  }
}

async function found(sent: Pick<SentMessageStore, 'get'>, fingerprint: string): Promise<SentMessage> {
  const message = await sent.get(fingerprint)
  if (message) return message
  throw new RuntimeError('NOT_FOUND', `Nobody has reported a message with the id ${fingerprint}.`)
}

/** Whether one more fits into this second: so many, and as many kilobytes; one alone always does. */
export function createBudget(perSecond: number): (bytes: number, now: number) => boolean {
  let second = 0
  let count = 0
  let size = 0
  return (bytes, now) => {
    if (Math.floor(now / 1000) !== second) {
      second = Math.floor(now / 1000)
      count = 0
      size = 0
    }
    if (count > 0 && (count >= perSecond || size + bytes > perSecond * 1024)) return false
    count++
    size += bytes
    return true
  }
}
