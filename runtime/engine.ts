import { EventEmitter } from 'node:events'
import type { Logger } from 'pino'
import { collectDefaultMetrics, Registry as MetricRegistry } from 'prom-client'
import { v7 as uuid } from 'uuid'
import { openPublisher, sendOrRefuse, startMessages } from './amqp.ts'
import { type Config, isEmbedded } from './config.ts'
import { createAccept, merchantLookup } from './events/accept.ts'
import { createAnnounce } from './events/announce.ts'
import { createRunAttempt } from './events/attempt.ts'
import { createDispatcher } from './events/dispatcher.ts'
import { createInterpret } from './events/message-events.ts'
import { createMetrics } from './events/metrics.ts'
import { createRegistry } from './events/registry.ts'
import { startRetention } from './events/retention.ts'
import { createTopicMap } from './events/topic-map.ts'
import { feedPurges, openMonitor, startFeeds } from './feeds.ts'
import { purgeEffects } from './host/effects.ts'
import { createHttpClient } from './host/http-client.ts'
import type { ShopDatabase } from './host/shop.ts'
import { createAccess } from './host/sql/access.ts'
import { createTables } from './host/sql/tables.ts'
import { createTargets } from './host/targets.ts'
import { createFleet } from './runner/fleet.ts'
import { keptKey } from './secret-key.ts'
import { type OnClose, openGuard } from './startup.ts'
import { createAuditStore } from './store/audit.ts'
import { createCipher } from './store/cipher.ts'
import type { Database } from './store/database.ts'
import { createEnvStore } from './store/env.ts'
import { createEventStore } from './store/events.ts'
import { createExecutionStore } from './store/executions.ts'
import { createHookStore } from './store/hooks.ts'
import { createIdPairStore } from './store/id-pairs.ts'
import { createQueue } from './store/queue.ts'
import { createStateStore } from './store/state.ts'
import { createTargetStore } from './store/targets.ts'
import { createTokenStore } from './store/tokens.ts'

const LEASE_MS = 15_000
/** What one hook may take of the runs in flight, so that a slow one leaves room for the others. */
const HOOK_SHARE = 0.75

/** The runtime's own tables. */
export type Stores = ReturnType<typeof openStores>

export const openStores = (db: Database, config: Config) => {
  const cipher = createCipher(config.secretKey ?? keptKey(config.dataDir))
  return {
    cipher,
    state: createStateStore(db),
    hooks: createHookStore(db),
    env: createEnvStore(db, cipher),
    tokens: createTokenStore(db),
    events: createEventStore(db),
    executions: createExecutionStore(db),
    audit: createAuditStore(db),
    targets: createTargetStore(db)
  }
}

interface EngineNeeds {
  db: Database
  shop: ShopDatabase
  stores: Stores
  logger: Logger
  /** Private addresses of our own that scripts may reach: the demo's partners. */
  ownHosts: string[]
}

/** Everything between an accepted event and its settled execution. */
export function startEngine(config: Config, { db, shop, stores, logger, ownHosts }: EngineNeeds, onClose: OnClose) {
  const { executions, events, hooks, env } = stores
  const limits = {
    ...config.limits.defaults,
    concurrency: Math.max(1, Math.floor(config.runners * config.concurrency * HOOK_SHARE))
  }
  const fleet = createFleet({ runners: config.runners, concurrency: config.concurrency, logger })
  onClose(() => fleet.close())
  const http = createHttpClient({ guard: openGuard(config, ownHosts) })
  onClose(() => http.close())

  const registry = createRegistry(hooks)
  const queue = createQueue(db, uuid(), LEASE_MS)
  const metricRegistry = new MetricRegistry()
  collectDefaultMetrics({ register: metricRegistry })
  const live = () => {
    const { up, wanted } = fleet.health
    return { ...dispatcher.load, inFlight: fleet.inFlight, runnersUp: up, runnersWanted: wanted }
  }
  const metrics = createMetrics({
    ...{ registry: metricRegistry, load: live, missing: () => watch.monitor.missingCount },
    ...{ backlog: () => executions.backlog(), breakers: () => targets.breakers(), targets: () => targets.report() }
  })

  const work = new EventEmitter<{ due: [] }>()
  const accept = createAccept({
    ...{ db, registry, onAccepted: () => work.emit('due'), onCounted: metrics.accepted },
    merchantOf: merchantLookup(config.catalog, shop, (error, event) =>
      logger.warn({ err: error, event: event.id }, 'The merchant of an event could not be found')
    )
  })
  const feeds = { db, shop, accept, lost: metrics.lost, alone: isEmbedded(config.databaseUrl), logger }
  const interpret = createInterpret({ map: createTopicMap(config.topics), pairs: createIdPairStore(db), registry })
  const watch = openMonitor(config, { ...feeds, interpret }, onClose)
  const publisher = openPublisher(config, logger, onClose)
  const announce = createAnnounce({ accept, publisher: sendOrRefuse(publisher) })
  const targets = createTargets({
    targets: config.targets,
    breaker: config.limits.breaker,
    store: stores.targets
  })
  const runAttempt = createRunAttempt({
    ...{ fleet, shop, http, targets, env, journal: queue, limits, announce },
    access: createAccess(createTables(config.tables))
  })
  const dispatcher = createDispatcher({
    ...{ queue, registry, fleet, runAttempt, limits, retry: config.limits.retry, leaseMs: LEASE_MS, logger },
    ...{ alone: isEmbedded(config.databaseUrl), onSettled: metrics.settled }
  })
  work.on('due', dispatcher.nudge)

  const { noteReceived } = watch.monitor
  const mqNeeds = { db, accept, interpret, publisher, noteReceived, onRead: metrics.read, logger }
  const messages = startMessages(config, mqNeeds, onClose)
  const retention = startRetention({
    ...{ days: config.limits.retentionDays, logger },
    purges: [
      ...[executions, events].map(store => (time: number) => store.purge(time, 500)),
      time => purgeEffects(shop, time),
      ...feedPurges(feeds),
      ...messages.purges
    ]
  })
  onClose(retention.stop)
  const { checks } = startFeeds(config, feeds, onClose)
  return {
    ...{ fleet, registry, accept, runAttempt, dispatcher, live, metricRegistry, lost: metrics.lost, ...watch },
    ...{ targets, concurrency: limits.concurrency },
    ...{ checks: { ...checks, ...messages.checks }, deadMessages: messages.deadMessages }
  }
}
