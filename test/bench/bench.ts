/**
 * `npm run bench`: speed as ratios taken in one run, because machines differ and drift. It measures whole processes from
 * outside: the events' way in over HTTP, durable queue, sandbox, database, partner, and the way into the history.
 *
 * It does not measure: the network between machines, a MySQL server with its own cores, many hooks per event, long
 * histories. Client, partner, database and Sandhook share this machine's cores.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import mysql, { type RowDataPacket } from 'mysql2/promise'
import { installServers } from '../support/packages.ts'
import { eventually, type SandhookProcess, startSandhookProcess } from '../support/sandhook.ts'
import { startDatabase } from './database.ts'
import { file, makeHook, median, memoryOf, ROUNDS, say, span, startErp, succeeded, watchingMemory } from './measure.ts'

const BATCH = 1_000

/** Sends events in arrays of 200 and waits until the last of them is settled; answers seconds. */
async function drive(sandhook: SandhookProcess, eventKey: string, payloads: string[]): Promise<number> {
  const before = await succeeded(sandhook)
  const started = performance.now()
  for (let from = 0; from < payloads.length; from += 200) {
    const events = payloads
      .slice(from, from + 200)
      .map((payload, i) => ({ eventKey, payload, key: `${payload}-${from + i}` }))
    const { status } = await sandhook.call('POST', '/events', events)
    if (status !== 202) throw new Error(`POST /events answered ${status}`)
  }
  await eventually(async () => (await succeeded(sandhook)) - before >= payloads.length, 300_000)
  return (performance.now() - started) / 1000
}

async function compareOrderSync(sandhook: SandhookProcess, databaseUrl: string, erpUrl: string): Promise<void> {
  const connection = await mysql.createConnection(databaseUrl)
  const [rows] = await connection.query<RowDataPacket[]>('SELECT order_id FROM eb_store_order')
  await connection.end()
  const orders = Array.from({ length: BATCH }, (_, i) => String(rows[i % rows.length]?.order_id))
  const plain = fork(file('plain-handler.ts'), [databaseUrl, erpUrl])
  const driven: number[] = []
  const byHand: number[] = []
  for (let round = -1; round < ROUNDS; round++) {
    plain.send({ orders, concurrency: 128 })
    const [{ seconds }] = (await once(plain, 'message')) as [{ seconds: number }]
    const ours = await drive(sandhook, 'BENCH_SYNC', orders)
    if (round < 0) continue
    byHand.push(BATCH / seconds)
    driven.push(BATCH / ours)
  }
  plain.kill()
  say(`order-sync hook (3 selects, 1 POST, 1 update), ${BATCH} events a round, ${ROUNDS} rounds, median (least–most):`)
  say(`  plain Node handler      ${span(byHand, 0)} per second`)
  say(`  Sandhook                ${span(driven, 0)} per second`)
  say(`  ratio Sandhook / plain  ${span(driven.map((value, i) => value / (byHand[i] ?? 1)))}`)
}

async function emptyHook(sandhook: SandhookProcess): Promise<void> {
  const payloads = Array.from({ length: 2 * BATCH }, (_, i) => `empty-${i}`)
  const rates: number[] = []
  for (let round = -1; round < ROUNDS; round++) {
    const seconds = await drive(sandhook, 'BENCH_EMPTY', payloads)
    if (round >= 0) rates.push(payloads.length / seconds)
  }
  say(
    `empty hook: ${span(rates, 0)} per second, ${(1000 / median(rates)).toFixed(2)} ms each of this machine's whole time`
  )
}

async function waitingRuns(sandhook: SandhookProcess): Promise<void> {
  const before = memoryOf(sandhook)
  let seconds = 0
  const most = await watchingMemory(sandhook, async () => {
    seconds = await drive(
      sandhook,
      'BENCH_WAIT',
      Array.from({ length: 1_000 }, (_, i) => `wait-${i}`)
    )
  })
  say(
    `1 000 runs that each wait 1 s for their ERP: settled after ${seconds.toFixed(1)} s; memory ${before} MB → ${most} MB`
  )
}

installServers()
const database = await startDatabase('bench')
const [erp, slowErp] = await Promise.all([startErp(0), startErp(1_000)])
/** The product as it comes, and one that is set to have a thousand runs in flight. */
const start = (env: Record<string, string>) =>
  startSandhookProcess({ DATABASE_URL: database.url, SANDHOOK_DEMO: 'on', SANDHOOK_HTTP_ALLOW: '127.0.0.1', ...env })
let sandhook = await start({})
try {
  await sandhook.call('PUT', '/admin/v1/env/BENCH_ERP', { value: erp.url, secret: false })
  await sandhook.call('PUT', '/admin/v1/env/BENCH_SLOW', { value: slowErp.url, secret: false })
  await makeHook(sandhook, '/custom/bench/sync', 'BENCH_SYNC', readFileSync(file('order-sync.js'), 'utf8'))
  await makeHook(sandhook, '/custom/bench/empty', 'BENCH_EMPTY', 'return { success: true }')
  await makeHook(sandhook, '/custom/bench/wait', 'BENCH_WAIT', "http.post(env.get('BENCH_SLOW') + '/x', { body: {} })")
  await compareOrderSync(sandhook, database.url, erp.url)
  await emptyHook(sandhook)
  await sandhook.end('SIGTERM')
  sandhook = await start({ SANDHOOK_CONCURRENCY: '700' })
  await waitingRuns(sandhook)
} catch (error) {
  say(sandhook.output().slice(-4000))
  throw error
} finally {
  await sandhook.end('SIGTERM')
  erp.stop()
  slowErp.stop()
  await database.stop()
}
