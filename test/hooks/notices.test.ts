import { createHmac } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { engines } from '../support/databases.ts'
import { openTestShop, runHook, startPartner } from '../support/run-hook.ts'
import { addOrder, addRefund, addUser, oneRow } from './fixtures.ts'

type Shop = Awaited<ReturnType<typeof openTestShop>>
type Partner = Awaited<ReturnType<typeof startPartner>>

const taken = () => ({ body: { errcode: 0, errmsg: 'ok' } })

for (const engine of engines)
  describe.skipIf(engine.missing)(`the notices on ${engine.name}`, () => {
    let shop: Shop
    let partner: Partner
    let answer: () => { status?: number; body: unknown }

    beforeAll(async () => {
      shop = await openTestShop(engine)
    })
    afterAll(() => shop.close())
    beforeEach(async () => {
      answer = taken
      partner = await startPartner(() => answer())
    })
    afterEach(() => partner.close())

    const merchant = async () =>
      String((await oneRow(shop, 'SELECT mer_name FROM eb_merchant WHERE id = ?', [1])).mer_name)
    const textOf = () =>
      String((partner.requests[0]?.body as { text?: { content?: string } } | undefined)?.text?.content)
    const run = (file: string, payload: string, env: Record<string, string>, executionId?: string) =>
      runHook({ shop, file, event: { eventKey: 'ORDER_TEST', payload }, env, executionId })

    describe('by DingTalk', () => {
      const robot = () => ({ DINGTALK_WEBHOOK: `${partner.url}/robot/send?access_token=t1` })
      const tellOrder = (orderNo: string, env: object = {}, executionId?: string) =>
        run('event/order-create.js', orderNo, { ...robot(), ...env }, executionId)
      const tellRefund = (refundNo: string, env: object = {}) =>
        run('notify/refund-apply.js', refundNo, { ...robot(), ...env })

      test('order-create tells number, buyer, amount and merchant', async () => {
        const { orderNo } = await addOrder(shop, { total_price: 123_405 })
        expect((await tellOrder(orderNo)).result).toEqual({ success: true })
        expect(partner.requests).toHaveLength(1)
        expect(partner.requests[0]).toMatchObject({ method: 'POST', path: '/robot/send?access_token=t1' })
        expect(partner.requests[0]?.body).toEqual({ msgtype: 'text', text: { content: expect.any(String) } })
        expect(textOf().split('\n')).toEqual([
          '【新订单通知】',
          `商户:${await merchant()}`,
          `订单号:${orderNo}`,
          '下单用户:试用买家',
          '订单金额:¥1234.05'
        ])
      })

      test.each([
        [0, '¥0.00'],
        [9, '¥0.09'],
        [100, '¥1.00'],
        [99_999_999_999, '¥999999999.99']
      ])('order-create shows %i fen as %s', async (fen, shown) => {
        const { orderNo } = await addOrder(shop, { total_price: fen })
        await tellOrder(orderNo)
        expect(textOf()).toContain(`订单金额:${shown}`)
      })

      test('order-create tells of an order whose buyer and merchant are gone', async () => {
        const { orderNo } = await addOrder(shop, { uid: 69_999, mer_id: 0 })
        expect((await tellOrder(orderNo)).result).toEqual({ success: true })
        expect(textOf()).toContain('商户:平台自营')
        expect(textOf()).toContain('下单用户:未知用户')
      })

      test('order-create keeps a nickname on one line, and short', async () => {
        const uid = await addUser(shop, { nickname: `甲\n订单金额:¥0.00\t${'乙'.repeat(40)}` })
        const { orderNo } = await addOrder(shop, { uid })
        await tellOrder(orderNo)
        expect(textOf().split('\n')).toHaveLength(5)
        expect(textOf()).toContain('下单用户:甲 订单金额:¥0.00 乙')
      })

      test('refund-apply tells both numbers, amount and reason', async () => {
        const { orderNo } = await addOrder(shop)
        const refundNo = await addRefund(shop, orderNo, { refund_price: 5, refund_reason_wap: '颜色\n不对' })
        expect((await tellRefund(refundNo)).result).toEqual({ success: true })
        expect(textOf().split('\n')).toEqual([
          '【退款申请通知】',
          `商户:${await merchant()}`,
          `退款单号:${refundNo}`,
          `订单号:${orderNo}`,
          '申请用户:试用买家',
          '退款金额:¥0.05',
          '退款原因:颜色 不对',
          '请及时处理!'
        ])
      })

      test('refund-apply tells of a refund without a reason, cuts a long one', async () => {
        const { orderNo } = await addOrder(shop)
        await tellRefund(await addRefund(shop, orderNo, { refund_reason_wap: '' }))
        expect(textOf()).toContain('退款原因:未填写')
        partner.requests.length = 0
        await tellRefund(await addRefund(shop, orderNo, { refund_reason_wap: '长'.repeat(250) }))
        expect(textOf()).toContain(`退款原因:${'长'.repeat(199)}…\n`)
      })

      test('both are retried while their row is missing, and skipped without a robot', async () => {
        expect((await tellOrder('T-none')).result).toMatchObject({ success: false, message: expect.any(String) })
        expect((await tellRefund('RE-none')).result).toMatchObject({ success: false, message: expect.any(String) })
        const skipped = { success: true, skipped: 'DINGTALK_WEBHOOK is not set' }
        expect((await tellOrder('T-none', { DINGTALK_WEBHOOK: '' })).result).toEqual(skipped)
        expect((await tellRefund('RE-none', { DINGTALK_WEBHOOK: '' })).result).toEqual(skipped)
        expect(partner.requests).toHaveLength(0)
      })

      test('are signed when there is a secret, encoded exactly once', async () => {
        const { orderNo } = await addOrder(shop)
        await tellOrder(orderNo, { DINGTALK_SECRET: 'SECtest' })
        const path = partner.requests[0]?.path ?? ''
        const [, timestamp, sign] = /^\/robot\/send\?access_token=t1&timestamp=(\d{13})&sign=([^&]+)$/.exec(path) ?? []
        expect(Math.abs(Date.now() - Number(timestamp))).toBeLessThan(60_000)
        const expected = createHmac('sha256', 'SECtest').update(`${timestamp}\nSECtest`).digest('base64')
        expect(sign).toBe(encodeURIComponent(expected))
      })

      test.each([
        [310_000, 'keywords not in content'],
        [300_001, 'token is not exist'],
        [400_102, 'robot stopped'],
        [40_035, 'missing param'],
        [43_004, 'bad content type']
      ])('are dead at once on errcode %i (%s)', async (errcode, errmsg) => {
        answer = () => ({ body: { errcode, errmsg } })
        const { orderNo } = await addOrder(shop)
        const { result, logs } = await tellOrder(orderNo)
        expect(result).toEqual({ success: false, retry: false, message: `DingTalk ${errcode}: ${errmsg}` })
        expect(logs).toContainEqual(expect.objectContaining({ level: 'error' }))
      })

      test.each([
        [130_101, 'send too fast, exceed 20 times per minute'],
        [410_100, 'over limit'],
        [90_030, 'over limit'],
        [660_026, 'over limit'],
        [999_999, 'sending too fast']
      ])('rest ten minutes, muted, on errcode %i (%s)', async (errcode, errmsg) => {
        answer = () => ({ body: { errcode, errmsg } })
        const { orderNo } = await addOrder(shop)
        const { result } = await tellOrder(orderNo)
        expect(result).toEqual({ success: false, retryAfterMs: 600_000, message: `DingTalk ${errcode}: ${errmsg}` })
      })

      test.each([[{ errcode: -1, errmsg: 'system busy' }], [{ errcode: 1, errmsg: '?' }], [{}], ['<html>'], ['']])(
        'are retried on the answer %j',
        async body => {
          answer = () => ({ body })
          const { orderNo } = await addOrder(shop)
          const { result } = await tellOrder(orderNo)
          expect(result).toEqual({ success: false, message: expect.stringMatching(/^DingTalk /) })
        }
      )

      test('throw, and so are retried, on HTTP 502', async () => {
        answer = () => ({ status: 502, body: 'bad gateway' })
        const { orderNo } = await addOrder(shop)
        expect((await tellOrder(orderNo)).error).toMatchObject({ code: 'HOOK_THREW' })
      })
    })

    describe('shipping, by SMS,', () => {
      const tell = (orderNo: string, env: object = {}, executionId?: string) =>
        run('notify/shipping.js', orderNo, { SMS_API_URL: partner.url, SMS_API_KEY: 'key-2', ...env }, executionId)

      beforeEach(() => {
        answer = () => ({ body: { code: 0, message: 'ok' } })
      })

      test('tells the buyer carrier and number, and logs no full phone number', async () => {
        const { orderNo } = await addOrder(shop)
        const { result, logs } = await tell(orderNo)
        expect(result).toEqual({ success: true })
        expect(partner.requests).toHaveLength(1)
        expect(partner.requests[0]).toMatchObject({
          method: 'POST',
          path: '/send',
          headers: { authorization: 'Bearer key-2' }
        })
        expect(partner.requests[0]?.body).toEqual({
          phone: '13800007001',
          template: 'order_shipped',
          params: { orderNo, expressName: '试用快递', expressNo: 'SF0001' }
        })
        expect(logs.map(line => line.message)).toEqual([`SMS for order ${orderNo} sent to 138****7001`])
      })

      test('uses the template that is set; without a carrier its fields are empty', async () => {
        const { orderNo } = await addOrder(shop, { delivery_name: null, delivery_id: null })
        await tell(orderNo, { SMS_TEMPLATE_SHIPPED: 'SMS_42' })
        expect(partner.requests[0]?.body).toMatchObject({
          template: 'SMS_42',
          params: { orderNo, expressName: '', expressNo: '' }
        })
      })

      test.each([[null], [''], ['  ']])('sends nothing to a buyer with the phone %j', async phone => {
        const { orderNo } = await addOrder(shop, { uid: await addUser(shop, { phone }) })
        const { result, logs } = await tell(orderNo)
        expect(result).toEqual({ success: true, skipped: 'the buyer has no phone' })
        expect(logs).toContainEqual(expect.objectContaining({ level: 'warn' }))
        expect(partner.requests).toHaveLength(0)
      })

      test('sends nothing when the buyer is gone', async () => {
        const { orderNo } = await addOrder(shop, { uid: 69_999 })
        expect((await tell(orderNo)).result).toMatchObject({ success: true, skipped: expect.any(String) })
      })

      test('repeats itself with the same idempotency key in one execution, with another one in the next', async () => {
        const { orderNo } = await addOrder(shop)
        const keys = () => new Set(partner.requests.map(request => request.headers['idempotency-key']))
        await tell(orderNo, {}, `sms-${orderNo}`)
        await tell(orderNo, {}, `sms-${orderNo}`)
        expect(keys().size).toBe(1)
        await tell(orderNo, {}, `sms-${orderNo}-anew`)
        expect(keys().size).toBe(2)
      })

      test.each([[{ code: 0 }], [{ code: 200 }], [{ code: 'OK' }], [{ code: 'Ok' }], [{ success: true }], ['']])(
        'takes %j for sent',
        async body => {
          answer = () => ({ body })
          const { orderNo } = await addOrder(shop)
          expect((await tell(orderNo)).result).toEqual({ success: true })
        }
      )

      test('is retried on a refusal, dead at once on one that names the request', async () => {
        const { orderNo } = await addOrder(shop)
        answer = () => ({ body: { code: 1002, message: 'queue is full' } })
        expect((await tell(orderNo)).result).toEqual({ success: false, message: 'SMS service: 1002 queue is full' })
        answer = () => ({ body: { code: 'isv.MOBILE_NUMBER_ILLEGAL', message: 'no such number' } })
        expect((await tell(orderNo)).result).toMatchObject({ success: false, retry: false })
        answer = () => ({ status: 500, body: '' })
        expect((await tell(orderNo)).error).toMatchObject({ code: 'HOOK_THREW' })
      })

      test('is retried for an order that is not in the database, and skipped without an SMS service', async () => {
        expect((await tell('T-none')).result).toMatchObject({ success: false })
        for (const key of ['SMS_API_URL', 'SMS_API_KEY']) {
          const { result } = await tell('T-none', { [key]: '' })
          expect(result).toEqual({ success: true, skipped: `${key} is not set` })
        }
      })
    })
  })
