import type { Logger } from 'pino'
import { v7 as uuid } from 'uuid'
import type { Config } from './config.ts'
import type { Accept } from './events/accept.ts'
import { startOutbox } from './events/ingress-outbox.ts'
import { startRedis } from './events/ingress-redis.ts'
import type { Interpret } from './events/message-events.ts'
import type { Metrics } from './events/metrics.ts'
import { createMissingEvents } from './events/missing-events.ts'
import { createMonitor, type Monitor } from './events/monitor.ts'
import { createOutbox } from './host/outbox.ts'
import type { ShopDatabase } from './host/shop.ts'
import { createArrivals } from './store/arrivals.ts'
import type { Database } from './store/database.ts'
import { createLease, type Lease } from './store/leases.ts'
import { createSentMessageStore } from './store/sent-messages.ts'

export interface FeedNeeds {
  db: Database
  shop: ShopDatabase
  accept: Accept
  lost: Metrics['lost']
  /** Whether no other node can be there. */
  alone: boolean
  logger: Logger
}

type OnClose = (closer: () => unknown) => void

const OUTBOX_LEASE_MS = 10_000
/** A report may come so long after the message that it is about. */
const REPORT_LATE_MS = 6 * 3_600_000

const ALWAYS: Lease = { hold: async () => true, release: async () => {} }

/** Watches whether what is sent comes: messages, by what their senders say, and events, by the shop's own tables. */
export function openMonitor(config: Config, needs: FeedNeeds & { interpret: Interpret }, onClose: OnClose) {
  const { db, shop, accept, interpret, lost, logger } = needs
  const monitor: Monitor = createMonitor({
    ...{ sent: createSentMessageStore(db), accept, interpret, logger },
    ...{ graceSeconds: config.monitor.graceSeconds, reportsPerSecond: config.monitor.reportsPerSecond },
    onLost: (count, reason) => lost('report', count, reason)
  })
  onClose(monitor.stop)
  const { events: entries } = config.monitor
  return { monitor, missingEvents: createMissingEvents({ entries, shop, arrivals: createArrivals(db), accept }) }
}

/** Starts the ways in that need no caller: the shop's outbox, and the platform's channel when there is one. */
export function startFeeds(
  config: Config,
  needs: FeedNeeds,
  onClose: OnClose
): { checks: Record<string, () => Promise<void>> } {
  const { db, shop, accept, lost, alone, logger } = needs
  const lease = alone ? ALWAYS : createLease(db, 'outbox', uuid(), OUTBOX_LEASE_MS)
  const outbox = startOutbox({ outbox: createOutbox(shop), accept, lease, logger })
  onClose(outbox.stop)
  if (config.redisUrl === null) return { checks: {} }
  const redis = startRedis({
    ...{ url: config.redisUrl, accept, logger },
    onLost: (count, reason) => lost('redis', count, reason)
  })
  onClose(redis.stop)
  return { checks: { redis: redis.check } }
}

/** What the retention deletes of the feeds' rows; see `startRetention`. */
export function feedPurges({ db, shop }: Pick<FeedNeeds, 'db' | 'shop'>): ((time: number) => Promise<number>)[] {
  const sent = createSentMessageStore(db)
  return [
    time => sent.purge(time, 500),
    () => sent.purgeReceived(Date.now() - REPORT_LATE_MS, 500),
    // Last: the scripts' account may lack the right.
    createOutbox(shop).purge
  ]
}
