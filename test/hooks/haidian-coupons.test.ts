import { describe, expect, test } from 'vitest'
import { oneRow } from './fixtures.ts'
import { type Body, onEveryShop, refusal } from './haidian-fixtures.ts'

onEveryShop("Haidian's coupons", ({ shop, ask, askRun, addCoupon }) => {
  describe('coupons', () => {
    test('coupons-info answers in the shape of the document', async () => {
      const coupon = await addCoupon()
      const data = {
        ...{ user_id: '1', coupons_id: coupon.coupons_id, coupons_sn: coupon.coupons_sn, coupons_name: '满减券' },
        ...{ status: '0', is_enable: '1', is_delete: '0' },
        ext_info: [
          {
            ...{ coupons_price: '10.50', min_goods_amount: '99.00' },
            ...{ start_time: '2020-01-01 00:00:00', end_time: '2099-01-01 00:00:00' }
          }
        ]
      }
      expect(await ask('coupons-info', coupon)).toEqual({ code: 0, data })
      expect(await ask('coupons-info', { user_id: 1, coupons_sn: coupon.coupons_sn })).toEqual({ code: 0, data })
      expect(await ask('coupons-info', { user_id: '1', coupons_id: Number(coupon.coupons_id) })).toEqual({
        code: 0,
        data
      })
    })

    test.each([
      ['used', { status: 1 }, { status: '1', is_enable: '0', is_delete: '0' }, '卡券已使用'],
      ['withdrawn', { is_delete: 1 }, { status: '0', is_enable: '0', is_delete: '1' }, '卡券已作废'],
      ['expired', { end_time: '2021-01-01 00:00:00' }, { status: '2', is_enable: '0' }, '卡券已过期'],
      ['not yet valid', { start_time: '2098-01-01 00:00:00' }, { status: '0', is_enable: '0' }, '卡券未到使用时间']
    ])('one that is %s is told to be so, and cannot be used', async (_, changes, info, msg) => {
      const coupon = await addCoupon(changes)
      expect(await ask('coupons-info', coupon)).toMatchObject({ code: 0, data: info })
      const { answer, announced } = await askRun('coupons-use', coupon)
      expect(answer).toEqual(refusal(msg))
      expect(announced).toEqual([])
      const { use_time } = await oneRow(shop, 'SELECT use_time FROM haidian_coupon WHERE coupons_sn = ?', [
        coupon.coupons_sn
      ])
      expect(use_time).toBeNull()
    })

    test('coupons-use uses it, tells of it once, and refuses a second use', async () => {
      const coupon = await addCoupon()
      const { answer, announced } = await askRun('coupons-use', coupon)
      expect(answer).toEqual({ code: 0, msg: '操作成功' })
      expect(announced).toEqual([
        expect.objectContaining({
          ...{ kind: 'event', eventKey: 'MARKETING_COUPON_USE', payload: Number(coupon.coupons_id) },
          id: `haidian-coupon-${coupon.coupons_id}`
        })
      ])
      const row = await oneRow(shop, 'SELECT status, use_time FROM haidian_coupon WHERE coupons_sn = ?', [
        coupon.coupons_sn
      ])
      expect(row).toEqual({ status: 1, use_time: expect.anything() })
      const again = await askRun('coupons-use', coupon)
      expect(again.answer).toEqual(refusal('卡券已使用'))
      expect(again.announced).toEqual([])
      expect(await ask('coupons-info', coupon)).toMatchObject({ data: { status: '1', is_enable: '0' } })
    })

    test('of calls at the same moment exactly one uses it', async () => {
      for (let round = 0; round < 5; round++) {
        const coupon = await addCoupon()
        const runs = await Promise.all([1, 2, 3, 4].map(() => askRun('coupons-use', coupon)))
        const codes = runs.map(run => (run.answer as { code: number }).code).sort()
        expect(codes).toEqual([-1, -1, -1, 0])
        expect(runs.flatMap(run => run.announced)).toHaveLength(1)
      }
    })

    test.each(['coupons-info', 'coupons-use'])('%s refuses what is wrong or not this member’s', async method => {
      const coupon = await addCoupon()
      const other = await addCoupon()
      for (const [body, msg] of [
        [{ coupons_id: coupon.coupons_id }, 'user_id 不能为空'],
        [{ user_id: 'x', coupons_id: coupon.coupons_id }, 'user_id 必须是正整数'],
        [{ user_id: 1 }, 'coupons_id、coupons_sn 至少填一个'],
        [{ user_id: 1, coupons_id: `${coupon.coupons_id}x` }, 'coupons_id 必须是正整数'],
        [{ user_id: 1, coupons_sn: 'x'.repeat(65) }, 'coupons_sn 不能超过 64'],
        [{ user_id: 1, coupons_sn: 'none-such' }, '卡券不存在'],
        [{ user_id: 2, coupons_id: coupon.coupons_id }, '卡券不存在'],
        [{ user_id: 1, coupons_id: coupon.coupons_id, coupons_sn: other.coupons_sn }, '卡券不存在']
      ] as [Body, string][])
        expect(await ask(method, body)).toEqual(refusal(msg))
    })
  })
})
