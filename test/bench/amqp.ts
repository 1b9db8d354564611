/**
 * RabbitMQ end to end: published with confirms → the hook's work done → settled, as a ratio to a consumer written by hand
 * that does the same work with manual acks; then how long 20 000 waiting messages take.
 *
 * It does not measure: a broker with its own machine, several nodes, partitions. Everything shares this machine's cores.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import amqp from 'amqplib'
import mysql, { type RowDataPacket } from 'mysql2/promise'
import { installServers } from '../support/packages.ts'
import { startRabbitmq } from '../support/rabbitmq.ts'
import { eventually, type SandhookProcess, startSandhookProcess } from '../support/sandhook.ts'
import { startDatabase } from './database.ts'
import { file, makeHook, memoryOf, ROUNDS, say, span, startErp, succeeded, watchingMemory } from './measure.ts'

const BATCH = 1_000
const WAITING = 20_000
const HAND_QUEUE = 'bench.by-hand'

installServers()
const broker = await startRabbitmq()
if (!broker) throw new Error('The benchmark needs RabbitMQ: install rabbitmq-server, or set TEST_AMQP_URL')
const database = await startDatabase('bench_amqp')
const erp = await startErp(0)
const start = () =>
  startSandhookProcess({
    ...{ DATABASE_URL: database.url, SANDHOOK_DEMO: 'on', SANDHOOK_HTTP_ALLOW: '127.0.0.1', AMQP_URL: broker.url }
  })
const connection = await amqp.connect(broker.url)
const channel = await connection.createConfirmChannel()

/** Publishes payments of these orders and waits for the broker's confirms. */
async function publish(exchange: string, routingKey: string, orders: string[]): Promise<void> {
  for (const [i, orderCode] of orders.entries())
    channel.publish(exchange, routingKey, Buffer.from(JSON.stringify({ orderCode, serial: `${Date.now()}-${i}` })), {
      persistent: true,
      messageId: `${routingKey}-${performance.now()}-${i}`
    })
  await channel.waitForConfirms()
}

async function timed(work: () => Promise<void>): Promise<number> {
  const started = performance.now()
  await work()
  return (performance.now() - started) / 1000
}

async function throughSandhook(sandhook: SandhookProcess, orders: string[]): Promise<number> {
  const before = await succeeded(sandhook)
  return timed(async () => {
    await publish('amq.topic', 'order.payment', orders)
    await eventually(async () => (await succeeded(sandhook)) - before >= orders.length, 300_000)
  })
}

async function startByHand(
  brokerUrl: string
): Promise<{ through: (orders: string[]) => Promise<number>; stop: () => void }> {
  await channel.assertQueue(HAND_QUEUE, { durable: true, arguments: { 'x-queue-type': 'quorum' } })
  const child = fork(file('plain-consumer.ts'), [database.url, erp.url, brokerUrl, HAND_QUEUE])
  let done = 0
  child.on('message', (message: { done: number }) => {
    done = message.done
  })
  await once(child, 'message')
  return {
    stop: () => void child.kill(),
    through: orders => {
      const before = done
      return timed(async () => {
        await publish('', HAND_QUEUE, orders)
        await eventually(async () => done - before >= orders.length, 300_000)
      })
    }
  }
}

/** Only the benchmark's own hook hears of payments. */
async function prepare(sandhook: SandhookProcess): Promise<void> {
  const { body } = await sandhook.call('GET', '/admin/v1/hooks?limit=200')
  for (const hook of body.items as { id: string; events: string[] }[])
    if (hook.events.includes('ORDER_PAY_SUCCESS'))
      await sandhook.call('PATCH', `/admin/v1/hooks/${hook.id}`, { enabled: false })
  await sandhook.call('PUT', '/admin/v1/env/BENCH_ERP', { value: erp.url, secret: false })
  await makeHook(sandhook, '/custom/bench/sync', 'ORDER_PAY_SUCCESS', readFileSync(file('order-sync.js'), 'utf8'))
}

async function orderNumbers(): Promise<string[]> {
  const shop = await mysql.createConnection(database.url)
  const [rows] = await shop.query<RowDataPacket[]>('SELECT order_id FROM eb_store_order')
  await shop.end()
  return rows.map(row => String(row.order_id))
}

let sandhook = await start()
try {
  await prepare(sandhook)
  const known = await orderNumbers()
  const orders = (count: number) => Array.from({ length: count }, (_, i) => String(known[i % known.length]))
  const byHand = await startByHand(broker.url)
  const rates = { hand: [] as number[], ours: [] as number[] }
  for (let round = -1; round < ROUNDS; round++) {
    const hand = await byHand.through(orders(BATCH))
    const ours = await throughSandhook(sandhook, orders(BATCH))
    if (round < 0) continue
    rates.hand.push(BATCH / hand)
    rates.ours.push(BATCH / ours)
  }
  byHand.stop()
  say(`RabbitMQ to settled, order-sync hook, ${BATCH} messages a round, ${ROUNDS} rounds, median (least–most):`)
  say(`  consumer by hand        ${span(rates.hand, 0)} per second`)
  say(`  Sandhook                ${span(rates.ours, 0)} per second`)
  say(`  ratio Sandhook / hand   ${span(rates.ours.map((value, i) => value / (rates.hand[i] ?? 1)))}`)

  const before = await succeeded(sandhook)
  await sandhook.end('SIGTERM')
  await publish('amq.topic', 'order.payment', orders(WAITING))
  sandhook = await start()
  const idle = memoryOf(sandhook)
  let seconds = 0
  const most = await watchingMemory(sandhook, async () => {
    seconds = await timed(async () => {
      await eventually(async () => (await succeeded(sandhook)) - before >= WAITING, 600_000)
    })
  })
  say(
    `${WAITING} waiting messages: all settled ${seconds.toFixed(0)} s after the start; memory ${idle} MB → ${most} MB`
  )
} catch (error) {
  say(sandhook.output().slice(-4000))
  throw error
} finally {
  await sandhook.end('SIGTERM')
  await connection.close()
  erp.stop()
  await broker.stop()
  await database.stop()
}
