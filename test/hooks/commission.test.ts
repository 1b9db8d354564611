import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { engines } from '../support/databases.ts'
import { openTestShop, runHook } from '../support/run-hook.ts'
import { addOrder, addRefund, addUser, oneRow } from './fixtures.ts'

type Shop = Awaited<ReturnType<typeof openTestShop>>

for (const engine of engines)
  describe.skipIf(engine.missing)(`commission on ${engine.name}`, () => {
    let shop: Shop
    beforeAll(async () => {
      shop = await openTestShop(engine)
    })
    afterAll(() => shop.close())

    const credit = (orderNo: string, env: Record<string, string> = {}, executionId?: string) =>
      runHook({
        shop,
        file: 'distribution/calc-commission.js',
        event: { eventKey: 'ORDER_CONFIRM_RECEIPT', payload: orderNo },
        env,
        executionId
      })
    const revoke = (refundNo: string, eventKey = 'ORDER_REFUND_AGREE', executionId?: string) =>
      runHook({
        shop,
        file: 'distribution/revoke-commission.js',
        event: { eventKey, payload: refundNo },
        env: {},
        executionId
      })

    /** An order of a buyer with a spreader, whose balance is 1 000 fen. */
    const sell = async (changes: Record<string, number> = {}) => {
      const spreader = await addUser(shop, { brokerage_price: 1_000 })
      const { orderNo } = await addOrder(shop, { uid: await addUser(shop, { spread_uid: spreader }), ...changes })
      return { orderNo, spreader }
    }
    const balanceOf = async (uid: number) =>
      (await oneRow(shop, 'SELECT brokerage_price FROM eb_user WHERE uid = ?', [uid])).brokerage_price
    const recordsOf = (uid: number) =>
      shop.sql(
        `SELECT link_id, link_type, type, price, balance, status, brokerage_level
         FROM eb_user_brokerage_record WHERE uid = ? ORDER BY id`,
        [uid]
      )
    const takenBack = async (uid: number) => (await recordsOf(uid)).filter(row => row.type === 2).map(row => row.price)

    describe('calc-commission', () => {
      test('credits the spreader with a tenth, rounded down to a fen', async () => {
        const { orderNo, spreader } = await sell({ pay_price: 22_509 })
        const { result, error, committed } = await credit(orderNo)
        expect(error).toBeNull()
        expect(result).toEqual({ success: true, spreadUid: spreader, commission: 2_250, takenBack: 0 })
        expect(committed).toBe(true)
        expect(await balanceOf(spreader)).toBe(3_250)
        expect(await recordsOf(spreader)).toEqual([
          { link_id: orderNo, link_type: 'order', type: 1, price: 2_250, balance: 3_250, status: 3, brokerage_level: 1 }
        ])
      })

      test('pays nothing on freight', async () => {
        const { orderNo, spreader } = await sell({ pay_price: 10_800, freight: 800 })
        expect((await credit(orderNo)).result).toMatchObject({ commission: 1_000 })
        expect(await balanceOf(spreader)).toBe(2_000)
      })

      test.each([
        ['0.29', 100, 29],
        ['0.0001', 10_000, 1],
        ['1', 777, 777],
        ['0.125', 7, 0],
        ['0', 99_999, 0],
        ['0.1', 9, 0],
        ['0.1', 10, 1],
        ['0.1', 0, 0],
        ['0.3333', 900_000_000_000, 299_970_000_000]
      ])('at the rate %s makes of %i fen %i fen', async (rate, payPrice, commission) => {
        const { orderNo, spreader } = await sell({ pay_price: payPrice })
        expect((await credit(orderNo, { COMMISSION_RATE: rate })).result).toMatchObject({ success: true })
        expect(await balanceOf(spreader)).toBe(1_000 + commission)
        expect(await recordsOf(spreader)).toHaveLength(commission > 0 ? 1 : 0)
      })

      test('pays nothing when freight is all that was paid', async () => {
        const { orderNo, spreader } = await sell({ pay_price: 500, freight: 800 })
        expect((await credit(orderNo)).result).toEqual({ success: true, skipped: 'less than 1 fen' })
        expect(await balanceOf(spreader)).toBe(1_000)
      })

      test.each([['10%'], ['1.5'], ['-0.1'], ['0.00001'], ['1.0001'], ['ten']])(
        'is dead at once with the rate %s',
        async rate => {
          const { orderNo, spreader } = await sell()
          const { result } = await credit(orderNo, { COMMISSION_RATE: rate })
          expect(result).toMatchObject({ success: false, retry: false, message: expect.stringContaining(`'${rate}'`) })
          expect(await recordsOf(spreader)).toEqual([])
        }
      )

      test('credits once, whether the execution or the event is repeated', async () => {
        const { orderNo, spreader } = await sell({ pay_price: 10_000 })
        await credit(orderNo, {}, `credit-${orderNo}`)
        const again = await credit(orderNo, {}, `credit-${orderNo}`)
        const anew = await credit(orderNo, {}, `credit-${orderNo}-anew`)
        expect(again.result).toMatchObject({ success: true, commission: 1_000 })
        expect(anew.result).toEqual({ success: true, skipped: 'credited before' })
        expect(await balanceOf(spreader)).toBe(2_000)
        expect(await recordsOf(spreader)).toHaveLength(1)
      })

      test('credits once when several executions of one order run at the same time', async () => {
        const { orderNo, spreader } = await sell({ pay_price: 10_000 })
        const runs = await Promise.all([1, 2, 3, 4].map(number => credit(orderNo, {}, `${orderNo}-${number}`)))
        expect(runs.filter(run => (run.result as { commission?: number } | null)?.commission)).toHaveLength(1)
        expect(await balanceOf(spreader)).toBe(2_000)
        expect(await recordsOf(spreader)).toHaveLength(1)
      })

      test('loses no credit when two orders of one spreader are received at the same time', async () => {
        const { orderNo, spreader } = await sell({ pay_price: 10_000 })
        const other = await addOrder(shop, { uid: await addUser(shop, { spread_uid: spreader }), pay_price: 20_000 })
        const runs = await Promise.all([credit(orderNo), credit(other.orderNo)])
        expect(runs.map(run => run.committed)).toEqual([true, true])
        expect(await balanceOf(spreader)).toBe(4_000)
        const balances = (await recordsOf(spreader)).map(row => Number(row.balance))
        expect(Math.max(...balances)).toBe(4_000)
      })

      test('credits nobody else when the buyer has a new spreader by the time of a replay', async () => {
        const { orderNo, spreader } = await sell()
        await credit(orderNo)
        const other = await addUser(shop)
        await shop.sql('UPDATE eb_user SET spread_uid = ? WHERE spread_uid = ?', [other, spreader])
        expect((await credit(orderNo)).result).toEqual({ success: true, skipped: 'credited before' })
        expect(await balanceOf(other)).toBe(0)
      })

      test('credits nobody when the buyer has no spreader, is his own, or is gone', async () => {
        const lone = await addOrder(shop)
        expect((await credit(lone.orderNo)).result).toEqual({ success: true, skipped: 'no spreader' })
        const own = await addOrder(shop)
        await shop.sql('UPDATE eb_user SET spread_uid = uid WHERE uid = ?', [own.uid])
        expect((await credit(own.orderNo)).result).toEqual({ success: true, skipped: 'no spreader' })
        expect(await balanceOf(own.uid)).toBe(0)
        const gone = await addOrder(shop, { uid: 69_999 })
        expect((await credit(gone.orderNo)).result).toEqual({ success: true, skipped: 'no spreader' })
      })

      test('succeeds without a record when the spreader is gone', async () => {
        const { orderNo } = await addOrder(shop, { uid: await addUser(shop, { spread_uid: 69_998 }) })
        const { result, logs } = await credit(orderNo)
        expect(result).toEqual({ success: true, skipped: 'the spreader is gone' })
        expect(logs).toContainEqual(expect.objectContaining({ level: 'warn' }))
        expect(await recordsOf(69_998)).toEqual([])
      })

      test('is retried for an order that is not in the database', async () => {
        const { result } = await credit('T-none')
        expect(result).toEqual({ success: false, message: 'order T-none is not in the database' })
      })

      test('takes refunds off at once that were settled before the receipt, and only those', async () => {
        const { orderNo, spreader } = await sell({ pay_price: 10_000 })
        const settled = await addRefund(shop, orderNo, { refund_price: 2_500, refund_status: 3 })
        await addRefund(shop, orderNo, { refund_price: 5_000, refund_status: 1 })
        expect((await revoke(settled)).result).toEqual({ success: true, takenBack: 0 })
        expect((await credit(orderNo)).result).toMatchObject({ commission: 1_000, takenBack: 250 })
        expect((await revoke(settled, 'ORDER_RETURN_COMPLETE')).result).toEqual({ success: true, takenBack: 0 })
        expect(await balanceOf(spreader)).toBe(1_750)
      })
    })

    describe('revoke-commission', () => {
      const sellAndCredit = async (payPrice: number, freight = 0) => {
        const sold = await sell({ pay_price: payPrice, freight })
        await credit(sold.orderNo)
        return sold
      }

      test('takes back as much of the commission as was refunded of the order', async () => {
        const { orderNo, spreader } = await sellAndCredit(10_000)
        const refundNo = await addRefund(shop, orderNo, { refund_price: 3_339 })
        const { result, committed } = await revoke(refundNo)
        expect(result).toEqual({ success: true, takenBack: 333 })
        expect(committed).toBe(true)
        expect(await balanceOf(spreader)).toBe(1_667)
        expect((await recordsOf(spreader))[1]).toEqual({
          link_id: refundNo,
          link_type: 'refund',
          type: 2,
          price: 333,
          balance: 1_667,
          status: 3,
          brokerage_level: 1
        })
      })

      test('takes back nothing twice, whether the execution, the event or its sibling comes again', async () => {
        const { orderNo, spreader } = await sellAndCredit(10_000)
        const refundNo = await addRefund(shop, orderNo, { refund_price: 5_000 })
        await revoke(refundNo, 'ORDER_REFUND_AGREE', `revoke-${refundNo}`)
        await revoke(refundNo, 'ORDER_REFUND_AGREE', `revoke-${refundNo}`)
        expect((await revoke(refundNo)).result).toEqual({ success: true, takenBack: 0 })
        expect((await revoke(refundNo, 'ORDER_RETURN_COMPLETE')).result).toEqual({ success: true, takenBack: 0 })
        expect(await takenBack(spreader)).toEqual([500])
        expect(await balanceOf(spreader)).toBe(1_500)
      })

      test.each([
        ['in three pieces', 10_007, 0, [3_333, 3_333, 3_341]],
        ['in ten pieces below a fen of commission each', 50, 0, [5, 5, 5, 5, 5, 5, 5, 5, 5, 5]],
        ['at once', 10_007, 0, [10_007]],
        ['beyond what was paid', 10_007, 0, [9_000, 9_000]],
        ['with its freight', 10_800, 800, [10_800]],
        ['without its freight', 10_800, 800, [4_000, 6_000]]
      ])('takes back the whole commission, no more, of an order refunded %s', async (_, payPrice, freight, pieces) => {
        const { orderNo, spreader } = await sellAndCredit(payPrice, freight)
        const credited = Math.floor((payPrice - freight) / 10)
        for (const piece of pieces) await revoke(await addRefund(shop, orderNo, { refund_price: piece }))
        const taken = await takenBack(spreader)
        expect(taken).toHaveLength(pieces.length)
        expect(taken.reduce<number>((sum, fen) => sum + Number(fen), 0)).toBe(credited)
        expect(await balanceOf(spreader)).toBe(1_000)
      })

      test('never takes back more than the part that was refunded', async () => {
        const { orderNo, spreader } = await sellAndCredit(10_007)
        for (const piece of [1, 2, 3]) await revoke(await addRefund(shop, orderNo, { refund_price: piece }))
        expect(await takenBack(spreader)).toEqual([0, 0, 0])
        await revoke(await addRefund(shop, orderNo, { refund_price: 5 }))
        expect(await takenBack(spreader)).toEqual([0, 0, 0, 1])
      })

      test('lets the balance fall below zero when it was withdrawn', async () => {
        const { orderNo, spreader } = await sellAndCredit(10_000)
        await shop.sql('UPDATE eb_user SET brokerage_price = 0 WHERE uid = ?', [spreader])
        await revoke(await addRefund(shop, orderNo, { refund_price: 10_000 }))
        expect(await balanceOf(spreader)).toBe(-1_000)
      })

      test('changes nothing for an order without commission, or when the spreader is gone', async () => {
        const { orderNo } = await addOrder(shop)
        expect((await revoke(await addRefund(shop, orderNo))).result).toEqual({ success: true, takenBack: 0 })
        const sold = await sellAndCredit(10_000)
        await shop.sql('DELETE FROM eb_user WHERE uid = ?', [sold.spreader])
        expect((await revoke(await addRefund(shop, sold.orderNo))).result).toEqual({ success: true, takenBack: 0 })
        expect(await takenBack(sold.spreader)).toEqual([])
      })

      test('is retried while the refund or its order is not in the database', async () => {
        expect((await revoke('RE-none')).result).toMatchObject({ success: false })
        const stray = await addRefund(shop, 'T-none')
        expect((await revoke(stray)).result).toEqual({ success: false, message: 'order T-none is not in the database' })
      })
    })
  })
