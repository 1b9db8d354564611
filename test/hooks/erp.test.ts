import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { engines } from '../support/databases.ts'
import { openTestShop, runHook, startPartner } from '../support/run-hook.ts'
import { addAddress, addLines, addOrder, addRefund, oneRow } from './fixtures.ts'

type Shop = Awaited<ReturnType<typeof openTestShop>>
type Partner = Awaited<ReturnType<typeof startPartner>>

const accepts = () => ({ body: { code: 0, message: 'ok', data: { erpOrderId: 'ERP-7' } } })
const refuses = () => ({ body: { code: 1001, message: 'stock is being counted' } })

for (const engine of engines)
  describe.skipIf(engine.missing)(`the ERP hooks on ${engine.name}`, () => {
    let shop: Shop
    let erp: Partner
    let answer: (request: Partner['requests'][number]) => { status?: number; body: unknown }

    beforeAll(async () => {
      shop = await openTestShop(engine)
    })
    afterAll(() => shop.close())
    beforeEach(async () => {
      answer = accepts
      erp = await startPartner(request => answer(request))
    })
    afterEach(() => erp.close())

    const run = (file: string, eventKey: string, payload: string, more: { env?: object; executionId?: string } = {}) =>
      runHook({
        shop,
        file,
        event: { eventKey, payload },
        env: { ERP_API_URL: erp.url, ERP_API_KEY: 'key-1', ...more.env },
        executionId: more.executionId
      })
    const markOf = async (orderNo: string) =>
      (await oneRow(shop, 'SELECT mark FROM eb_store_order WHERE order_id = ?', [orderNo])).mark

    describe('order-sync', () => {
      const sync = (orderNo: string, more = {}) => run('erp/order-sync.js', 'ORDER_PAY_SUCCESS', orderNo, more)
      const addWhole = async (changes = {}) => {
        const order = await addOrder(shop, changes)
        await addLines(shop, order.orderNo)
        await addAddress(shop, order.orderNo)
        return order
      }

      test('sends the whole order and notes the number that the ERP gave it', async () => {
        const { orderNo, uid } = await addWhole({ mark: '请用纸箱' })
        const { result, error, committed } = await sync(orderNo)
        expect(error).toBeNull()
        expect(result).toEqual({ success: true, erpOrderId: 'ERP-7' })
        expect(committed).toBe(true)
        expect(await markOf(orderNo)).toBe('请用纸箱 ERP:ERP-7')
        expect(erp.requests).toHaveLength(1)
        expect(erp.requests[0]).toMatchObject({
          method: 'POST',
          path: '/order/create',
          headers: { authorization: 'Bearer key-1', 'content-type': expect.stringContaining('application/json') }
        })
        expect(erp.requests[0]?.headers['idempotency-key']).toBeTruthy()
        expect(erp.requests[0]?.body).toEqual({
          sourceOrderNo: orderNo,
          sourceSystem: 'MISEB',
          customerId: `MISEB_${uid}`,
          customerName: '试用买家',
          customerPhone: '13800007001',
          payAmount: 225.01,
          payType: 'weixin',
          payTime: '2024-01-01 08:05:00',
          shippingAddress: {
            name: '王试用',
            phone: '13800007002',
            province: '云川省',
            city: '青石市',
            district: '东湖区',
            detail: '试用路 1 号'
          },
          items: [
            { skuCode: 'MISEB_11', productName: '绿茶', spec: '250克', quantity: 2, price: 99 },
            { skuCode: 'MISEB_12', productName: '茶杯', spec: '白色', quantity: 1, price: 32.01 }
          ]
        })
      })

      test('names the source system that is set, and takes an address that ends with a slash', async () => {
        const { orderNo, uid } = await addWhole()
        await sync(orderNo, { env: { ERP_SOURCE_SYSTEM: 'SHOP2', ERP_API_URL: `${erp.url}/` } })
        expect(erp.requests[0]).toMatchObject({
          path: '/order/create',
          body: { sourceSystem: 'SHOP2', customerId: `SHOP2_${uid}`, items: [{ skuCode: 'SHOP2_11' }, {}] }
        })
      })

      test('sends null for an address and a buyer that are missing', async () => {
        const { orderNo } = await addOrder(shop, { uid: 69_999 })
        await addLines(shop, orderNo)
        const { result, logs } = await sync(orderNo)
        expect(result).toMatchObject({ success: true })
        expect(erp.requests[0]?.body).toMatchObject({ customerName: null, customerPhone: null, shippingAddress: null })
        expect(logs).toContainEqual(expect.objectContaining({ level: 'warn' }))
      })

      test('sends an order that cost nothing', async () => {
        const { orderNo } = await addWhole({ pay_price: 0 })
        expect((await sync(orderNo)).result).toMatchObject({ success: true })
        expect(erp.requests[0]?.body).toMatchObject({ payAmount: 0 })
      })

      test.each([
        ['ERP_API_URL', { ERP_API_URL: '' }],
        ['ERP_API_KEY', { ERP_API_KEY: '' }]
      ])('does nothing, and does not fail, without %s', async (key, env) => {
        const { orderNo } = await addWhole()
        const { result, logs } = await sync(orderNo, { env })
        expect(result).toEqual({ success: true, skipped: `${key} is not set` })
        expect(logs).toContainEqual({ level: 'info', message: `skipped: ${key} is not set` })
        expect(erp.requests).toHaveLength(0)
      })

      test('is retried while the order, or its lines, are not in the database', async () => {
        const { result } = await sync('T-none')
        expect(result).toEqual({ success: false, message: 'order T-none is not in the database' })
        const { orderNo } = await addOrder(shop)
        expect((await sync(orderNo)).result).toMatchObject({
          success: false,
          message: expect.stringContaining('no lines')
        })
        expect(erp.requests).toHaveLength(0)
      })

      test('is retried with the reason when the ERP refuses inside HTTP 200', async () => {
        answer = refuses
        const { orderNo } = await addWhole({ mark: '轻放' })
        const { result } = await sync(orderNo)
        expect(result).toEqual({ success: false, message: 'ERP /order/create: stock is being counted' })
        expect(await markOf(orderNo)).toBe('轻放')
      })

      test.each([['<html>maintenance</html>'], [''], [{}], [{ code: '' }], [{ code: null }]])(
        'takes the answer %j for no success',
        async body => {
          answer = () => ({ body })
          const { orderNo } = await addWhole()
          expect((await sync(orderNo)).result).toMatchObject({ success: false })
          expect(await markOf(orderNo)).toBeNull()
        }
      )

      test.each([[0], [200], ['0'], ['200']])('takes code %j for success', async code => {
        answer = () => ({ body: { code, data: { erpOrderId: 88 } } })
        const { orderNo } = await addWhole()
        expect((await sync(orderNo)).result).toEqual({ success: true, erpOrderId: 88 })
        expect(await markOf(orderNo)).toBe(' ERP:88')
      })

      test('throws, and so is retried, on HTTP 503', async () => {
        answer = () => ({ status: 503, body: { message: 'later' } })
        const { orderNo } = await addWhole()
        const { error, committed } = await sync(orderNo)
        expect(error).toMatchObject({ code: 'HOOK_THREW' })
        expect(error?.message).toContain('503')
        expect(committed).toBe(false)
      })

      test('leaves the mark alone when the ERP gives no number', async () => {
        answer = () => ({ body: { code: 0 } })
        const { orderNo } = await addWhole({ mark: '轻放' })
        expect((await sync(orderNo)).result).toEqual({ success: true, erpOrderId: null })
        expect(await markOf(orderNo)).toBe('轻放')
      })

      test('keeps the number when the remark fills the column', async () => {
        const { orderNo } = await addWhole({ mark: '长'.repeat(512) })
        expect((await sync(orderNo)).result).toMatchObject({ success: true })
        expect(await markOf(orderNo)).toBe(`${'长'.repeat(512 - ' ERP:ERP-7'.length)} ERP:ERP-7`)
      })

      test('neither creates twice nor notes the number twice, whether the execution or the event is repeated', async () => {
        const { orderNo } = await addWhole()
        await sync(orderNo, { executionId: `sync-${orderNo}` })
        const again = await sync(orderNo, { executionId: `sync-${orderNo}` })
        const anew = await sync(orderNo, { executionId: `sync-${orderNo}-anew` })
        expect(again.result).toMatchObject({ success: true, erpOrderId: 'ERP-7' })
        expect(anew.result).toEqual({ success: true, erpOrderId: 'ERP-7', duplicate: true })
        expect(erp.requests).toHaveLength(1)
        expect(await markOf(orderNo)).toBe(' ERP:ERP-7')
      })
    })

    describe('order-cancel', () => {
      const cancel = (orderNo: string, more = {}) => run('erp/order-cancel.js', 'ORDER_CANCEL', orderNo, more)

      test('cancels the order in the ERP', async () => {
        const { orderNo } = await addOrder(shop)
        expect((await cancel(orderNo)).result).toEqual({ success: true })
        expect(erp.requests).toHaveLength(1)
        expect(erp.requests[0]).toMatchObject({
          method: 'POST',
          path: '/order/cancel',
          headers: { authorization: 'Bearer key-1' }
        })
        expect(erp.requests[0]?.body).toEqual({
          sourceOrderNo: orderNo,
          sourceSystem: 'MISEB',
          cancelReason: '订单已取消'
        })
      })

      test.each([
        ['paid', {}],
        ['in the ERP', { pay_time: null, mark: ' ERP:ERP-7' }]
      ])('is retried when the ERP refuses an order that was %s', async (_, changes) => {
        answer = refuses
        const { orderNo } = await addOrder(shop, changes)
        const { result } = await cancel(orderNo)
        expect(result).toEqual({ success: false, message: 'ERP /order/cancel: stock is being counted' })
      })

      test('succeeds when the ERP does not know an order that was never paid', async () => {
        answer = refuses
        const { orderNo } = await addOrder(shop, { pay_time: null })
        expect((await cancel(orderNo)).result).toMatchObject({ success: true, skipped: expect.any(String) })
      })

      test('is retried for an order that is not in the database, and skipped without an ERP', async () => {
        expect((await cancel('T-none')).result).toMatchObject({ success: false })
        const skipped = await cancel('T-none', { env: { ERP_API_URL: '' } })
        expect(skipped.result).toEqual({ success: true, skipped: 'ERP_API_URL is not set' })
        expect(erp.requests).toHaveLength(0)
      })
    })

    describe('refund-sync', () => {
      const sync = (refundNo: string, more = {}) => run('erp/refund-sync.js', 'ORDER_REFUND_AGREE', refundNo, more)

      test('sends the refund in yuan', async () => {
        const { orderNo } = await addOrder(shop)
        const refundNo = await addRefund(shop, orderNo, { refund_price: 1_005 })
        expect((await sync(refundNo)).result).toEqual({ success: true })
        expect(erp.requests).toHaveLength(1)
        expect(erp.requests[0]).toMatchObject({ path: '/refund/create', headers: { authorization: 'Bearer key-1' } })
        expect(erp.requests[0]?.body).toEqual({
          sourceRefundNo: refundNo,
          sourceOrderNo: orderNo,
          refundAmount: 10.05,
          refundReason: '不想要了'
        })
      })

      test('repeats itself with the same document and idempotency key', async () => {
        const refundNo = await addRefund(shop, (await addOrder(shop)).orderNo)
        await sync(refundNo, { executionId: `refund-${refundNo}` })
        await sync(refundNo, { executionId: `refund-${refundNo}` })
        const sent = erp.requests.map(({ body, headers }) => JSON.stringify([body, headers['idempotency-key']]))
        expect(new Set(sent).size).toBe(1)
      })

      test('is retried when the ERP refuses, or the refund is not in the database', async () => {
        answer = refuses
        const refundNo = await addRefund(shop, (await addOrder(shop)).orderNo)
        const refused = await sync(refundNo)
        expect(refused.result).toEqual({ success: false, message: 'ERP /refund/create: stock is being counted' })
        expect((await sync('RE-none')).result).toMatchObject({ success: false })
        expect(erp.requests).toHaveLength(1)
      })

      test('does nothing, and does not fail, without an ERP', async () => {
        const { result } = await sync('RE-none', { env: { ERP_API_KEY: '' } })
        expect(result).toEqual({ success: true, skipped: 'ERP_API_KEY is not set' })
      })
    })
  })
