import { describe, expect, test } from 'vitest'
import { readConfig } from '../../runtime/config.ts'
import type { TopicRow } from '../../runtime/config-files.ts'
import { parseMessage, readMessage } from '../../runtime/events/message-body.ts'
import { createTopicMap, eventOf } from '../../runtime/events/topic-map.ts'
import type { Json } from '../../runtime/model.ts'
import { samples } from '../amqp/samples.ts'

const { topics, catalog } = readConfig({})
const shipped = createTopicMap(topics)

/** ERP id → front id of refunds. */
type Pairs = Record<string, string>

function eventsOf(topic: string, body: Json, pairs: Pairs = {}, rows?: TopicRow[], raw = false) {
  const { drafts } = (rows ? createTopicMap(rows) : shipped).read({ topic, body }, raw)
  return drafts.map(draft => eventOf(draft, 'it', (_kind, id) => pairs[id]))
}
const namesOf = (topic: string, body: Json, pairs?: Pairs) =>
  eventsOf(topic, body, pairs).map(({ eventKey, payload }) => [eventKey, payload])
const refusalsOf = (topic: string, body: Json, rows?: TopicRow[]) =>
  (rows ? createTopicMap(rows) : shipped).read({ topic, body }, false).refusals

describe('the shipped table', () => {
  test.each<[string, Json, string, string]>([
    ['order.submit', { orderCode: 7 }, 'ORDER_CREATE_SUCCESS', '7'],
    ['order.submit', { order_code: '7' }, 'ORDER_CREATE_SUCCESS', '7'],
    ['order.payment', { orderCode: 7 }, 'ORDER_PAY_SUCCESS', '7'],
    ['order.payment', { order_code: 7 }, 'ORDER_PAY_SUCCESS', '7'],
    ['order.orderStatus', { orderCode: 7, status: 700 }, 'ORDER_CONFIRM_RECEIPT', '7'],
    ['order.orderStatus', { order_code: 7, status: '700' }, 'ORDER_CONFIRM_RECEIPT', '7'],
    ['order.orderStatus', { orderCode: 7, status: 900 }, 'ORDER_CANCEL', '7'],
    ['order.orderStatus', { orderCode: 7, status: 906 }, 'ORDER_CANCEL', '7'],
    ['order.cancel', { orderCode: 7, status: 900 }, 'ORDER_CANCEL', '7'],
    ['order.erpstatus', { order_code: 7, status: 901 }, 'ORDER_CANCEL', '7'],
    ['order.erpstatus', { orderCode: 7, status: 906 }, 'ORDER_CANCEL', '7'],
    ['order.erpstatus', { order_code: 7, status: 600 }, 'ORDER_DELIVERY_ALL', '7'],
    ['order.erpstatus', { order_code: 7, status: 700 }, 'ORDER_DELIVERED', '7'],
    ['order.erpstatus', { order_code: 7, status: 100 }, 'ORDER_AUDITED', '7'],
    ['order.erpstatus', { order_code: 7, status: 200 }, 'ORDER_STOCKED', '7'],
    ['order.erpstatus', { order_code: 7, status: 40 }, 'ORDER_PRESALE_BALANCE_NOTICE', '7'],
    ['order.createRefundOrder', { order_returned_id: 9, order_code: '7' }, 'ORDER_REFUND_APPLY', '9'],
    [
      'erp.createRefundOrder',
      { code: 200, data: { id: 9, returned_id: 3, returned_status: 10 } },
      'ORDER_REFUND_AGREE',
      '9'
    ],
    [
      'erp.createRefundOrder',
      { code: 500, data: { id: 9, returned_id: 3, returned_status: 91 } },
      'ORDER_REFUND_REFUSE',
      '9'
    ],
    [
      'erp.createRefundOrder',
      { code: 200, data: { id: 9, returned_id: 3, returned_status: 91 } },
      'ORDER_REFUND_REFUSE',
      '9'
    ],
    ['erp.updateChangeRefundOrderStatus', { id: 3, status: 0, type: 'refund' }, 'ORDER_RETURN_SUBMITTED', '9'],
    ['erp.updateChangeRefundOrderStatus', { id: 3, status: 10, type: 'refund' }, 'ORDER_REFUND_AGREE', '9'],
    ['erp.updateChangeRefundOrderStatus', { id: 3, status: 20, type: 1 }, 'ORDER_RETURN_SHIPPED', '9'],
    ['erp.updateChangeRefundOrderStatus', { id: 3, status: 30, type: 'refund' }, 'ORDER_RETURN_WAREHOUSED', '9'],
    ['erp.updateChangeRefundOrderStatus', { id: 3, status: 40, type: 'refund' }, 'ORDER_RETURN_COMPLETE', '9'],
    ['erp.updateChangeRefundOrderStatus', { id: 3, status: 91, type: 'refund' }, 'ORDER_REFUND_REFUSE', '9'],
    ['erp.updateChangeRefundOrderStatus', { id: 4, status: 40, type: 'refund' }, 'ORDER_RETURN_COMPLETE', 'erp:4'],
    ['erp.updateChangeRefundOrderStatus', { id: 3, status: 10, type: 'change' }, 'ORDER_EXCHANGE_AGREE', '3'],
    ['erp.updateChangeRefundOrderStatus', { id: 3, status: 30, type: 'change' }, 'ORDER_EXCHANGE_WAREHOUSED', '3'],
    ['erp.updateChangeRefundOrderStatus', { id: 3, status: 40, type: 'change' }, 'ORDER_EXCHANGE_PICKUP', '3'],
    ['erp.updateChangeRefundOrderStatus', { id: 3, status: 50, type: '2' }, 'ORDER_EXCHANGE_COMPLETE', '3'],
    ['order.changeRefundCancel', { id: 3, status: 900, type: 1 }, 'ORDER_REFUND_CANCEL', '9'],
    ['order.changeRefundCancel', { id: 3, status: 900, type: 'refund' }, 'ORDER_REFUND_CANCEL', '9'],
    ['order.changeRefundCancel', { id: 3, status: 900, type: 2 }, 'ORDER_EXCHANGE_CANCEL', '3'],
    ['order.createChangeOrder', { id: 5, order_code: 7 }, 'ORDER_EXCHANGE_APPLY', '5'],
    ['erp.createChangeOrder', { code: 200, data: { id: 5, exchange_status: 10 } }, 'ORDER_EXCHANGE_ACCEPTED', '5'],
    ['erp.createChangeOrder', { code: 500, data: { id: 5, exchange_status: 91 } }, 'ORDER_EXCHANGE_REFUSE', '5'],
    [
      'order.updateChangeRefundOrderExpressInfo',
      { order_returned_id: 9, apply_id: 3, type: 'refund' },
      'ORDER_RETURN_EXPRESS',
      '9'
    ],
    [
      'order.updateChangeRefundOrderExpressInfo',
      { id: 5, apply_id: 40, type: 'change' },
      'ORDER_EXCHANGE_EXPRESS',
      '5'
    ],
    ['order.deliveryAddress', [{ order_code: 7 }], 'ORDER_ADDRESS_CHANGE', '7'],
    ['erp.deliveryAddressUpdate', { order_code: 7 }, 'ORDER_ADDRESS_CHANGE', '7'],
    ['erp.updateInvoicePdfUrl', { orderCode: 7, invoiceType: '0' }, 'ORDER_INVOICE_ISSUED', '7'],
    ['erp.updateInvoicePdfUrl', { orderCode: 7, invoiceType: '1' }, 'ORDER_INVOICE_RED', '7'],
    ['order.updateExpressInfo', { orderCode: 7, uniqueKey: 'k' }, 'ORDER_EXPRESS_TRACE', '7']
  ])('%s %j is %s of %s', (topic, body, eventKey, payload) => {
    expect(namesOf(topic, body, { 3: '9' })).toEqual([[eventKey, payload]])
    expect(refusalsOf(topic, body)).toEqual([])
  })

  test('names only events that the catalog has', () => {
    const known = new Set(catalog.map(({ key }) => key))
    expect(topics.filter(({ event }) => event !== undefined && !known.has(event))).toEqual([])
  })

  test("has the document's 15 topics, and the older order.cancel", () => {
    const documented = new Set(samples.map(({ topic }) => topic))
    expect(documented.size).toBe(13)
    expect(new Set(shipped.topics)).toEqual(new Set([...documented, 'order.submit', 'order.payment', 'order.cancel']))
  })

  test('makes of every sample one event with the sample as its data', () => {
    expect(samples).toHaveLength(29)
    for (const { topic, text } of samples) {
      const body = parseMessage(text)
      const data = Array.isArray(body) ? body[0] : body
      expect(eventsOf(topic, body)).toEqual([expect.objectContaining({ data })])
    }
  })

  test('knows a cancellation again, whichever topic tells of it', () => {
    const [front] = eventsOf('order.orderStatus', { orderCode: 7, status: 906 })
    const [erp] = eventsOf('order.erpstatus', { order_code: 7, uid: 1, status: 906 })
    expect(front?.id).toBe('mq:ORDER_CANCEL:7')
    expect(erp?.id).toBe(front?.id)
  })

  test("knows an agreement again by the front's id", () => {
    const [reply] = eventsOf('erp.createRefundOrder', {
      code: 200,
      data: { id: 9, returned_id: 3, returned_status: 10 }
    })
    const [update] = eventsOf('erp.updateChangeRefundOrderStatus', { id: 3, status: 10, type: 'refund' }, { 3: '9' })
    expect(update?.id).toBe(reply?.id)
  })

  test('remembers which ERP id stands for which front id', () => {
    const reply = { code: 500, data: { id: '9', returned_id: 3, returned_status: 91 } }
    const { pairs } = shipped.read({ topic: 'erp.createRefundOrder', body: reply }, false)
    expect(pairs).toEqual([{ kind: 'refund', erpId: '3', frontId: '9' }])
  })

  test('tells traces apart by their unique key and takes their time, in seconds', () => {
    const body = { orderCode: 7, uniqueKey: 'k', createTime: 1483387378 }
    expect(eventsOf('order.updateExpressInfo', body)).toEqual([
      expect.objectContaining({ id: 'mq:ORDER_EXPRESS_TRACE:k', timestamp: 1483387378000 })
    ])
    expect(eventsOf('order.updateExpressInfo', { orderCode: 7 })[0]?.id).toBe('it')
  })
})

describe('a list', () => {
  test('is one event for each element, with ids of their own', () => {
    const body = [{ order_code: 1 }, { order_code: 2 }, { order_code: 2 }]
    expect(eventsOf('order.deliveryAddress', body)).toEqual([
      { id: 'it', eventKey: 'ORDER_ADDRESS_CHANGE', payload: '1', data: { order_code: 1 } },
      { id: 'it#2', eventKey: 'ORDER_ADDRESS_CHANGE', payload: '2', data: { order_code: 2 } },
      { id: 'it#3', eventKey: 'ORDER_ADDRESS_CHANGE', payload: '2', data: { order_code: 2 } }
    ])
  })
  test('loses only the element that is wrong, and keeps the ids of the others', () => {
    const body: Json = [{ order_code: 1 }, { address: 'x' }, 'x', { order_code: 4 }]
    expect(eventsOf('order.deliveryAddress', body).map(({ id }) => id)).toEqual(['it', 'it#4'])
    expect(refusalsOf('order.deliveryAddress', body)).toEqual([
      'it has none of orderCode, order_code (element 2)',
      'it has none of orderCode, order_code (element 3)'
    ])
  })
  test('is refused where none is expected, or when it is empty', () => {
    expect(refusalsOf('order.erpstatus', [{ order_code: 1, status: 100 }])).toEqual([
      'the body is a list, and no row of its topic has "each"'
    ])
    expect(refusalsOf('order.deliveryAddress', [])).toEqual(['the body is an empty list'])
  })
})

describe('what no row fits', () => {
  test.each<[string, Json, string]>([
    ['order.erpstatus', { order_code: 1, status: 300 }, 'no row of its topic in config/topics.json fits status=300'],
    ['order.erpstatus', { order_code: 1 }, 'no row of its topic in config/topics.json fits status=undefined'],
    ['order.erpstatus', 'text', 'no row of its topic in config/topics.json fits status=undefined'],
    ['order.erpstatus', null, 'no row of its topic in config/topics.json fits status=undefined'],
    ['order.other', {}, 'no row of config/topics.json names the topic order.other'],
    ['order.submit', { orderCode: '' }, 'it has none of orderCode, order_code'],
    ['order.submit', { orderCode: { a: 1 } }, 'it has none of orderCode, order_code'],
    ['order.submit', { orderCode: 'x'.repeat(1_001) }, 'it has none of orderCode, order_code']
  ])('%s %j says why', (topic, body, reason) => {
    expect(refusalsOf(topic, body)).toEqual([reason])
    expect(eventsOf(topic, body)).toEqual([])
  })
  test('does not see members that an object only inherits', () => {
    const rows = [{ topic: 't', event: 'E', payload: ['constructor.name', '__proto__.x'] }]
    expect(eventsOf('t', {}, {}, rows)).toEqual([])
  })
})

describe('rows that an admin adds', () => {
  test('the first that fits decides; one without an event says that the message is known', () => {
    const rows: TopicRow[] = [
      { topic: 't', when: { 'a.b': [1, true, null] } },
      { topic: 't', event: 'E', payload: ['no'], key: ['order'] }
    ]
    expect(eventsOf('t', { a: { b: '1' }, no: 5 }, {}, rows)).toEqual([])
    expect(eventsOf('t', { a: { b: true }, no: 5 }, {}, rows)).toEqual([])
    expect(eventsOf('t', { no: 5 }, {}, rows)).toEqual([])
    expect(refusalsOf('t', { no: 5 }, rows)).toEqual([])
    expect(eventsOf('t', { a: { b: 2 }, no: 5, order: 8 }, {}, rows)).toMatchObject([
      { eventKey: 'E', payload: '5', key: '8' }
    ])
  })
  test('ids that would be too long are stood for by a digest', () => {
    const rows: TopicRow[] = [{ topic: 't', event: 'E', payload: ['no'], once: true }]
    const [event] = eventsOf('t', { no: 'x'.repeat(300) }, {}, rows)
    expect(event?.id).toMatch(/^mq:[0-9a-f]{64}$/)
  })
})

describe('a topic as it is', () => {
  test('is an event for each element beside the mapped one, with its number and ids of their own', () => {
    const body: Json = [{ order_code: 1 }, { x: 2 }]
    expect(eventsOf('order.deliveryAddress', body, {}, undefined, true)).toMatchObject([
      { id: 'it', eventKey: 'ORDER_ADDRESS_CHANGE', payload: '1' },
      { id: 'it:raw', eventKey: 'mq:order.deliveryAddress', payload: '1', data: { order_code: 1 } },
      { id: 'it#2:raw', eventKey: 'mq:order.deliveryAddress', payload: null, data: { x: 2 } }
    ])
  })
  test('names a refund as the mapped event does', () => {
    const body = { id: 3, status: 40, type: 'refund' }
    expect(eventsOf('erp.updateChangeRefundOrderStatus', body, { 3: '9' }, undefined, true)).toMatchObject([
      { payload: '9' },
      { payload: '9', id: 'it:raw' }
    ])
  })
})

describe("a message's text", () => {
  test.each([
    ['{"a":1} // http://x', { a: 1 }],
    ['{"u":"http://x/*y*/", /* c */ "a":1}', { u: 'http://x/*y*/', a: 1 }],
    ['\uFEFF{"a":1}', { a: 1 }],
    [
      '{"a":9007199254740993,"b":[-12345678901234567890],"c":1.5,"d":9007199254740991}',
      { a: '9007199254740993', b: ['-12345678901234567890'], c: 1.5, d: 9007199254740991 }
    ],
    ['{ // ids\n"a":12345678901234567890}', { a: '12345678901234567890' }]
  ])('%s', (text, body) => {
    expect(parseMessage(text)).toEqual(body)
  })
  test.each(['', 'x', '{"a":1,}', '{a:1}', '[1'])('%j is none', text => {
    expect(() => parseMessage(text)).toThrow(SyntaxError)
    expect(readMessage(text)).toBe(text)
  })
})
