import { describe, expect, test } from 'vitest'
import { addOrder, oneRow } from './fixtures.ts'
import { type Body, line, onEveryShop, order, refusal, unique } from './haidian-fixtures.ts'

onEveryShop('orders from Haidian', ({ shop, ask, askRun, countOf }) => {
  describe.each([
    ['order-add', '成功'],
    ['order-receive', '成功']
  ])('%s', (method, msg) => {
    test('keeps the order, which order-list then gives back', async () => {
      const sent = order()
      const run = await askRun(method, sent)
      expect(run.answer).toEqual({ code: 0, msg })
      expect(run.announced).toEqual([])
      const row = await oneRow(shop, 'SELECT * FROM haidian_order WHERE order_sn = ?', [String(sent.order_sn)])
      expect(row).toMatchObject({
        source: method,
        uid: 1,
        order_amount: 22_501,
        goods_amount: 23_001,
        shipping_fee: 500
      })
      const listed = (await ask('order-list', { order_sn: sent.order_sn as string })) as { data: Body }
      expect(listed.data).toMatchObject({
        ...{ order_sn: sent.order_sn, user_id: '1', order_type: '2', order_amount: '225.01', act_price: '10.00' },
        ...{ consignee: '王试用', add_time: sent.add_time, pay_time: sent.pay_time },
        order_goods: [{ goods_no: 'G1', goods_price: '99.00', goods_number: '2' }, { goods_no: 'G2' }]
      })
    })

    test('keeps it once, also when it comes twice at the same moment, and refuses another under its number', async () => {
      const sent = order()
      const answers = await Promise.all([ask(method, sent), ask(method, sent)])
      expect(answers).toEqual([
        { code: 0, msg },
        { code: 0, msg }
      ])
      expect(await ask(method, sent)).toEqual({ code: 0, msg })
      expect(await ask(method, { ...sent, consignee: '别人' })).toEqual(refusal('内容不同'))
      expect(await countOf('haidian_order', 'order_sn', String(sent.order_sn))).toBe(1)
    })

    test('takes numbers for text, epoch seconds for times, and a picked-up order without an address', async () => {
      const loose = { order_type: 1, consignee: '', address: null, pay_time: '', add_time: 1_704_067_200 }
      const sent = order({ ...loose, order_amount: 235.01, order_sn: Number(unique('9')) })
      expect(await ask(method, sent)).toEqual({ code: 0, msg })
      const listed = await ask('order-list', { order_sn: String(sent.order_sn) })
      expect(listed).toMatchObject({ data: { order_type: '1', add_time: '2024-01-01 08:00:00', pay_time: '' } })
    })

    test.each([
      [{ order_sn: '' }, 'order_sn 不能为空'],
      [{ order_sn: 'x'.repeat(33) }, 'order_sn 不能超过 32'],
      [{ order_sn: '202401010001' }, '订单号已存在'],
      [{ user_id: 'x' }, 'user_id 必须是正整数'],
      [{ user_id: 99_999_999 }, '会员不存在'],
      [{ order_amount: null }, 'order_amount 不能为空'],
      [{ order_amount: '-1' }, 'order_amount 必须是金额'],
      [{ order_amount: '1.005' }, 'order_amount 必须是金额'],
      [{ order_amount: '1e3' }, 'order_amount 必须是金额'],
      [{ order_amount: '235.02' }, 'order_amount 大于'],
      [{ goods_amount: '230.00' }, '合计不符'],
      [{ goods_amount: 'x' }, 'goods_amount 必须是金额'],
      [{ shipping_fee: undefined }, 'shipping_fee 不能为空'],
      [{ shipping_fee: [] }, 'shipping_fee 类型错误'],
      [{ order_type: '3' }, 'order_type 只能是 1、2'],
      [{ order_type: '' }, 'order_type 不能为空'],
      [{ consignee: '' }, 'consignee 不能为空'],
      [{ consignee: '长'.repeat(65) }, 'consignee 不能超过 64'],
      [{ address: '' }, 'address 不能为空'],
      [{ address: '长'.repeat(257) }, 'address 不能超过 256'],
      [{ add_time: '' }, 'add_time 不能为空'],
      [{ add_time: '2024-01-01' }, 'add_time 时间格式'],
      [{ add_time: '2024-13-01 00:00:00' }, 'add_time 时间格式'],
      [{ pay_time: 'yesterday' }, 'pay_time 时间格式'],
      [{ order_goods: null }, 'order_goods 不能为空'],
      [{ order_goods: [] }, 'order_goods 不能为空'],
      [{ order_goods: {} }, 'order_goods 不能为空'],
      [{ order_goods: Array.from({ length: 201 }, () => line()) }, 'order_goods 不能超过 200'],
      [{ order_goods: ['x'] }, 'order_goods[0]'],
      [{ order_goods: [null] }, 'order_goods[0] 应为对象'],
      ...(
        [
          [{ goods_no: '' }, 'goods_no 不能为空'],
          [{ goods_no: 'x'.repeat(65) }, 'goods_no 不能超过 64'],
          [{ goods_name: null }, 'goods_name 不能为空'],
          [{ goods_name: 'x'.repeat(129) }, 'goods_name 不能超过 128'],
          [{ goods_price: 'x' }, 'goods_price 必须是金额'],
          [{ goods_number: '0' }, 'goods_number 必须是正整数'],
          [{ goods_number: '1.5' }, 'goods_number 必须是正整数'],
          [{ goods_amount: '' }, 'goods_amount 不能为空']
        ] as [Body, string][]
      ).map(([change, msg]) => [{ order_goods: [line(), line(change)] }, `order_goods[1].${msg}`])
    ] as [Body, string][])('refuses what is wrong, %#: $1', async (changes, msg) => {
      const sent = order(changes)
      expect(await ask(method, JSON.parse(JSON.stringify(sent)))).toEqual(refusal(msg))
      if (sent.order_sn) expect(await countOf('haidian_order', 'order_sn', String(sent.order_sn))).toBe(0)
    })
  })

  test('order-add needs a member, order-receive does not', async () => {
    expect(await ask('order-add', order({ user_id: null }))).toEqual(refusal('user_id 不能为空'))
    const sent = order({ user_id: null })
    expect(await ask('order-receive', sent)).toMatchObject({ code: 0 })
    expect(await oneRow(shop, 'SELECT uid FROM haidian_order WHERE order_sn = ?', [String(sent.order_sn)])).toEqual({
      uid: 0
    })
  })

  describe('order-send', () => {
    const newOrder = (changes = {}) =>
      addOrder(shop, { paid: 1, status: 0, delivery_id: null, delivery_name: null, ...changes })
    const rowOf = (orderNo: string) =>
      oneRow(shop, 'SELECT status, delivery_id, delivery_name FROM eb_store_order WHERE order_id = ?', [orderNo])

    test.each([
      ['配送', 'SF77', { status: 1, delivery_id: 'SF77', delivery_name: '试用快递' }, 'ORDER_DELIVERY_ALL'],
      ['自提', '', { status: 2, delivery_id: null, delivery_name: null }, 'ORDER_CONFIRM_RECEIPT']
    ])('marks an order, %s, and raises its event once', async (send_type, express_no, row, eventKey) => {
      const { orderNo, uid } = await newOrder()
      const body = { user_id: uid, order_sn: orderNo, send_type, express_no }
      const { answer, announced } = await askRun('order-send', body, { HAIDIAN_EXPRESS_NAME: '试用快递' })
      expect(answer).toEqual({ code: 0, msg: '操作成功' })
      expect(await rowOf(orderNo)).toEqual(row)
      expect(announced).toEqual([
        expect.objectContaining({ eventKey, payload: orderNo, id: `haidian-send-${orderNo}` })
      ])
      const again = await askRun('order-send', body)
      expect(again.answer).toEqual({ code: 0, msg: '操作成功' })
      expect(again.announced).toEqual([])
      expect(await rowOf(orderNo)).toEqual(row)
      expect(await ask('order-send', { ...body, send_type: '配送', express_no: 'SF78' })).toEqual(refusal('内容不同'))
      expect(await countOf('haidian_done', 'number', orderNo)).toBe(1)
    })

    test('of two calls at the same moment one raises the event, and both succeed', async () => {
      const { orderNo, uid } = await newOrder()
      const body = { user_id: uid, order_sn: orderNo, send_type: '配送', express_no: 'SF9' }
      const runs = await Promise.all([askRun('order-send', body), askRun('order-send', body)])
      expect(runs.map(run => run.answer)).toEqual(runs.map(() => ({ code: 0, msg: '操作成功' })))
      expect(runs.flatMap(run => run.announced)).toHaveLength(1)
    })

    test('a received order is still the same delivery; a delivered one was not picked up', async () => {
      const { orderNo, uid } = await newOrder({ status: 2, delivery_id: 'SF5' })
      const body = { user_id: uid, order_sn: orderNo, send_type: '配送', express_no: 'SF5' }
      expect(await ask('order-send', body)).toMatchObject({ code: 0 })
      expect(await ask('order-send', { ...body, send_type: '自提', express_no: '' })).toEqual(refusal('内容不同'))
    })

    test('sends an order of order-add, without an event', async () => {
      const sent = order()
      await ask('order-add', sent)
      const body = { user_id: 1, order_sn: sent.order_sn as string, send_type: '配送', express_no: 'SF3' }
      const { answer, announced } = await askRun('order-send', body)
      expect(answer).toMatchObject({ code: 0 })
      expect(announced).toEqual([])
      const row = await oneRow(shop, 'SELECT status, express_no FROM haidian_order WHERE order_sn = ?', [body.order_sn])
      expect(row).toEqual({ status: 1, express_no: 'SF3' })
      expect(await ask('order-send', body)).toMatchObject({ code: 0 })
    })

    test.each([
      [{ user_id: null }, {}, 'user_id 不能为空'],
      [{ user_id: 'x' }, {}, 'user_id 必须是正整数'],
      [{ order_sn: '' }, {}, 'order_sn 不能为空'],
      [{ order_sn: 'x'.repeat(33) }, {}, 'order_sn 不能超过 32'],
      [{ order_sn: 'none-such' }, {}, '订单不存在'],
      [{ user_id: 1 }, {}, '订单不存在'],
      [{ send_type: '' }, {}, 'send_type 不能为空'],
      [{ send_type: '2' }, {}, 'send_type 只能是 自提、配送'],
      [{ express_no: '' }, {}, 'express_no 不能为空'],
      [{ express_no: 'x'.repeat(65) }, {}, 'express_no 不能超过 64'],
      [{ send_type: '自提' }, {}, 'express_no 应为空'],
      [{}, { paid: 0 }, '订单未支付'],
      [{}, { status: 9 }, '订单已取消'],
      [{}, { status: 1, delivery_id: 'SF0' }, '内容不同']
    ] as [Body, Record<string, number>, string][])(
      'refuses %j of an order that is %j: %s',
      async (changes, order, msg) => {
        const { orderNo, uid } = await newOrder(order)
        const before = await rowOf(orderNo)
        const body = { user_id: uid, order_sn: orderNo, send_type: '配送', express_no: 'SF1', ...changes }
        const { answer, announced } = await askRun('order-send', body)
        expect(answer).toEqual(refusal(msg))
        expect(announced).toEqual([])
        expect(await rowOf(orderNo)).toEqual(before)
      }
    )

    test("does not see another merchant's order", async () => {
      const { orderNo, uid } = await newOrder({ mer_id: 2 })
      const body = { user_id: uid, order_sn: orderNo, send_type: '配送', express_no: 'SF1' }
      expect(await ask('order-send', body, { HAIDIAN_MER_ID: '1' })).toEqual(refusal('订单不存在'))
      expect(await ask('order-send', body, { HAIDIAN_MER_ID: '2' })).toMatchObject({ code: 0 })
    })
  })
})
