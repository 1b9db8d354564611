import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Database, openDatabase } from '../../runtime/store/database.ts'
import { makeSqlite, type TestDatabase } from '../support/databases.ts'
import { startRabbitmq, type TestBroker } from '../support/rabbitmq.ts'
import { eventually, type SandhookProcess } from '../support/sandhook.ts'
import { addNoteHook, audited, type Client, isReady, type Notes, openClient, openNotes, startNode } from './setup.ts'

const given = await startRabbitmq()
const NAME = given?.kill ? 'RabbitMQ' : 'RabbitMQ (skipped: there is none here that may be killed)'

const MESSAGES = 5_000
const ORDERS = 50
const PER_ORDER = MESSAGES / ORDERS

describe.skipIf(!given?.kill)(`5 000 messages of ${NAME}`, () => {
  const broker = given as TestBroker & { kill: () => Promise<void>; restart: () => Promise<void> }
  let database: TestDatabase
  let notes: Notes
  let node: SandhookProcess
  let store: Database

  const start = async () => {
    node = await startNode({ DATABASE_URL: database.url, AMQP_URL: broker.url })
  }
  beforeEach(async () => {
    await broker.restart()
    database = await makeSqlite()
    notes = await openNotes(database)
    store = openDatabase(database.url)
    await start()
    await addNoteHook(node)
  })
  afterEach(async () => {
    await node.end('SIGKILL')
    await notes.close()
    await store.destroy()
    await database.drop()
    await broker.kill()
  })

  afterAll(() => broker.stop())

  const accepted = async () => {
    const [row] = await store('sandhook_events').count('* as n')
    return Number(row?.n)
  }
  const allDone = () => eventually(async () => (await notes.count()) >= MESSAGES, 200_000)
  /** Nothing lost, nothing twice, and each order's messages in the order in which they were sent. */
  async function expectExact(): Promise<void> {
    const inOrder = Array.from({ length: PER_ORDER }, (_, seq) => seq)
    const found = await notes.byOrder()
    expect(found.size).toBe(ORDERS)
    for (const [order, seqs] of found) expect([order, seqs]).toEqual([order, inOrder])
  }

  test('none lost, none twice, all in order when the broker is killed and comes back in the middle', async () => {
    let sent = 0
    let client: Client = await openClient(broker.url)
    /** A sender that goes on where the broker last confirmed; what it repeats has the same id. */
    const send = async () => {
      while (sent < MESSAGES) {
        const batch = Array.from({ length: Math.min(100, MESSAGES - sent) }, (_, i) => sent + i)
        const publish = (n: number) =>
          client.publish('order.erpstatus', audited(n % ORDERS, Math.floor(n / ORDERS)), { messageId: `m-${n}` })
        try {
          await Promise.all(batch.map(publish))
          sent += batch.length
        } catch {
          client = await eventually(() => openClient(broker.url).catch(() => undefined))
        }
      }
    }
    const sending = send()
    await eventually(async () => sent >= 600 && (await notes.count()) >= 200)
    await broker.restart()
    await sending
    await allDone()
    await expectExact()
    await isReady(node)
    await client.close()
  }, 240_000)

  test('none lost, none twice, all in order when the node is killed four times while they come', async () => {
    const client = await openClient(broker.url)
    const publish = (n: number) => client.publish('order.erpstatus', audited(n % ORDERS, Math.floor(n / ORDERS)))
    for (const part of [0, 1, 2, 3]) {
      const from = (MESSAGES / 4) * part
      const sending = Promise.all(Array.from({ length: MESSAGES / 4 }, (_, i) => publish(from + i)))
      // Some are accepted and acknowledged, some one or neither.
      await eventually(async () => (await accepted()) > from)
      await node.end('SIGKILL')
      await sending
      await start()
    }
    await allDone()
    await expectExact()
    await client.close()
  }, 240_000)
})
