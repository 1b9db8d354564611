import { describe, expect, test } from 'vitest'
import { addAddress, addLines, addOrder, addUser, oneRow } from './fixtures.ts'
import { type Body, onEveryShop, refusal, unique } from './haidian-fixtures.ts'

onEveryShop('order-list of Haidian', ({ shop, ask, addCoupon }) => {
  describe('order-list', () => {
    test("answers one order in the document's shape", async () => {
      const { orderNo, uid } = await addOrder(shop, { coupon_price: 500, total_price: 23_001, pay_type: 'alipay' })
      await addLines(shop, orderNo)
      await addAddress(shop, orderNo)
      await shop.sql('INSERT INTO haidian_goods VALUES (?, ?, 0, 11, ?, ?)', [
        unique('HD'),
        '绿茶',
        '250克',
        '2024-01-01 00:00:00'
      ])
      const no = (await oneRow(shop, "SELECT goods_no FROM haidian_goods WHERE product_id = 11 AND sku = '250克'", []))
        .goods_no
      const { id } = await oneRow(shop, 'SELECT id FROM eb_store_order WHERE order_id = ?', [orderNo])
      const { coupons_id } = await addCoupon({ order_no: orderNo })
      expect(await ask('order-list', { order_sn: orderNo })).toEqual({
        code: 0,
        data: {
          ...{ order_id: String(id), order_sn: orderNo, user_id: String(uid), order_type: '2' },
          ...{ order_amount: '225.01', shipping_fee: '0.00', goods_amount: '230.01', act_price: '5.00', coupons_id },
          ...{ pay_name: '支付宝', consignee: '王试用', address: '云川省青石市东湖区试用路 1 号' },
          ...{ add_time: '2024-01-01 08:00:00', pay_time: '2024-01-01 08:05:00' },
          order_goods: [
            { goods_no: no, goods_name: '绿茶', goods_price: '99.00', goods_number: '2', goods_amount: '198.00' },
            { goods_no: '12', goods_name: '茶杯', goods_price: '32.01', goods_number: '1', goods_amount: '32.01' }
          ]
        }
      })
    })

    test('a picked-up, unpaid order without lines has empty fields', async () => {
      const { orderNo } = await addOrder(shop, { pay_time: null, pay_type: '' })
      expect(await ask('order-list', { order_sn: orderNo })).toMatchObject({
        data: {
          ...{ order_type: '1', consignee: '试用买家', address: '', pay_time: '', pay_name: '', coupons_id: '' },
          order_goods: []
        }
      })
    })

    test('pages through a list, newest first, without losing or repeating an order', async () => {
      const uid = await addUser(shop, { phone: '13600002222' })
      for (const day of [1, 2, 3, 4, 5]) await addOrder(shop, { uid, create_time: `2024-02-0${day} 08:00:00` })
      await addOrder(shop, { uid, status: 9, create_time: '2024-02-06 08:00:00' })
      const env = { HAIDIAN_PAGE_SIZE: '2' }
      const pages = []
      for (const page of [1, 2, 3, 4]) {
        const answer = (await ask('order-list', { user_id: uid, page }, env)) as { data: Body[] }
        pages.push(answer.data.map(order => order.add_time))
      }
      const days = (...numbers: number[]) => numbers.map(day => `2024-02-0${day} 08:00:00`)
      expect(pages).toEqual([days(5, 4), days(3, 2), days(1), []])
      const byMobile = (await ask('order-list', { mobile: '13600002222', user_id: uid })) as { data: Body[] }
      expect(byMobile.data).toHaveLength(5)
      expect(await ask('order-list', { mobile: '13600002222', user_id: 1 })).toEqual({ code: 0, data: [] })
      const span = { user_id: uid, start_date: '2024-02-02', end_date: '2024-02-03 08:00:00' }
      expect(((await ask('order-list', span)) as { data: Body[] }).data.map(order => order.add_time)).toEqual(
        days(3, 2)
      )
    })

    test.each([
      ['2024-01-01', '2024-04-01', true],
      ['2024-01-01', '2024-04-02', false],
      ['2024-01-31', '2024-04-30', true],
      ['2024-01-31', '2024-05-01', false],
      ['2023-11-30', '2024-02-29', true],
      ['2023-11-30', '2024-03-01', false],
      ['2024-01-01 10:00:00', '2024-04-01 10:00:00', true],
      ['2024-01-01 10:00:00', '2024-04-01 10:00:01', false],
      ['2024-01-01 10:00:00', '2024-04-01', false],
      ['2024-01-01', '2024-01-01', true]
    ])('from %s to %s: allowed is %s', async (start_date, end_date, allowed) => {
      const answer = await ask('order-list', { start_date, end_date })
      expect(answer).toEqual(allowed ? { code: 0, data: expect.any(Array) } : refusal('时间段间隔不可超过3月'))
    })

    test.each([
      [{}, '至少填一个'],
      [{ page: 1 }, '至少填一个'],
      [{ user_id: 0 }, 'user_id 必须是正整数'],
      [{ user_id: -1 }, 'user_id 必须是正整数'],
      [{ user_id: 1.5 }, 'user_id 类型错误'],
      [{ user_id: '1 OR 1=1' }, 'user_id 必须是正整数'],
      [{ user_id: true }, 'user_id 类型错误'],
      [{ user_id: 1, page: 0 }, 'page 必须是正整数'],
      [{ user_id: 1, page: 'x' }, 'page 必须是正整数'],
      [{ mobile: 'x' }, 'mobile 不是手机号'],
      [{ order_sn: 'x'.repeat(33) }, 'order_sn 不能超过 32'],
      [{ order_sn: 'none-such' }, '订单不存在'],
      [{ start_date: '2024-01-01' }, '须同时填写'],
      [{ user_id: 1, end_date: '2024-01-01' }, '须同时填写'],
      [{ start_date: '2024-02-30', end_date: '2024-03-01' }, 'start_date 日期格式'],
      [{ start_date: '2024-1-1', end_date: '2024-03-01' }, 'start_date 日期格式'],
      [{ start_date: '2024-01-01', end_date: '2024-02-01 25:00:00' }, 'end_date 日期格式'],
      [{ start_date: '2024-02-02', end_date: '2024-02-01' }, 'start_date 不能晚于 end_date']
    ] as [Body, string][])('refuses what is wrong, %#: $1', async (body, msg) => {
      expect(await ask('order-list', body)).toEqual(refusal(msg))
    })

    test("gives a list for one order where that is set, and only one merchant's orders", async () => {
      const { orderNo } = await addOrder(shop, { mer_id: 2 })
      const listed = await ask('order-list', { order_sn: orderNo }, { HAIDIAN_LIST_SHAPE: 'list' })
      expect(listed).toMatchObject({ code: 0, data: [{ order_sn: orderNo }] })
      expect(await ask('order-list', { order_sn: orderNo }, { HAIDIAN_MER_ID: '2' })).toMatchObject({ code: 0 })
      expect(await ask('order-list', { order_sn: orderNo }, { HAIDIAN_MER_ID: '1' })).toEqual(refusal('订单不存在'))
    })
  })
})
