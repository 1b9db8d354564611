import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest'
import { engines, type TestDatabase } from '../support/databases.ts'
import { startProxy } from '../support/proxy.ts'
import { startRabbitmq, type TestBroker } from '../support/rabbitmq.ts'
import { eventually, type SandhookProcess } from '../support/sandhook.ts'
import { addNoteHook, audited, type Client, type Notes, openClient, openNotes, startNode } from './setup.ts'

const mysql = engines.find(({ engine }) => engine === 'mysql')
const broker = mysql?.missing ? null : await startRabbitmq()
const NAME = broker ? 'RabbitMQ and MySQL' : 'RabbitMQ and MySQL (skipped: one of them is not here)'

const ORDERS = 40
const PER_ORDER = 50
const MESSAGES = ORDERS * PER_ORDER

describe.skipIf(!broker)(`three nodes with ${NAME}`, () => {
  const { url, stop } = broker as TestBroker
  let database: TestDatabase
  let notes: Notes
  let nodes: SandhookProcess[]
  let client: Client

  beforeEach(async () => {
    database = await (mysql as NonNullable<typeof mysql>).make()
    notes = await openNotes(database)
    client = await openClient(url)
  })
  afterEach(async () => {
    await Promise.all(nodes.map(node => node.end('SIGKILL')))
    await client.channel.deleteQueue('sandhook.events')
    await client.close()
    await notes.close()
    await database.drop()
  })
  afterAll(stop)

  async function startNodes(env: Record<string, string>): Promise<void> {
    const all = { DATABASE_URL: database.url, AMQP_URL: url, SANDHOOK_SECRET_KEY: '0'.repeat(64), ...env }
    nodes = [await startNode(all)]
    nodes.push(...(await Promise.all([startNode(all), startNode(all)])))
    await addNoteHook(nodes[0] as SandhookProcess)
  }
  const send = (from: number, to: number) =>
    Promise.all(
      Array.from({ length: to - from }, (_, i) => {
        const n = from + i
        return client.publish('order.erpstatus', audited(n % ORDERS, Math.floor(n / ORDERS)))
      })
    )
  /** How many messages each node has taken. */
  const taken = () =>
    Promise.all(
      nodes.map(async node => {
        const { body } = await node.call('GET', '/metrics')
        return Number(/sandhook_messages_total\{outcome="taken"\} (\d+)/.exec(body)?.[1] ?? 0)
      })
    )
  async function expectExact(): Promise<void> {
    await eventually(async () => (await notes.count()) >= MESSAGES, 100_000)
    const inOrder = Array.from({ length: PER_ORDER }, (_, seq) => seq)
    const found = await notes.byOrder()
    expect(found.size).toBe(ORDERS)
    for (const [order, seqs] of found) expect([order, seqs]).toEqual([order, inOrder])
  }

  test("keep each order's messages in their order when the one that reads is killed", async () => {
    await startNodes({})
    await send(0, MESSAGES / 2)
    const reader = await eventually(async () => {
      const counts = await taken()
      return nodes[counts.findIndex(count => count > 0)]
    })
    nodes.splice(nodes.indexOf(reader), 1)
    await reader.end('SIGKILL')
    await send(MESSAGES / 2, MESSAGES)
    await expectExact()
    expect((await taken()).filter(count => count > 0)).toHaveLength(1)
  }, 120_000)

  test('wait for a database that is away, and lose nothing', async () => {
    const proxy = await startProxy(database.url)
    await startNodes({ DATABASE_URL: proxy.through(database.url) })
    await send(0, 600)
    await eventually(async () => (await notes.count()) >= 50)
    await proxy.set('refuse')
    await send(600, MESSAGES)
    const answer = await eventually(async () => {
      const { body } = await (nodes[0] as SandhookProcess).call('GET', '/readyz')
      return body.checks.database.ok === false && body
    })
    expect(answer.checks.broker).toEqual({ ok: true })
    await new Promise(resolve => setTimeout(resolve, 3_000))
    await proxy.set('pass')
    await expectExact()
    const { body } = await (nodes[0] as SandhookProcess).call('GET', '/admin/v1/messages/dead')
    expect(body.items).toEqual([])
    await proxy.close()
  }, 120_000)

  test("share four partitions, and keep each order's messages in their order when one is killed", async () => {
    await startNodes({ AMQP_PARTITIONS: '4' })
    await send(0, 400)
    // The node that came first gives partitions back until each has its share.
    await eventually(async () => {
      await client.publish('order.submit', { orderCode: `warm-${Math.random()}` })
      return (await taken()).every(count => count > 0)
    })
    await send(400, MESSAGES / 2)
    await nodes.shift()?.end('SIGKILL')
    await send(MESSAGES / 2, MESSAGES)
    await expectExact()
  }, 120_000)
})
