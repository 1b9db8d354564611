import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { engines } from '../support/databases.ts'
import { openTestShop, type Partner, runHook, startPartner, type TestShop } from '../support/run-hook.ts'

/** The sample scripts of the platform's own document, letter for letter: they are the script contract. */
const sample = (name: string): string => readFileSync(new URL(`./samples/${name}.js`, import.meta.url), 'utf8')

const ORDER = '202401010001'
const REFUND = 'RE202401010001'

describe.each(engines)('the document’s sample scripts run unchanged on $name', entry => {
  describe.skipIf(entry.missing)('', () => {
    let shop: TestShop
    let partner: Partner
    let env: Record<string, string>

    beforeAll(async () => {
      shop = await openTestShop(entry)
      partner = await startPartner(({ path }) =>
        path.startsWith('/erp/order/create')
          ? { body: { code: 0, data: { erpOrderId: 'ERP-7' } } }
          : { body: { code: 200, errcode: 0, message: 'ok' } }
      )
      env = {
        DINGTALK_WEBHOOK: `${partner.url}/robot/send?access_token=t`,
        ERP_API_URL: `${partner.url}/erp`,
        ERP_API_KEY: 'erp-key',
        SMS_API_URL: `${partner.url}/sms`,
        SMS_API_KEY: 'sms-key'
      }
    })
    afterAll(async () => {
      await shop.close()
      await partner.close()
    })
    beforeEach(() => void partner.requests.splice(0))

    const run = (name: string, eventKey: string, payload: string) =>
      runHook({ shop, script: sample(name), event: { eventKey, payload }, env })

    test('event-order-create tells the group of the order and its amount', async () => {
      const { result, error } = await run('event-order-create', 'ORDER_CREATE_SUCCESS', ORDER)
      expect(error).toBeNull()
      expect(result).toEqual({ success: true })
      const [order] = await shop.sql('SELECT total_price FROM eb_store_order WHERE order_id = ?', [ORDER])
      const [user] = await shop.sql(
        'SELECT nickname FROM eb_user u JOIN eb_store_order o ON o.uid = u.uid WHERE o.order_id = ?',
        [ORDER]
      )
      expect(partner.requests).toHaveLength(1)
      expect(partner.requests[0]).toMatchObject({
        method: 'POST',
        path: '/robot/send?access_token=t',
        body: {
          msgtype: 'text',
          text: {
            content: `【新订单通知】\n订单号:${ORDER}\n下单用户:${user?.nickname}\n订单金额:¥${(Number(order?.total_price) / 100).toFixed(2)}`
          }
        }
      })
    })

    test('erp-order-sync creates the order in the ERP and appends its number to the remark', async () => {
      const { result, logs, calls, committed } = await run('erp-order-sync', 'ORDER_PAY_SUCCESS', ORDER)
      expect(result).toEqual({ success: true, erpOrderId: 'ERP-7' })
      expect(committed).toBe(true)
      const lines = await shop.sql('SELECT product_id, cart_num, price FROM eb_store_order_info WHERE order_no = ?', [
        ORDER
      ])
      expect(partner.requests[0]?.headers.authorization).toBe('Bearer erp-key')
      expect(partner.requests[0]?.body).toMatchObject({
        sourceOrderNo: ORDER,
        sourceSystem: 'MISEB',
        items: lines.map(line => ({ skuCode: `MISEB_${line.product_id}`, quantity: line.cart_num }))
      })
      const [{ mark } = {}] = await shop.sql<{ mark: string }>('SELECT mark FROM eb_store_order WHERE order_id = ?', [
        ORDER
      ])
      expect(mark).toMatch(/ ERP:ERP-7$/)
      expect(logs.map(({ message }) => message)).toEqual([
        `处理订单支付成功事件: orderNo=${ORDER}`,
        `订单同步ERP成功: orderNo=${ORDER}, erpOrderId=ERP-7`
      ])
      expect(calls.map(({ kind }) => kind)).toEqual(['db', 'db', 'db', 'http', 'db'])
    })

    test('erp-order-sync reports an order that is missing as a failure', async () => {
      const { result, error } = await run('erp-order-sync', 'ORDER_PAY_SUCCESS', 'missing')
      expect(result).toEqual({ success: false, message: '订单不存在' })
      expect(error).toMatchObject({ code: 'HOOK_FAILED', message: '订单不存在' })
    })

    test('notify-shipping sends the parcel’s number to the buyer', async () => {
      expect((await run('notify-shipping', 'ORDER_DELIVERY_ALL', ORDER)).result).toEqual({ success: true })
      const [order] = await shop.sql('SELECT delivery_name, delivery_id FROM eb_store_order WHERE order_id = ?', [
        ORDER
      ])
      expect(partner.requests[0]).toMatchObject({
        path: '/sms/send',
        headers: { authorization: 'Bearer sms-key' },
        body: { params: { orderNo: ORDER, expressName: order?.delivery_name, expressNo: order?.delivery_id } }
      })
    })

    test('distribution-calc-commission writes one record and adds it to the balance', async () => {
      const balance = () =>
        shop.sql<{ brokerage_price: number }>('SELECT brokerage_price FROM eb_user WHERE uid = 2').then(([row]) => row)
      const before = await balance()
      const { result, committed } = await run('distribution-calc-commission', 'ORDER_CONFIRM_RECEIPT', ORDER)
      expect(result).toEqual({ success: true })
      expect(committed).toBe(true)
      const [order] = await shop.sql<{ id: number; pay_price: number }>(
        'SELECT id, pay_price FROM eb_store_order WHERE order_id = ?',
        [ORDER]
      )
      const commission = Math.floor(Number(order?.pay_price) * 0.1)
      const records = await shop.sql('SELECT uid, link_id, price FROM eb_user_brokerage_record')
      expect(records).toEqual([{ uid: 2, link_id: String(order?.id), price: commission }])
      expect(Number((await balance())?.brokerage_price)).toBe(Number(before?.brokerage_price) + commission)
    })

    test('erp-order-cancel tells the ERP', async () => {
      const { result, logs } = await run('erp-order-cancel', 'ORDER_CANCEL', ORDER)
      expect(result).toEqual({ success: true })
      expect(partner.requests[0]).toMatchObject({ path: '/erp/order/cancel', body: { sourceOrderNo: ORDER } })
      expect(logs.at(-1)?.message).toBe(
        `ERP订单取消同步: orderNo=${ORDER}, result={"code":200,"errcode":0,"message":"ok"}`
      )
    })

    test('notify-refund-apply tells the group who wants how much back', async () => {
      expect((await run('notify-refund-apply', 'ORDER_REFUND_APPLY', REFUND)).result).toEqual({ success: true })
      expect(JSON.stringify(partner.requests[0]?.body)).toMatch(/退款单号:RE202401010001\\n退款金额:¥\d+\.\d\d/)
    })

    test('erp-refund-sync sends the refund in yuan', async () => {
      const { result } = await run('erp-refund-sync', 'ORDER_REFUND_AGREE', REFUND)
      expect(result).toEqual({ success: true })
      const [refund] = await shop.sql('SELECT refund_price FROM eb_store_refund_order WHERE refund_order_no = ?', [
        REFUND
      ])
      expect(partner.requests[0]).toMatchObject({
        path: '/erp/refund/create',
        body: { sourceRefundNo: REFUND, sourceOrderNo: ORDER, refundAmount: Number(refund?.refund_price) / 100 }
      })
    })
  })
})
