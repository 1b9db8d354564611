import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeSqlite, type TestDatabase } from '../support/databases.ts'
import { startRabbitmq, type TestBroker } from '../support/rabbitmq.ts'
import { eventually, type SandhookProcess } from '../support/sandhook.ts'
import { expected, samples } from './samples.ts'
import { addHook, type Client, isReady, openClient, publishByTool, startNode } from './setup.ts'

const broker = await startRabbitmq()
const NAME = broker ? 'RabbitMQ' : 'RabbitMQ (skipped: it is not here, and no TEST_AMQP_URL)'

describe.skipIf(!broker)(`messages of ${NAME}`, () => {
  const { url, ctl, stop } = broker as TestBroker
  let database: TestDatabase
  let node: SandhookProcess
  let client: Client

  beforeAll(async () => {
    database = await makeSqlite()
    node = await startNode({ DATABASE_URL: database.url, AMQP_URL: url })
    client = await openClient(url)
  })
  afterAll(async () => {
    await client.close()
    await node.end('SIGKILL')
    await stop()
    await database.drop()
  })

  // biome-ignore lint/suspicious/noExplicitAny: an answer of the API
  type Shown = any
  const events = async (query = ''): Promise<Shown[]> =>
    (await node.call('GET', `/admin/v1/events?limit=200${query}`)).body.items.toReversed()
  const eventsOf = (key: string, count: number) =>
    eventually(async () => {
      const found = await events(`&key=${key}`)
      return found.length >= count && found
    })
  const dead = async (topic: string): Promise<Shown[]> =>
    (await node.call('GET', `/admin/v1/messages/dead?topic=${topic}`)).body.items
  /** What comes after it has come when it has. */
  const settled = async () => {
    const key = `settled-${Math.random()}`
    await client.publish('order.submit', { orderCode: key })
    await eventsOf(key, 1)
  }

  test("the document's 29 samples, published by amqp-publish, are exactly these events", async () => {
    for (const { topic, text } of samples) publishByTool(url, topic, text)
    await settled()
    const found = (await events()).filter(({ payload }) => !String(payload).startsWith('settled'))
    // Events of one batch have no order in this list.
    const names = found.map(({ eventKey, payload }) => `${eventKey} ${payload}`)
    expect(names.sort()).toEqual(
      Object.values(expected)
        .map(each => each.join(' '))
        .sort()
    )
    expect(found.every(({ source }) => source === 'amqp')).toBe(true)
    expect((await node.call('GET', '/admin/v1/messages/dead')).body.items).toEqual([])
  })

  test("what can't be read or mapped is a dead letter with its reason, and everything else goes on", async () => {
    publishByTool(url, 'order.payment', 'no json')
    publishByTool(url, 'order.payment', '{"status":1}')
    publishByTool(url, 'order.payment', '{"orderCode":"after"}')
    await eventsOf('after', 1)
    const listed = await eventually(async () => {
      const found = await dead('order.payment')
      return found.length === 2 && found
    })
    expect(listed.map(({ body, reason }) => [body, reason])).toEqual([
      ['{"status":1}', 'it has none of orderCode, order_code'],
      ['no json', expect.stringContaining('it is no JSON')]
    ])
    const copies = await eventually(async () => {
      const { messageCount } = await client.channel.checkQueue('sandhook.dead')
      return messageCount === 2 && [await client.get('sandhook.dead'), await client.get('sandhook.dead')]
    })
    const shown = copies.map(copy => [copy?.content.toString(), copy?.properties.headers?.['x-sandhook-reason']])
    expect(shown.sort()).toEqual(listed.map(({ body, reason }) => [body, reason]).sort())
    const { body: metrics } = await node.call('GET', '/metrics')
    expect(metrics).toContain('sandhook_messages_total{outcome="dead"} 2')
    expect(metrics).toMatch(/sandhook_messages_total\{outcome="taken"\} 3\d/)
    const again = await node.call('POST', '/admin/v1/messages/dead/refeed', { topic: 'order.payment' })
    expect(again).toMatchObject({ status: 200, body: { refed: 0, left: 2 } })
  })

  test('of a list only the wrong element is missing, and the list is a dead letter', async () => {
    publishByTool(url, 'order.deliveryAddress', '[{"order_code":"L1"},{"address":"x"},{"order_code":"L3"}]')
    expect(await eventsOf('L3', 1)).toHaveLength(1)
    expect(await eventsOf('L1', 1)).toHaveLength(1)
    const [listed] = await eventually(async () => {
      const found = await dead('order.deliveryAddress')
      return found.length > 0 && found
    })
    expect(listed.reason).toBe('it has none of orderCode, order_code (element 2)')
  })

  test('a message with an id is accepted once; without one, a sender may say the same again', async () => {
    const body = { order_code: 'twice', status: 200 }
    for (let i = 0; i < 2; i++) await client.publish('order.erpstatus', body, { messageId: 'm-1' })
    for (let i = 0; i < 2; i++) await client.publish('order.erpstatus', body)
    await settled()
    const ids = (await events('&key=twice')).map(({ id }) => id)
    expect(ids).toEqual(['amqp:m-1', expect.stringMatching(/^mq:/), expect.stringMatching(/^mq:/)])
    expect(ids[1]).not.toBe(ids[2])
  })

  test("a refund is named by the front's number as soon as the ERP has told it", async () => {
    await client.publish('erp.updateChangeRefundOrderStatus', { id: 77, status: 20, type: 'refund' })
    await client.publish('erp.createRefundOrder', {
      code: 200,
      data: { id: 501, returned_id: 77, returned_status: 10 }
    })
    await client.publish('erp.updateChangeRefundOrderStatus', { id: 77, status: 10, type: 'refund' })
    await client.publish('erp.updateChangeRefundOrderStatus', { id: 77, status: 40, type: 'refund' })
    await settled()
    // Events of one batch have no order in this list.
    expect((await events('&key=501')).map(({ eventKey }) => eventKey).sort()).toEqual([
      'ORDER_REFUND_AGREE',
      'ORDER_RETURN_COMPLETE'
    ])
    const named = [...(await events('&key=erp:77')), ...(await events('&key=501'))]
    expect(named.filter(({ eventKey }) => eventKey === 'ORDER_RETURN_SHIPPED')).toHaveLength(1)
  })

  test('hooks see a message as it was, and may subscribe to its topic', async () => {
    const script = 'return { payload: payload.event.payload, waybill: payload.event.data.waybillCode }'
    await addHook(node, '/custom/raw-traces', ['mq:order.updateExpressInfo'], script)
    await addHook(node, '/custom/traces', ['ORDER_EXPRESS_TRACE'], script)
    const trace = { orderCode: 1718050456, uniqueKey: 'raw-1', waybillCode: '612037714591' }
    await client.publish('order.updateExpressInfo', trace)
    const found = await eventsOf('1718050456', 2)
    expect(found.map(({ eventKey }) => eventKey).sort()).toEqual(['ORDER_EXPRESS_TRACE', 'mq:order.updateExpressInfo'])
    for (const hook of ['/custom/raw-traces', '/custom/traces']) {
      const [run] = await eventually(async () => {
        const { items } = (await node.call('GET', `/admin/v1/executions?hook=${hook}&status=succeeded`)).body
        return items.length > 0 && items
      })
      expect(run.result).toEqual({ payload: '1718050456', waybill: '612037714591' })
    }
  })

  test('a queue that is deleted is declared again, and read on', async () => {
    await client.channel.deleteQueue('sandhook.events')
    await eventually(async () => (await node.call('GET', '/readyz')).status === 503)
    await isReady(node)
    await client.publish('order.submit', { orderCode: 'after-delete' })
    await eventsOf('after-delete', 1)
  })

  test.skipIf(!ctl)('missing rights are told in one line and in /readyz; once granted, what waited comes', async () => {
    ctl?.('set_permissions', 'guest', '^amq\\.gen.*', '.*', '^amq\\.topic$')
    ctl?.('close_all_connections', 'test')
    await eventually(async () => (await node.call('GET', '/readyz')).status === 503)
    await eventually(async () => /ACCESS_REFUSED/.test(node.output()))
    client = await openClient(url)
    await client.publish('order.submit', { orderCode: 'waited' })
    await new Promise(resolve => setTimeout(resolve, 3_000))
    expect(node.output().match(/ACCESS_REFUSED/g)).toHaveLength(1)
    // No more than the README asks for.
    ctl?.(
      'set_permissions',
      'guest',
      '^sandhook\\.',
      '^(sandhook\\.|amq\\.(topic|default)$)',
      '^(sandhook\\.|amq\\.topic$)'
    )
    await eventsOf('waited', 1)
    await isReady(node)
    await client.channel.purgeQueue('sandhook.dead')
    await client.publish('order.submit', {})
    await eventually(async () => (await client.get('sandhook.dead')) ?? undefined)
  })
})
