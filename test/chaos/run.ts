import { readFileSync } from 'node:fs'
import mysql, { type Connection } from 'mysql2/promise'
import { startMariadb } from '../support/mariadb.ts'
import { startRabbitmq } from '../support/rabbitmq.ts'
import { openBrokerClient } from './broker-client.ts'
import { type Node, startNode } from './cluster.ts'
import { type Kill, type Mortal, startMonkey, VICTIMS, type Victim } from './monkey.ts'
import { startPartner } from './partner.ts'
import { prove } from './proof.ts'
import { fillShop, installHooks, makeOrders, RUNS_PER_ORDER, rowsOf, STEPS } from './scenario.ts'
import { startSender } from './sender.ts'

export interface ChaosOptions {
  events: number
  /** What to kill. */
  plan: Victim[]
  seed: number
  nodes: number
  say: (text: string) => void
}

export interface ChaosReport {
  /** Empty: all is as it must be. */
  violations: string[]
  figures: Record<string, number>
  /** What the nodes have printed. */
  logs: string[]
}

/** Longer than a lease of 15 s and the look for lost ones every 5 s. */
const PAUSE_MS = 22_000
const PARALLEL = 32
/** Runs that may be due at once; and how long nothing at all may be done before something is stuck. */
const MAX_BEHIND = 2_000
const STUCK_MS = 120_000
const LOOK_MS = 150

/**
 * Has nodes on a real MariaDB and a real RabbitMQ work through orders' events while everything is killed in turn, and
 * proves what became of it. Rejects when the servers are not to be had.
 */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const closers: (() => unknown)[] = []
  try {
    return await unleash(options, closer => void closers.push(closer))
  } finally {
    for (const close of closers.reverse()) await close()
  }
}

type OnClose = (closer: () => unknown) => void

async function unleash(options: ChaosOptions, onClose: OnClose): Promise<ChaosReport> {
  const scene = await setScene(options, onClose)
  const { orders, nodes, partner, client, storeUrl, shopUrl } = scene
  const begun = Date.now()
  const { stuck, kills, refused } = await drive(options, scene, onClose)
  const seconds = Math.round((Date.now() - begun) / 1000)

  const store = await mysql.createConnection(storeUrl)
  const shop = await mysql.createConnection(shopUrl)
  onClose(() => Promise.all([store.end(), shop.end()]))
  const { violations, figures } = await prove({ orders, kills, partner, notes: client.notes, store, shop })
  const orphans = nodes.flatMap(node => node.orphans()).map(pid => `runner ${pid} has outlived its node`)
  return {
    violations: [...stuck, ...violations, ...orphans],
    figures: {
      ...{ seed: options.seed, events: orders.length * STEPS.length, orders: orders.length, nodes: nodes.length },
      ...{ seconds, ...killFigures(kills), 'events refused and sent again': refused, ...figures }
    },
    logs: nodes.map(node => node.output())
  }
}

/** Servers, nodes, a shop full of orders, the hooks, the partner, and the shop's own client at the broker. */
async function setScene({ events, seed, nodes: count }: ChaosOptions, onClose: OnClose) {
  const orders = makeOrders(Math.ceil(events / STEPS.length), seed)
  const { database, broker, storeUrl, shopUrl } = await startServers(onClose)
  const partner = await startPartner(seed)
  onClose(partner.close)
  const nodes = await startNodes(count, { storeUrl, shopUrl, brokerUrl: broker.url }, onClose)
  const shop = await mysql.createConnection(shopUrl)
  await shop.query(readFileSync(new URL('../../sql/shop/outbox.sql', import.meta.url), 'utf8').split(/;\s*$/m)[0] ?? '')
  await fillShop(shop, orders)
  await shop.end()
  const [first] = nodes
  if (first?.process) await installHooks(first.process, partner.url)
  const client = await openBrokerClient(broker.url)
  onClose(client.close)
  return { orders, database, broker, storeUrl, shopUrl, partner, nodes, client }
}

/** Sends and kills until all is sent, killed and settled, or stuck. */
async function drive(
  { plan, seed, say }: ChaosOptions,
  { orders, nodes, database, broker, client, storeUrl, shopUrl }: Awaited<ReturnType<typeof setScene>>,
  onClose: OnClose
) {
  const total = orders.length * RUNS_PER_ORDER
  const watch = watchRuns(shopUrl)
  onClose(watch.stop)
  const progress = () => watch.done() / total
  const monkey = startMonkey({ plan, seed, nodes, database, broker, progress, pauseMs: PAUSE_MS, say })
  const sender = startSender({
    ...{ orders, nodes, broker: client, shopUrl, parallel: PARALLEL },
    room: accepted =>
      until(() => {
        const due = (accepted / STEPS.length) * RUNS_PER_ORDER
        // Not much further ahead of the kills than of the runs: the last kill is to meet as much work as the first.
        return due - watch.done() < MAX_BEHIND && due / total <= (monkey.kills.length + 2) / (plan.length + 1)
      })
  })
  const stuck = await waitForEnd([sender.done, monkey.done], () => watch.settled(storeUrl, total), watch.done, say)
  return { stuck, kills: monkey.kills, refused: sender.repeated }
}

async function startServers(onClose: OnClose) {
  const database = await startMariadb()
  if (database) onClose(database.stop)
  const broker = await startRabbitmq()
  if (broker) onClose(broker.stop)
  if (!database?.kill || !broker?.kill) throw new Error('Chaos needs a MariaDB and a RabbitMQ of its own to kill')
  const admin = await mysql.createConnection(database.adminUrl)
  for (const name of ['sandhook', 'shop']) await admin.query(`CREATE DATABASE ${name} CHARACTER SET utf8mb4`)
  await admin.end()
  return {
    database: database as typeof database & Mortal,
    broker: broker as typeof broker & Mortal,
    storeUrl: database.url('sandhook'),
    shopUrl: database.url('shop')
  }
}

async function startNodes(
  count: number,
  { storeUrl, shopUrl, brokerUrl }: Record<'storeUrl' | 'shopUrl' | 'brokerUrl', string>,
  onClose: OnClose
): Promise<Node[]> {
  const env = {
    ...{ DATABASE_URL: storeUrl, SHOP_DATABASE_URL: shopUrl, AMQP_URL: brokerUrl },
    ...{ SANDHOOK_DEMO: 'on', SANDHOOK_RUNNERS: '1', SANDHOOK_CONCURRENCY: '32', SANDHOOK_SECRET_KEY: '0'.repeat(64) },
    SANDHOOK_HTTP_ALLOW: '127.0.0.1'
  }
  const nodes: Node[] = []
  for (let i = 1; i <= count; i++) {
    const node = await startNode(`node ${i}`, env)
    onClose(node.stop)
    nodes.push(node)
  }
  return nodes
}

/** Looks into the databases past everything; while they are down, what was last seen stands. */
function watchRuns(shopUrl: string) {
  let runs = 0
  const count = async (url: string, sql: string): Promise<number | null> => {
    let connection: Connection | undefined
    try {
      connection = await mysql.createConnection({ uri: url, connectTimeout: 2_000 })
      return Number((await rowsOf<{ n: number }>(connection, sql))[0]?.n)
    } catch {
      return null
    } finally {
      connection?.destroy()
    }
  }
  let stopped = false
  const watching = (async () => {
    while (!stopped) {
      runs = (await count(shopUrl, 'SELECT COUNT(*) AS n FROM chaos_runs')) ?? runs
      await rest(LOOK_MS)
    }
  })()
  return {
    done: () => runs,
    settled: async (storeUrl: string, total: number) =>
      (await count(
        storeUrl,
        "SELECT COUNT(*) AS n FROM sandhook_executions WHERE status IN ('succeeded', 'dead') AND hook_path LIKE '/custom/chaos/%'"
      )) === total,
    async stop() {
      stopped = true
      await watching
    }
  }
}

/** Waits until all is sent, killed and settled; answers what is stuck when nothing has been done for too long. */
async function waitForEnd(
  work: Promise<void>[],
  settled: () => Promise<boolean>,
  done: () => number,
  say: (text: string) => void
): Promise<string[]> {
  let over = false
  void Promise.all(work).then(() => {
    over = true
  })
  let last = { runs: -1, at: Date.now() }
  let said = Date.now()
  for (;;) {
    if (over && (await settled())) return []
    if (done() !== last.runs) last = { runs: done(), at: Date.now() }
    if (Date.now() - last.at > STUCK_MS) return [`stuck: ${last.runs} runs done, and none for ${STUCK_MS / 1000} s`]
    if (Date.now() - said > 5_000) {
      said = Date.now()
      say(`${last.runs} runs done`)
    }
    await rest(LOOK_MS)
  }
}

const killFigures = (kills: Kill[]): Record<string, number> => ({
  kills: kills.length,
  ...Object.fromEntries(VICTIMS.map(name => [`kills of ${name}`, kills.filter(({ victim }) => victim === name).length]))
})

const rest = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

async function until(so: () => boolean): Promise<void> {
  while (!so()) await rest(LOOK_MS)
}
