import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeSqlite, type TestDatabase } from '../support/databases.ts'
import { startRabbitmq, type TestBroker } from '../support/rabbitmq.ts'
import { eventually, type SandhookProcess } from '../support/sandhook.ts'
import { addHook, type Client, isReady, type Notes, openClient, openNotes, startNode } from './setup.ts'

const broker = await startRabbitmq()
const NAME = broker ? 'RabbitMQ' : 'RabbitMQ (skipped: it is not here, and no TEST_AMQP_URL)'
const INBOX = 'test.inbox'

describe.skipIf(!broker)(`messages to ${NAME}`, () => {
  const { url, ctl, restart, kill, stop } = broker as TestBroker
  let database: TestDatabase
  let notes: Notes
  let node: SandhookProcess
  let client: Client

  beforeAll(async () => {
    database = await makeSqlite()
    notes = await openNotes(database)
    node = await startNode({ DATABASE_URL: database.url, AMQP_URL: url })
    client = await openClient(url)
    await client.channel.assertQueue(INBOX, { durable: true })
    await client.channel.bindQueue(INBOX, 'amq.topic', 'test.#')
  })
  afterAll(async () => {
    await client.close()
    await node.end('SIGKILL')
    await stop()
    await notes.close()
    await database.drop()
  })

  const raise = async (eventKey: string, payload: string) =>
    expect((await node.call('POST', '/events', { eventKey, payload })).status).toBe(202)
  const received = () => eventually(async () => (await client.get(INBOX)) ?? undefined)
  /** Messages come at least once: earlier ones may come again. */
  const receivedAs = (topic: string) => eventually(async () => (await received()).fields.routingKey === topic)
  const executionOf = async (hook: string) =>
    (await node.call('GET', `/admin/v1/executions?hook=${hook}`)).body.items[0]

  const PUBLISH = `
    db.insert('INSERT INTO mq_notes (order_no, seq) VALUES (?, 1)', payload.event.payload)
    mq.publish('test.' + payload.event.payload, { orderCode: payload.event.payload }, { headers: { from: 'test' } })
  `

  test('are persistent, confirmed, and known by the execution', async () => {
    await addHook(node, '/custom/publish', ['PUBLISH'], PUBLISH)
    await raise('PUBLISH', 'one')
    const message = await received()
    const { id } = await executionOf('/custom/publish')
    expect(JSON.parse(message.content.toString())).toEqual({ orderCode: 'one' })
    expect(message.fields.routingKey).toBe('test.one')
    expect(message.properties).toMatchObject({
      ...{ messageId: `${id}:1`, deliveryMode: 2, contentType: 'application/json', headers: { from: 'test' } }
    })
    await eventually(async () => (await executionOf('/custom/publish')).status === 'succeeded')
  })

  test('of a run that fails are not sent', async () => {
    await addHook(node, '/custom/fail', ['FAIL'], `mq.publish('test.fail', {}); throw new Error('no')`)
    await raise('FAIL', 'x')
    await eventually(async () => (await executionOf('/custom/fail')).status === 'retrying')
    await raise('PUBLISH', 'after')
    expect((await received()).fields.routingKey).toBe('test.after')
  })

  test('to an exchange that there is not end as a failure that says so, and stop nobody else', async () => {
    const script = `mq.publish('test.x', {}, { exchange: 'no.such' })`
    await addHook(node, '/custom/astray', ['ASTRAY'], script)
    await raise('ASTRAY', 'x')
    const failed = await eventually(async () => {
      const execution = await executionOf('/custom/astray')
      return execution.status === 'retrying' && execution
    })
    expect(failed.error).toMatchObject({ code: 'ARGUMENT_INVALID', message: expect.stringContaining('no.such') })
    await raise('PUBLISH', 'besides')
    expect((await received()).fields.routingKey).toBe('test.besides')
  })

  test.skipIf(!ctl)('wait for the end of a memory alarm', async () => {
    await client.publish('test.warm', {})
    await received()
    ctl?.('set_vm_memory_high_watermark', '0')
    await raise('PUBLISH', 'alarm')
    await eventually(async () => (await node.call('GET', '/readyz')).body.checks.broker.ok === false)
    expect(node.output()).toContain('the broker takes no messages now')
    ctl?.('set_vm_memory_high_watermark', '0.4')
    client = await openClient(url)
    await receivedAs('test.alarm')
    await eventually(async () => (await executionOf('/custom/publish')).status === 'succeeded')
    expect((await notes.byOrder()).get('alarm')).toEqual([1])
    await isReady(node)
  })

  test.skipIf(!restart)('wait for a broker that is down; what the run wrote is written once', async () => {
    await kill?.()
    await raise('PUBLISH', 'down')
    const waiting = await eventually(async () => {
      const execution = await executionOf('/custom/publish')
      return execution.error?.code === 'BROKER_UNAVAILABLE' && execution
    })
    expect(waiting.attempts).toBe(0)
    await restart?.()
    client = await openClient(url)
    await receivedAs('test.down')
    await eventually(async () => (await executionOf('/custom/publish')).status === 'succeeded')
    expect((await notes.byOrder()).get('down')).toEqual([1])
  })
})

test('without a broker a message ends as a failure that names the setting', async () => {
  const database = await makeSqlite()
  const node = await startNode({ DATABASE_URL: database.url })
  try {
    await addHook(node, '/custom/publish', ['PUBLISH'], `mq.publish('test.x', {})`)
    await node.call('POST', '/events', { eventKey: 'PUBLISH', payload: 'x' })
    const failed = await eventually(async () => {
      const [execution] = (await node.call('GET', '/admin/v1/executions')).body.items
      return execution?.error && execution
    })
    expect(failed.error.message).toContain('Set AMQP_URL')
  } finally {
    await node.end('SIGKILL')
    await database.drop()
  }
})
