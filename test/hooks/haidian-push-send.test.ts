import { describe, expect, test } from 'vitest'
import type { Json } from '../../runtime/model.ts'
import { addLines, addOrder, oneRow } from './fixtures.ts'
import { type Answer, onEveryErp, type Request } from './haidian-erp.ts'
import { type Body, post, signed } from './haidian-fixtures.ts'

onEveryErp('deliveries and goods with Haidian', at => {
  const { shop, paths, failing, run, add, send, receipt, addWhole } = at

  describe('push-order-send', () => {
    test('tells of a delivery with its express number, once', async () => {
      const { orderNo } = await addWhole({ delivery_id: 'SF12' })
      await add(orderNo)
      expect((await send(orderNo)).result).toEqual({ success: true })
      expect((await send(orderNo)).result).toEqual({ success: true, duplicate: true })
      expect((await receipt(orderNo)).result).toEqual({ success: true, duplicate: true })
      expect(at.erp.sent).toEqual([signed({ user_id: 501, order_sn: orderNo, send_type: '配送', express_no: 'SF12' })])
    })

    test('tells of a pick-up once it is verified', async () => {
      const { orderNo } = await addOrder(shop, { paid: 1, delivery_id: null })
      await addLines(shop, orderNo)
      await add(orderNo)
      expect((await receipt(orderNo)).result).toEqual({ success: true })
      expect((await send(orderNo)).result).toEqual({ success: true, duplicate: true })
      expect(at.erp.sent).toEqual([signed({ user_id: 501, order_sn: orderNo, send_type: '自提', express_no: '' })])
    })

    test('says nothing at the receipt of what a carrier brought', async () => {
      const { orderNo } = await addWhole({ delivery_id: 'SF13' })
      expect((await receipt(orderNo)).result).toMatchObject({ success: true, skipped: expect.any(String) })
      expect(at.partner.requests).toHaveLength(0)
    })

    test('does not send back what the ERP itself said', async () => {
      const { orderNo, uid } = await addWhole({ status: 0, delivery_id: null })
      const body = signed({ user_id: uid, order_sn: orderNo, send_type: '配送', express_no: 'SF14' })
      expect((await post(shop, 'order-send', body)).answer).toMatchObject({ code: 0 })
      expect((await send(orderNo)).result).toEqual({ success: true, duplicate: true })
      expect(at.partner.requests).toHaveLength(0)
    })

    test('is retried while the express number is missing, and while order-add is still on its way', async () => {
      const { orderNo } = await addWhole({ delivery_id: null })
      expect((await send(orderNo)).result).toEqual({
        ...{ success: false, message: `order ${orderNo} has no express number yet` }
      })
      await shop.sql("UPDATE eb_store_order SET delivery_id = 'SF15' WHERE order_id = ?", [orderNo])
      expect((await send(orderNo)).result).toEqual({ success: false, message: 'Haidian order-send: 订单不存在' })
      await add(orderNo)
      expect((await send(orderNo)).result).toEqual({ success: true })
    })

    test('is a dead letter when the ERP refuses an order that it has', async () => {
      const { orderNo } = await addWhole({ delivery_id: 'SF16' })
      await add(orderNo)
      at.answer = failing('/api/order-send', { body: { code: -1, msg: '参数错误' } })
      expect((await send(orderNo)).result).toEqual({
        ...{ success: false, retry: false, message: 'Haidian order-send: 参数错误' }
      })
    })

    test("is retried for an order that is not there, and leaves another merchant's alone", async () => {
      expect((await send('T-none')).result).toEqual({
        success: false,
        message: 'order T-none is not in the database'
      })
      const { orderNo } = await addWhole({ mer_id: 2 })
      const { result } = await send(orderNo, { env: { HAIDIAN_MER_ID: '1' } })
      expect(result).toMatchObject({ success: true, skipped: expect.any(String) })
    })
  })

  describe('pull-goods', () => {
    const pull = (more = {}) => run('pull-goods', 'HAIDIAN_GOODS_SYNC', 'goods', more)
    const good = (number: number, changes: Body = {}) => ({
      ...{ goods_no: `HD${number}`, goods_name: `药品 ${number}`, goods_price: '9.90' },
      ...changes
    })
    const pages =
      (...all: Json[][]) =>
      ({ body }: Request): Answer => ({
        body: { code: 0, data: all[Number((body as Body).page) - 1] ?? [] }
      })

    test('fetches all pages, keeps what products they were mapped to, and leaves out what is none', async () => {
      at.answer = pages([good(1), good(2)], [good(3, { goods_price: 'free' }), good(4), { goods_no: '' }, null])
      const first = await pull()
      expect(first.result).toEqual({ success: true, goods: 3 })
      expect(at.partner.requests.map(({ body }) => body)).toEqual([1, 2, 3].map(page => signed({ page })))
      expect(first.logs.filter(({ level }) => level === 'warn')).toHaveLength(3)
      await shop.sql("UPDATE haidian_goods SET product_id = 900, sku = '盒' WHERE goods_no = 'HD1'")
      at.answer = pages([good(1, { goods_price: '12' })])
      expect((await pull()).result).toEqual({ success: true, goods: 1 })
      const row = await oneRow(
        shop,
        "SELECT goods_price, product_id, sku FROM haidian_goods WHERE goods_no = 'HD1'",
        []
      )
      expect(row).toEqual({ goods_price: 1200, product_id: 900, sku: '盒' })
    })

    test('ends with an ERP that gives the same page for ever', async () => {
      at.answer = () => ({ body: { code: 0, data: [good(7)] } })
      expect((await pull()).result).toEqual({ success: true, goods: 1 })
      expect(at.partner.requests).toHaveLength(2)
    })

    test('asks where it is told to, and is a dead letter when refused', async () => {
      at.answer = () => ({ body: { code: -1, msg: '参数错误' } })
      const { result } = await pull({ env: { HAIDIAN_GOODS_PATH: '/v2/goods' } })
      expect(paths()).toEqual(['/v2/goods'])
      expect(result).toEqual({ success: false, retry: false, message: 'Haidian goods: 参数错误' })
    })
  })

  test.each([
    ['push-order-add', 'HAIDIAN_API_URL'],
    ['push-order-add', 'HAIDIAN_SECRET'],
    ['push-order-send', 'HAIDIAN_API_URL'],
    ['push-order-send', 'HAIDIAN_SECRET'],
    ['pull-goods', 'HAIDIAN_API_URL'],
    ['pull-goods', 'HAIDIAN_SECRET']
  ])('%s does nothing, and does not fail, without %s', async (hook, key) => {
    const { result } = await run(hook, 'ORDER_DELIVERY_ALL', 'T-none', { env: { [key]: '' } })
    expect(result).toEqual({ success: true, skipped: `${key} is not set` })
    expect(at.partner.requests).toHaveLength(0)
  })
})
