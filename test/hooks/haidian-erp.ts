import { afterEach, beforeEach } from 'vitest'
import type { Json } from '../../runtime/model.ts'
import { runHook, startPartner } from '../support/run-hook.ts'
import { addAddress, addLines, addOrder } from './fixtures.ts'
import { type Body, libraries, onEveryShop, partnerSign, SECRET, type Shop } from './haidian-fixtures.ts'

type Partner = Awaited<ReturnType<typeof startPartner>>
export type Request = Partner['requests'][number]
export type Answer = { status?: number; body: unknown }

/** An ERP that checks what it gets as its document says: signature, types, required fields, money, order numbers. */
export function haidian() {
  const orders = new Map<string, Body>()
  const sent: Body[] = []
  const no = (msg: string): Answer => ({ body: { code: -1, msg } })
  const money = (value: Json | undefined) => typeof value === 'string' && /^\d+\.\d\d$/.test(value)

  function orderAdd(body: Body): Answer {
    const { user_id, order_sn, order_type, order_goods, add_time } = body
    if (!Number.isInteger(user_id) || typeof order_sn !== 'string' || !['1', '2'].includes(String(order_type)))
      return no('参数错误')
    if (![body.order_amount, body.goods_amount, body.shipping_fee].every(money)) return no('金额错误')
    if (!/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/.test(String(add_time))) return no('时间错误')
    if (!Array.isArray(order_goods) || order_goods.length === 0) return no('商品错误')
    for (const good of order_goods as Body[])
      if (!money(good.goods_price) || !money(good.goods_amount) || !/^\d+$/.test(String(good.goods_number)))
        return no('商品错误')
    if (orders.has(order_sn)) return no('订单已存在')
    orders.set(order_sn, body)
    return { body: { code: 0, msg: '成功' } }
  }

  function orderSend(body: Body): Answer {
    if (!orders.has(String(body.order_sn))) return no('订单不存在')
    if (!['自提', '配送'].includes(String(body.send_type))) return no('参数错误')
    if ((body.send_type === '配送') !== (body.express_no !== '')) return no('参数错误')
    sent.push(body)
    return { body: { code: 0, msg: '操作成功' } }
  }

  return {
    orders,
    sent,
    answer({ method, path, body: given, headers }: Request): Answer {
      const body = given as Body
      if (method !== 'POST' || !headers['content-type']?.startsWith('application/json')) return no('请求方式错误')
      if (typeof body !== 'object' || body.sign !== partnerSign(body)) return no('签名错误')
      if (path === '/api/user-info') return { body: { code: 0, data: { uid: '501', nickname: 'Minho' } } }
      if (path === '/api/order-add') return orderAdd(body)
      if (path === '/api/order-send') return orderSend(body)
      return { status: 404, body: 'not found' }
    }
  }
}

/** Runs a suite on every engine, each test with a fresh ERP. */
export function onEveryErp(title: string, suite: (at: ReturnType<typeof exchangeOf>) => void): void {
  onEveryShop(title, ({ shop }) => {
    const at = exchangeOf(shop)
    beforeEach(async () => {
      at.erp = haidian()
      at.answer = at.erp.answer
      at.partner = await startPartner(request => at.answer(request))
    })
    afterEach(() => at.partner.close())
    suite(at)
  })
}

/** A shop and an ERP, and how an outgoing hook is run between them. */
function exchangeOf(shop: Shop) {
  const at = {
    shop,
    erp: haidian(),
    /** What the ERP's server answers; tests may change it. */
    answer: haidian().answer,
    partner: {} as Partner,
    bodyOf: (index: number) => (at.partner.requests[index] as Request).body as Body,
    paths: (): string[] => at.partner.requests.map(({ path }) => path),
    /** Answers as the ERP does, but for one address. */
    failing: (path: string, failure: Answer) => (request: Request) =>
      request.path === path ? failure : at.erp.answer(request),
    run: async (hook: string, eventKey: string, payload: string, more: { env?: object; executionId?: string } = {}) =>
      runHook({
        shop,
        file: `haidian/${hook}.js`,
        event: { eventKey, payload },
        env: { HAIDIAN_API_URL: at.partner.url, HAIDIAN_SECRET: SECRET, ...more.env },
        libraries: await libraries(),
        ...(more.executionId ? { executionId: more.executionId } : {})
      }),
    add: (orderNo: string, more = {}) => at.run('push-order-add', 'ORDER_PAY_SUCCESS', orderNo, more),
    send: (orderNo: string, more = {}) => at.run('push-order-send', 'ORDER_DELIVERY_ALL', orderNo, more),
    receipt: (orderNo: string) => at.run('push-order-send', 'ORDER_CONFIRM_RECEIPT', orderNo),
    /** A paid order with lines and an address. */
    async addWhole(changes = {}) {
      const order = await addOrder(shop, { paid: 1, ...changes })
      await addLines(shop, order.orderNo)
      await addAddress(shop, order.orderNo)
      return order
    }
  }
  return at
}
