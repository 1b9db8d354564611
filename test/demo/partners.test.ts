import Fastify, { type FastifyInstance } from 'fastify'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { partnerRoutes } from '../../runtime/demo/partners.ts'

const token = 'demo-token'
const order = { sourceOrderNo: '202401010001', payAmount: 300.7, items: [{ skuCode: 'MISEB_1002', quantity: 3 }] }
const refund = { sourceRefundNo: 'RE202401010001', sourceOrderNo: '202401010001', refundAmount: 137.7 }
const sms = { phone: '13800000001', template: 'order_shipped', params: { orderNo: '202401010001' } }

let app: FastifyInstance

beforeEach(async () => {
  app = Fastify()
  await app.register(partnerRoutes({ token }))
})
afterEach(() => app.close())

const post = async (url: string, payload: unknown, headers: Record<string, string> = {}) => {
  const authorization = `Bearer ${token}`
  const answer = await app.inject({
    method: 'POST',
    url,
    payload: payload as object,
    headers: { authorization, ...headers }
  })
  return { status: answer.statusCode, body: answer.json() }
}
const received = async (query = '') => (await app.inject(`/demo/received${query}`)).json()

test('the ERP gives an order one number for ever, and says when it has seen it', async () => {
  const first = await post('/demo/erp/order/create', order)
  expect(first).toEqual({
    status: 200,
    body: { code: 0, message: 'ok', data: { erpOrderId: expect.stringMatching(/^ERP\d+$/), duplicate: false } }
  })
  const number = first.body.data.erpOrderId
  expect((await post('/demo/erp/order/create', order)).body.data).toEqual({ erpOrderId: number, duplicate: true })
  const other = await post('/demo/erp/order/create', { ...order, sourceOrderNo: '202401010002' })
  expect(other.body.data.erpOrderId).not.toBe(number)
  const cancelled = await post('/demo/erp/order/cancel', { sourceOrderNo: '202401010001', cancelReason: 'x' })
  expect(cancelled.body.data).toEqual({ erpOrderId: number, duplicate: false })
})

test('the ERP takes two refunds of one order for two, the same one for a duplicate', async () => {
  const first = (await post('/demo/erp/refund/create', refund)).body.data
  const again = (await post('/demo/erp/refund/create', refund)).body.data
  const second = (await post('/demo/erp/refund/create', { ...refund, sourceRefundNo: 'RE2' })).body.data
  expect(first.duplicate).toBe(false)
  expect(again).toEqual({ ...first, duplicate: true })
  expect(second).toMatchObject({ erpOrderId: first.erpOrderId, duplicate: false })
  expect(second.erpRefundId).not.toBe(first.erpRefundId)
})

test.each([
  ['/demo/erp/order/create', { ...order, sourceOrderNo: undefined }, 'sourceOrderNo is missing'],
  ['/demo/erp/order/create', { ...order, sourceOrderNo: 202401010001 }, 'sourceOrderNo must be string'],
  ['/demo/erp/order/create', { ...order, items: [{ skuCode: 'a' }] }, 'items.0.quantity is missing'],
  ['/demo/erp/order/cancel', {}, 'sourceOrderNo is missing'],
  ['/demo/erp/order/cancel', undefined, 'the body is missing'],
  ['/demo/erp/order/cancel', 'null', 'the body must be object'],
  ['/demo/erp/refund/create', { ...refund, sourceRefundNo: undefined }, 'sourceRefundNo is missing'],
  ['/demo/sms/send', { phone: '13800000001' }, 'template is missing']
])('%s with a wrong body says so inside HTTP 200: %j', async (url, body, message) => {
  const headers = typeof body === 'string' ? { 'content-type': 'application/json' } : {}
  expect(await post(url, body, headers as Record<string, string>)).toEqual({
    status: 200,
    body: { code: 1001, message }
  })
})

test('a wrong body uses up nothing: the right one after it is no duplicate', async () => {
  await post('/demo/erp/order/create', { sourceOrderNo: order.sourceOrderNo })
  expect((await post('/demo/erp/order/create', order)).body.data.duplicate).toBe(false)
})

test.each(['/demo/erp/order/create', '/demo/erp/order/cancel', '/demo/erp/refund/create', '/demo/sms/send'])(
  '%s asks for the token',
  async url => {
    const body = url.includes('sms') ? sms : { ...order, ...refund }
    for (const authorization of ['', token, 'Bearer', `Bearer ${token}x`, `Basic ${token}`])
      expect(await post(url, body, { authorization })).toMatchObject({ status: 401, body: { code: 401 } })
    expect(await post(url, body)).toMatchObject({ status: 200, body: { code: 0 } })
  }
)

test('the SMS gateway numbers its messages and refuses what is no phone', async () => {
  const first = await post('/demo/sms/send', sms)
  const second = await post('/demo/sms/send', sms)
  expect(first.body).toEqual({ code: 0, message: 'ok', data: { messageId: expect.any(String) } })
  expect(second.body.data.messageId).not.toBe(first.body.data.messageId)
  for (const phone of ['', '1380000', '23800000001', '13800000001 '])
    expect(await post('/demo/sms/send', { ...sms, phone })).toMatchObject({ status: 200, body: { code: 1002 } })
})

test.each([
  [{ msgtype: 'text', text: { content: '新订单' } }, 0, 'ok'],
  [{ msgtype: 'markdown', markdown: { title: '新订单', text: '# 1' } }, 0, 'ok'],
  [{ msgtype: 'text' }, 40035, 'text is missing'],
  [{ msgtype: 'markdown', text: { content: 'x' } }, 40035, 'markdown is missing'],
  [{ msgtype: 'text', text: {} }, 40035, 'text.content is missing'],
  [{ msgtype: 'link' }, 40035, expect.stringContaining('msgtype')],
  [{}, 40035, 'msgtype is missing']
])('the robot answers %j with errcode %i, always in HTTP 200 and without a token', async (body, errcode, errmsg) => {
  const answer = await post('/demo/dingtalk/robot/send?access_token=secret', body, { authorization: '' })
  expect(answer).toEqual({ status: 200, body: { errcode, errmsg } })
})

test('what was received can be seen, newest first, without token or query, and forgotten', async () => {
  await post('/demo/erp/order/create', order, { 'idempotency-key': 'e1:1', 'x-other': 'x' })
  await post('/demo/sms/send', sms, { authorization: '' })
  await post('/demo/dingtalk/robot/send?access_token=secret', { msgtype: 'text', text: { content: 'x' } })
  const { items, dropped } = await received()
  expect(dropped).toBe(0)
  expect(items.map((item: { partner: string }) => item.partner)).toEqual(['dingtalk', 'sms', 'erp'])
  expect(items[2]).toEqual({
    partner: 'erp',
    path: '/demo/erp/order/create',
    receivedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
    idempotencyKey: 'e1:1',
    headers: { 'content-type': 'application/json', 'idempotency-key': 'e1:1' },
    body: order,
    answer: { code: 0, message: 'ok', data: { erpOrderId: expect.any(String), duplicate: false } }
  })
  expect(items[1]).toMatchObject({ idempotencyKey: null, body: sms, answer: { code: 401 } })
  expect(JSON.stringify(items)).not.toMatch(/secret|demo-token/)

  expect((await received('?partner=sms')).items).toHaveLength(1)
  expect((await received('?limit=2')).items).toHaveLength(2)
  expect((await app.inject('/demo/received?partner=nobody')).statusCode).toBe(400)
  expect((await app.inject('/demo/received?limit=1001')).statusCode).toBe(400)
  expect((await app.inject({ method: 'DELETE', url: '/demo/received' })).statusCode).toBe(204)
  expect(await received()).toEqual({ items: [], dropped: 0 })
})

test('a body that came wrong is shown as it came', async () => {
  await post('/demo/erp/order/cancel', { sourceOrderNo: 7 })
  await post('/demo/erp/order/cancel', undefined)
  expect((await received()).items.map((item: { body: unknown }) => item.body)).toEqual([null, { sourceOrderNo: 7 }])
})

test('only the last 1 000 are kept, and the others counted', async () => {
  for (let number = 1; number <= 1003; number += 1)
    await post('/demo/erp/order/cancel', { sourceOrderNo: String(number) })
  const { items, dropped } = await received('?limit=1000')
  expect(dropped).toBe(3)
  expect(items).toHaveLength(1000)
  expect(items[0].body).toEqual({ sourceOrderNo: '1003' })
  expect(items[999].body).toEqual({ sourceOrderNo: '4' })
})

test('a body beyond 64 KB is refused before it takes memory', async () => {
  const answer = await post('/demo/erp/order/cancel', { sourceOrderNo: '1', note: 'x'.repeat(70_000) })
  expect(answer.status).toBe(413)
  expect((await received()).items).toEqual([])
})
