import { describe, expect, test } from 'vitest'
import type { Json } from '../../runtime/model.ts'
import { addOrder } from './fixtures.ts'
import { type Body, onEveryShop, order, post, refusal, signed, unique } from './haidian-fixtures.ts'

const METHODS = [
  ...['user-info', 'order-list', 'order-add', 'coupons-info', 'coupons-use', 'order-send'],
  ...['order-receive', 'points-push', 'user-add']
]

onEveryShop('every request from Haidian', ({ shop, askRun, addCoupon }) => {
  /** A request that each method answers with code 0. */
  const good = async (method: string): Promise<Body> => {
    if (method === 'user-info') return { mobile: '13800000001' }
    if (method === 'order-list') return { order_sn: '202401010001' }
    if (method === 'order-add' || method === 'order-receive') return order()
    if (method.startsWith('coupons')) return addCoupon()
    if (method === 'points-push')
      return { user_id: 1, points_sn: unique('P'), points: 5, add_time: '2024-01-02 03:04:05' }
    if (method === 'user-add') return { mobile: '13700007000', nickname: '试用' }
    const { orderNo, uid } = await addOrder(shop, { paid: 1, status: 0, delivery_id: null })
    return { user_id: uid, order_sn: orderNo, send_type: '配送', express_no: 'SF1' }
  }

  describe.each(METHODS)('%s', method => {
    test('answers code 0 with HTTP 200 to a right request', async () => {
      const { answer, status, error } = await askRun(method, await good(method))
      expect(answer).toMatchObject({ code: 0 })
      expect(status).toBe(200)
      expect(error).toBeNull()
    })

    test('refuses a signature that is missing, of another secret, or of other fields, and changes nothing', async () => {
      const body = await good(method)
      const right = signed(body)
      const before = await snapshot()
      for (const [sent, msg] of [
        [body, 'sign 不能为空'],
        [{ ...body, sign: 7 }, 'sign 不能为空'],
        [signed(body, 'another secret'), '签名错误'],
        [{ ...right, user_id: 2, mobile: '13800000002', order_sn: '202401010002' }, '签名错误'],
        [{ ...right, more: 'x' }, '签名错误'],
        [{ ...right, sign: `${String(right.sign).slice(0, 31)}z` }, '签名错误']
      ] as [Body, string][]) {
        const { answer, status } = await post(shop, method, sent)
        expect(answer).toEqual(refusal(msg))
        expect(Object.keys(answer as object)).toEqual(['code', 'msg'])
        expect(status).toBe(200)
      }
      expect(await snapshot()).toEqual(before)
    })

    test('refuses everything but a POST of a JSON object, and everything while no secret is set', async () => {
      for (const body of [null, 'text', [1], 7] as Json[])
        expect((await post(shop, method, body)).answer).toEqual(refusal('请求体应为 JSON 对象'))
      const body = signed(await good(method))
      expect((await post(shop, method, body, { verb: 'GET' })).answer).toEqual(refusal('请使用 POST'))
      expect((await post(shop, method, body, { env: { HAIDIAN_SECRET: '' } })).answer).toEqual(refusal('接口未开通'))
    })

    test('says nothing of what went wrong inside, though the run counts as failed', async () => {
      const { answer, status, error, logs } = await post(shop, method, signed(await good(method)), {
        env: { HAIDIAN_SIGN_RECIPE: 'none such' }
      })
      expect(answer).toEqual({ code: -1, msg: '系统繁忙，请稍后再试' })
      expect(status).toBe(200)
      expect(error).toMatchObject({ code: 'HOOK_FAILED' })
      expect(logs).toContainEqual(expect.objectContaining({ level: 'error' }))
    })
  })

  const snapshot = async () =>
    Promise.all(
      ['haidian_order', 'haidian_coupon', 'haidian_points', 'haidian_done', 'eb_user'].map(async table => [
        table,
        (await shop.sql(`SELECT * FROM ${table}`)).length,
        (await shop.sql('SELECT COUNT(*) AS n FROM haidian_coupon WHERE status = 1'))[0]
      ])
    )
})
