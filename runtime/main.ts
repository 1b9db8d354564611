/**
 * Builds each room once, listens, and closes in reverse order: the only place that knows everyone.
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer as createNetServer } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { type Logger, pino } from 'pino'
import type { Registry as MetricRegistry } from 'prom-client'
import { createAuth } from './admin/auth.ts'
import { createCounts } from './admin/rates.ts'
import { registerAdmin } from './admin/routes.ts'
import { createServer } from './admin/server.ts'
import type { DeadMessages } from './amqp.ts'
import { type Config, readConfig } from './config.ts'
import { installDemoEnv } from './demo/install.ts'
import { partnerRoutes } from './demo/partners.ts'
import { openStores, type Stores, startEngine } from './engine.ts'
import { RuntimeError } from './errors.ts'
import type { Accept } from './events/accept.ts'
import type { RunAttempt } from './events/attempt.ts'
import { publishBuiltins } from './events/builtin-hooks.ts'
import { callRoutes } from './events/ingress-call.ts'
import { eventRoutes } from './events/ingress-http.ts'
import { reportRoutes } from './events/ingress-monitor.ts'
import type { Metrics } from './events/metrics.ts'
import type { Registry } from './events/registry.ts'
import { keyMatches } from './events/router.ts'
import type { openMonitor } from './feeds.ts'
import { visible } from './host/mask.ts'
import type { ShopDatabase } from './host/shop.ts'
import type { createTargets } from './host/targets.ts'
import type { Fleet } from './runner/fleet.ts'
import { proveKey } from './secret-key.ts'
import { type OnClose, openShop, openStore, prepareShop, refusedAddress } from './startup.ts'

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

const DRAIN_MS = 7_000
const CLOSE_MS = 9_500

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
  /** Calls of one hook at once. */
  concurrency: number
  targets: Pick<ReturnType<typeof createTargets>, 'breakers' | 'report'>
  metricRegistry: MetricRegistry
  shop: ShopDatabase
  stores: Stores
  logger: Logger
}

/** The HTTP server with everything that answers on it. `stopCalls` ends hooks that callers still wait for. */
async function openDoors(config: Config, needs: DoorNeeds): Promise<{ app: FastifyInstance; stopCalls: () => void }> {
  const { fleet, registry, accept, runAttempt, stores, shop, monitor, missingEvents } = needs
  const { callers } = config.limits
  const app = await createServer({ logger: needs.logger, callers, trustProxy: config.trustProxy })
  const { authorize, recognise } = createAuth({ tokens: stores.tokens, counts: createCounts(app, callers.rates) })
  await registerAdmin(app, {
    ...stores,
    ...{ config, catalog: config.catalog, authorize, live: needs.live, metrics: needs.metricRegistry },
    outside: needs.targets,
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
    callRoutes({
      ...{ registry, runAttempt, record, authorize, recognise, signal: stopping.signal, aliases: config.aliases },
      concurrency: needs.concurrency
    })
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
  const stderr = pino.destination(2)
  // Names and words of scripts get into the log: none may forge a line of it, or steer the terminal that shows it.
  const logger = pino({ level: config.logLevel }, { write: line => stderr.write(visible(line)) })
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
