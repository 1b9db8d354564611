/**
 * Builds each room once, listens, and closes in reverse order: the only place that knows everyone.
 */
import { randomBytes } from 'node:crypto'
import { EventEmitter, once } from 'node:events'
import { createServer as createNetServer } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { type Logger, pino } from 'pino'
import { collectDefaultMetrics, Registry as MetricRegistry } from 'prom-client'
import { v7 as uuid } from 'uuid'
import { createAuth } from './admin/auth.ts'
import { registerAdmin } from './admin/routes.ts'
import { createServer } from './admin/server.ts'
import { type DeadMessages, openPublisher, sendOrRefuse, startMessages } from './amqp.ts'
import { type Config, isEmbedded, readConfig } from './config.ts'
import { installDemoEnv } from './demo/install.ts'
import { partnerRoutes } from './demo/partners.ts'
import { RuntimeError } from './errors.ts'
import { type Accept, createAccept, merchantLookup } from './events/accept.ts'
import { createAnnounce } from './events/announce.ts'
import { createRunAttempt, type RunAttempt } from './events/attempt.ts'
import { publishBuiltins } from './events/builtin-hooks.ts'
import { createDispatcher } from './events/dispatcher.ts'
import { callRoutes } from './events/ingress-call.ts'
import { eventRoutes } from './events/ingress-http.ts'
import { reportRoutes } from './events/ingress-monitor.ts'
import { createInterpret } from './events/message-events.ts'
import { createMetrics, type Metrics } from './events/metrics.ts'
import { createRegistry, type Registry } from './events/registry.ts'
import { startRetention } from './events/retention.ts'
import { keyMatches } from './events/router.ts'
import { createTopicMap } from './events/topic-map.ts'
import { feedPurges, openMonitor, startFeeds } from './feeds.ts'
import { purgeEffects } from './host/effects.ts'
import { createHttpClient } from './host/http-client.ts'
import type { ShopDatabase } from './host/shop.ts'
import { createTargets } from './host/targets.ts'
import { createFleet, type Fleet } from './runner/fleet.ts'
import { keptKey, proveKey } from './secret-key.ts'
import { type OnClose, openGuard, openShop, openStore, prepareShop, refusedAddress } from './startup.ts'
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

/** A Sandhook that runs. */
export interface Sandhook {
  /** `http://127.0.0.1:8080` */
  url: string
  /** The admin token made at the first start; null: it was given, or made before. */
  madeToken: string | null
  demo: boolean
  /** Drains and stops; within ten seconds. */
  close: () => Promise<void>
}

const LEASE_MS = 15_000
const DRAIN_MS = 7_000
const CLOSE_MS = 9_500
/** What one hook may take of the runs in flight, so that a slow one leaves room for the others. */
const HOOK_SHARE = 0.75

/** Starts everything in order; a wrong setting or a database that refuses us throws before anything listens. */
export async function startSandhook(config: Config, logger: Logger): Promise<Sandhook> {
  const closers: (() => unknown)[] = []
  const closeAll = async () => {
    for (const closer of closers.splice(0).reverse()) await closer()
  }
  // Connections to a server that says nothing are not worth more waiting: everything that matters is written, or runs again.
  const close = () => Promise.race([closeAll(), pause(CLOSE_MS, undefined, { ref: false })])
  try {
    return { ...(await build(config, logger, closer => void closers.push(closer))), close }
  } catch (error) {
    await close()
    throw refusedAddress(error, config)
  }
}

type Stores = ReturnType<typeof openStores>

const openStores = (db: Database, config: Config) => {
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

async function build(config: Config, logger: Logger, onClose: OnClose): Promise<Omit<Sandhook, 'close'>> {
  const db = await openStore(config, logger, onClose)
  const stores = openStores(db, config)
  await proveKey(stores.state, stores.cipher)
  const demo = await prepareShop(config, stores.state, logger)
  const shop = openShop(config)
  onClose(() => shop.close())
  await publishBuiltins(stores.hooks, config.builtinHooks)
  const madeToken = await stores.tokens.bootstrap(config.adminToken)

  const port = config.port || (await freePort(config.host))
  const partners = { url: `http://127.0.0.1:${port}/demo`, token: randomBytes(16).toString('hex') }
  if (demo) await installDemoEnv(stores.env, partners)

  const engine = startEngine(config, { db, shop, stores, logger, ownHosts: demo ? [`127.0.0.1:${port}`] : [] }, onClose)
  const { app, stopCalls } = await openDoors(config, { ...engine, shop, stores, logger })
  if (demo) await app.register(partnerRoutes({ token: partners.token }))
  await app.listen({ host: config.host, port })
  onClose(async () => {
    setTimeout(stopCalls, DRAIN_MS).unref()
    await Promise.all([app.close(), engine.dispatcher.stop(DRAIN_MS)])
  })
  engine.dispatcher.start()
  return { url: addressOf(config.host, port), madeToken, demo }
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
function startEngine(config: Config, { db, shop, stores, logger, ownHosts }: EngineNeeds, onClose: OnClose) {
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
  const metrics = createMetrics({ registry: metricRegistry, load: live, missing: () => watch.monitor.missingCount })

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
  const targets = createTargets({ targets: config.targets, store: stores.targets })
  const runAttempt = createRunAttempt({ fleet, shop, http, targets, env, journal: queue, limits, announce })
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
    ...{ checks: { ...checks, ...messages.checks }, deadMessages: messages.deadMessages }
  }
}

interface DoorNeeds extends ReturnType<typeof openMonitor> {
  deadMessages: DeadMessages
  checks: Record<string, () => Promise<void>>
  lost: Metrics['lost']
  fleet: Fleet
  registry: Registry
  accept: Accept
  runAttempt: RunAttempt
  dispatcher: { nudge: () => void }
  live: () => Record<string, number>
  metricRegistry: MetricRegistry
  shop: ShopDatabase
  stores: Stores
  logger: Logger
}

/** The HTTP server with everything that answers on it. `stopCalls` ends hooks that callers still wait for. */
async function openDoors(config: Config, needs: DoorNeeds): Promise<{ app: FastifyInstance; stopCalls: () => void }> {
  const { fleet, registry, accept, runAttempt, stores, shop, monitor, missingEvents } = needs
  const { authorize } = createAuth({ tokens: stores.tokens })
  const app = createServer({ logger: needs.logger })
  await registerAdmin(app, {
    ...stores,
    ...{ config, catalog: config.catalog, authorize, live: needs.live, metrics: needs.metricRegistry },
    ...{ nudge: needs.dispatcher.nudge, matches: keyMatches, check: fleet.check },
    knowsEvent: pattern => config.catalog.some(entry => keyMatches(pattern, entry.key)),
    ...{ monitor, missingEvents, deadMessages: needs.deadMessages },
    checks: {
      ...needs.checks,
      database: () => stores.state.ping(),
      shop: () => shop.ping(),
      runners: async () => {
        if (fleet.health.up === 0) throw new RuntimeError('RUNNER_LOST', 'No runner process is up.')
      }
    }
  })
  const stopping = new AbortController()
  const { record } = stores.executions
  await app.register(eventRoutes({ accept, authorize }))
  const onLost: Parameters<typeof reportRoutes>[0]['onLost'] = (count, reason) => needs.lost('report', count, reason)
  await app.register(reportRoutes({ report: monitor.report, authorize, open: config.monitorOpen, onLost }))
  await app.register(
    callRoutes({ registry, runAttempt, record, authorize, signal: stopping.signal, aliases: config.aliases })
  )
  return { app, stopCalls: () => stopping.abort() }
}

async function freePort(host: string): Promise<number> {
  const server = createNetServer().listen(0, host)
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  return port
}

const addressOf = (host: string, port: number): string =>
  `http://${host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host.includes(':') ? `[${host}]` : host}:${port}`

function banner({ url, madeToken, demo }: Sandhook): string {
  const lines = [
    `Sandhook listens at ${url}`,
    `  API documentation           ${url}/docs`,
    ...(demo ? [`  What the demo's partners got  ${url}/demo/received`] : []),
    ...(madeToken ? [`  Admin token (shown only now)  ${madeToken}`] : [])
  ]
  return `${lines.join('\n')}\n`
}

async function run(): Promise<void> {
  // Databases and keys hold what is nobody else's business on this machine.
  process.umask(0o077)
  const config = readConfig()
  const logger = pino({ level: config.logLevel }, pino.destination(2))
  const sandhook = await startSandhook(config, logger)
  process.stdout.write(banner(sandhook))
  let stopping = false
  const stop = (signal: string) => {
    if (stopping) process.exit(1)
    stopping = true
    logger.info(`${signal}: draining`)
    sandhook.close().then(
      () => process.exit(0),
      error => {
        logger.error({ err: error }, 'Stopping failed')
        process.exit(1)
      }
    )
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
}

if (import.meta.main)
  run().catch(error => {
    process.stderr.write(`${(error as Error).message ?? error}\n`)
    process.exit(1)
  })
