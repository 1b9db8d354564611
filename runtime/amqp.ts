import type { Logger } from 'pino'
import type { Config } from './config.ts'
import type { Accept } from './events/accept.ts'
import { type Refed, refeed } from './events/dead-letters.ts'
import { startAmqp } from './events/ingress-amqp.ts'
import type { Interpret } from './events/message-events.ts'
import type { Metrics } from './events/metrics.ts'
import type { Monitor } from './events/monitor.ts'
import { createPublisher, NO_PUBLISHER, type Publisher } from './events/publisher.ts'
import type { Also, Database } from './store/database.ts'
import { createMessageStore, type DeadMessage } from './store/messages.ts'
import type { Page, PageRequest } from './store/row.ts'

type OnClose = (closer: () => unknown) => void

export interface AmqpNeeds {
  db: Database
  accept: Accept
  interpret: Interpret
  publisher: Publisher | null
  noteReceived: Monitor['noteReceived']
  onRead: Metrics['read']
  logger: Logger
}

/** Messages that became no event, to be seen and fed again. */
export interface DeadMessages {
  list: (topic: string | undefined, page: PageRequest) => Promise<Page<DeadMessage>>
  /** Feeds at most `limit` of them through the table as it is now; see `refeed`. */
  refeed: (topic: string | undefined, limit: number, also: Also<number>) => Promise<Refed>
}

export interface Messages {
  deadMessages: DeadMessages
  /** See `startRetention`. */
  purges: ((time: number) => Promise<number>)[]
  checks: Record<string, () => Promise<void>>
}

/** The way out to RabbitMQ; null: there is no broker, and `sendOrRefuse` says so to whoever sends. */
export function openPublisher({ amqpUrl }: Config, logger: Logger, onClose: OnClose): Publisher | null {
  if (amqpUrl === null) return null
  const publisher = createPublisher({ url: amqpUrl, logger })
  onClose(publisher.close)
  return publisher
}

export const sendOrRefuse = (publisher: Publisher | null): Pick<Publisher, 'send'> => publisher ?? NO_PUBLISHER

/** Starts reading when there is a broker. The list of dead messages is there without one, too. */
export function startMessages(config: Config, needs: AmqpNeeds, onClose: OnClose): Messages {
  const { db, accept, interpret, publisher, noteReceived, onRead, logger } = needs
  const store = createMessageStore(db)
  const deadMessages: DeadMessages = {
    list: (topic, page) => store.listDead({ topic }, page),
    refeed: (topic, limit, also) => refeed({ topic, limit }, { store, interpret, accept }, also)
  }
  const purges = [(time: number) => store.purgeDead(time, 500)]
  if (config.amqpUrl === null || publisher === null) return { deadMessages, purges, checks: {} }
  const topics = [...new Set(config.topics.map(({ topic }) => topic))]
  const ingress = startAmqp({
    ...{ url: config.amqpUrl, partitions: config.amqpPartitions, topics },
    ...{ store, interpret, accept, publisher, noteReceived, onRead, logger }
  })
  onClose(ingress.stop)
  return { deadMessages, purges, checks: { broker: ingress.check } }
}
