import { describe, expect, test } from 'vitest'
import { addLines, addOrder, addUser } from './fixtures.ts'
import { onEveryErp } from './haidian-erp.ts'
import { signed } from './haidian-fixtures.ts'

onEveryErp('orders to Haidian', at => {
  const { shop, bodyOf, paths, failing, add, addWhole } = at

  describe('push-order-add', () => {
    test('sends the whole order, signed, as the document has it', async () => {
      const { orderNo } = await addWhole({ freight: 500 })
      const { result, committed } = await add(orderNo)
      expect(result).toEqual({ success: true })
      expect(committed).toBe(true)
      expect(paths()).toEqual(['/api/user-info', '/api/order-add'])
      expect(at.partner.requests[0]?.body).toEqual(signed({ mobile: '13800007001' }))
      const { sign, ...sent } = bodyOf(1)
      expect(sign).toMatch(/^[0-9a-f]{32}$/)
      expect(sent).toEqual({
        ...{ user_id: 501, order_sn: orderNo, order_amount: '225.01', goods_amount: '225.01', shipping_fee: '5.00' },
        ...{ order_type: '2', consignee: '王试用', address: '云川省青石市东湖区试用路 1 号' },
        ...{ add_time: '2024-01-01 08:00:00', pay_time: '2024-01-01 08:05:00' },
        order_goods: [
          { goods_no: '11', goods_name: '绿茶', goods_price: '99.00', goods_number: '2', goods_amount: '198.00' },
          { goods_no: '12', goods_name: '茶杯', goods_price: '32.01', goods_number: '1', goods_amount: '32.01' }
        ]
      })
      expect(at.erp.orders.has(orderNo)).toBe(true)
    })

    test('sends it once, whether the execution or the event is repeated', async () => {
      const { orderNo } = await addWhole()
      await add(orderNo, { executionId: `add-${orderNo}` })
      expect((await add(orderNo, { executionId: `add-${orderNo}` })).result).toEqual({ success: true })
      expect((await add(orderNo)).result).toEqual({ success: true, duplicate: true })
      expect(paths()).toEqual(['/api/user-info', '/api/order-add'])
    })

    test('takes it for done when the ERP has it already, as after an answer that was lost', async () => {
      const { orderNo } = await addWhole()
      at.answer = request => {
        const told = at.erp.answer(request)
        return request.path === '/api/order-add' ? { status: 502, body: 'lost' } : told
      }
      expect((await add(orderNo)).error).toMatchObject({ code: 'HOOK_THREW' })
      at.answer = at.erp.answer
      expect((await add(orderNo)).result).toEqual({ success: true })
      expect(at.erp.orders.size).toBe(1)
      expect((await add(orderNo)).result).toEqual({ success: true, duplicate: true })
    })

    test('sends a picked-up order without an address, under the name of the buyer', async () => {
      const { orderNo } = await addOrder(shop, { paid: 1 })
      await addLines(shop, orderNo)
      expect((await add(orderNo)).result).toEqual({ success: true })
      expect(at.erp.orders.get(orderNo)).toMatchObject({ order_type: '1', consignee: '试用买家', address: '' })
    })

    test.each([
      ['our own uid where that is set', { HAIDIAN_USER_ID: 'shop' }, {}, 'own', ['/api/order-add']],
      ['the guest for a buyer without a phone', { HAIDIAN_GUEST_USER_ID: '9' }, { phone: null }, 9, ['/api/order-add']]
    ])('sends as user_id %s', async (_, env, user, userId, called) => {
      const uid = await addUser(shop, user)
      const { orderNo } = await addWhole({ uid })
      expect((await add(orderNo, { env })).result).toEqual({ success: true })
      expect(at.erp.orders.get(orderNo)?.user_id).toBe(userId === 'own' ? uid : userId)
      expect(paths()).toEqual(called)
    })

    test('does not send the order of a buyer whom the ERP does not know, unless a guest is set', async () => {
      at.answer = failing('/api/user-info', { body: { code: -1, msg: '会员不存在' } })
      const { orderNo } = await addWhole()
      const { result } = await add(orderNo)
      expect(result).toMatchObject({
        success: false,
        retry: false,
        message: expect.stringContaining('HAIDIAN_GUEST')
      })
      expect(at.erp.orders.size).toBe(0)
      expect((await add(orderNo, { env: { HAIDIAN_GUEST_USER_ID: '9' } })).result).toEqual({ success: true })
    })

    test('is retried while the ERP cannot say who the buyer is', async () => {
      at.answer = failing('/api/user-info', { body: '<html>' })
      const { result } = await add((await addWhole()).orderNo, { env: { HAIDIAN_GUEST_USER_ID: '9' } })
      expect(result).toEqual({ success: false, message: expect.stringContaining('user-info') })
      expect(at.erp.orders.size).toBe(0)
    })

    test.each([
      [
        '-1',
        { body: { code: -1, msg: '参数错误' } },
        { success: false, retry: false, message: 'Haidian order-add: 参数错误' }
      ],
      [
        '"-1"',
        { body: { code: '-1', msg: '参数错误' } },
        { success: false, retry: false, message: 'Haidian order-add: 参数错误' }
      ],
      ['5', { body: { code: 5, msg: '忙' } }, { success: false, message: 'Haidian order-add: 忙' }],
      ['no code', { body: {} }, { success: false, message: expect.stringContaining('unexpected answer {}') }],
      ['a null code', { body: { code: null } }, { success: false, message: expect.stringContaining('unexpected') }],
      ['no JSON', { body: '<html>' }, { success: false, message: expect.stringContaining('<html>') }],
      [
        '404',
        { status: 404, body: 'x' },
        { success: false, retry: false, message: expect.stringContaining('HTTP 404') }
      ],
      [
        '401',
        { status: 401, body: 'x' },
        { success: false, retry: false, message: expect.stringContaining('HTTP 401') }
      ]
    ])('the answer %s is no success', async (_, failure, result) => {
      at.answer = failing('/api/order-add', failure)
      const { orderNo } = await addWhole()
      const run = await add(orderNo)
      expect(run.result).toEqual(result)
      at.answer = at.erp.answer
      expect((await add(orderNo)).result).toEqual({ success: true })
    })

    test.each([500, 503, 429, 408])('HTTP %i throws, and so is retried', async status => {
      at.answer = failing('/api/order-add', { status, body: { code: -1, msg: 'x' } })
      const { error, committed } = await add((await addWhole()).orderNo)
      expect(error).toMatchObject({ code: 'HOOK_THREW', message: expect.stringContaining(String(status)) })
      expect(committed).toBe(false)
    })

    test.each([[{ code: 0 }], [{ code: '0', msg: 'ok' }]])('takes %j for success', async body => {
      at.answer = failing('/api/order-add', { body })
      expect((await add((await addWhole()).orderNo)).result).toEqual({ success: true })
    })

    test('what a refusal must say to mean "sent before" is a setting', async () => {
      at.answer = failing('/api/order-add', { body: { code: -1, msg: 'duplicate order' } })
      const { orderNo } = await addWhole()
      expect((await add(orderNo)).result).toMatchObject({ retry: false })
      const env = { HAIDIAN_DUPLICATE_WORDS: 'x, duplicate' }
      expect((await add(orderNo, { env })).result).toEqual({ success: true })
    })

    test("leaves another merchant's orders alone", async () => {
      const { orderNo } = await addWhole({ mer_id: 2 })
      const { result } = await add(orderNo, { env: { HAIDIAN_MER_ID: '1' } })
      expect(result).toEqual({ success: true, skipped: "the order is merchant 2's" })
      expect(at.partner.requests).toHaveLength(0)
    })

    test('is retried while the order, or its lines, are not in the database', async () => {
      expect((await add('T-none')).result).toEqual({ success: false, message: 'order T-none is not in the database' })
      const { orderNo } = await addOrder(shop)
      expect((await add(orderNo)).result).toMatchObject({
        success: false,
        message: expect.stringContaining('no lines')
      })
      expect(at.partner.requests).toHaveLength(0)
    })

    test('signs by the recipe that is set', async () => {
      at.answer = () => ({ body: { code: 0, data: { uid: 1 } } })
      await add((await addWhole()).orderNo, { env: { HAIDIAN_SIGN_RECIPE: 'values', HAIDIAN_SIGN_CASE: 'upper' } })
      expect(at.partner.requests[0]?.body).toMatchObject({ sign: expect.stringMatching(/^[0-9A-F]{32}$/) })
      expect(bodyOf(0).sign).not.toBe(signed({ mobile: '13800007001' }).sign)
    })
  })
})
