import { readFileSync } from 'node:fs'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Json } from '../../runtime/model.ts'
import { type Database, openDatabase } from '../../runtime/store/database.ts'
import { engines, type TestDatabase } from '../support/databases.ts'
import { eventually, type SandhookProcess, startSandhookProcess } from '../support/sandhook.ts'

/** The document's naive script: a record, then a balance, with no transaction of its own. */
const NAIVE = readFileSync(new URL('../contract/samples/distribution-calc-commission.js', import.meta.url), 'utf8')
const EVENTS = 800

describe.each(engines)('kill -9 in the middle of a batch of naive commissions on $name', entry => {
  describe.skipIf(entry.missing)('', () => {
    let database: TestDatabase
    let shop: Database
    let sandhook: SandhookProcess

    const start = async () => {
      sandhook = await startSandhookProcess({ DATABASE_URL: database.url, SANDHOOK_DEMO: 'on', SANDHOOK_RUNNERS: '2' })
    }

    beforeEach(async () => {
      database = await entry.make()
      await start()
      shop = openDatabase(database.url.replace('test.db', 'shop.db'))
      const hook = { path: '/custom/naive', events: ['NAIVE_COMMISSION'], script: NAIVE }
      expect((await sandhook.call('POST', '/admin/v1/hooks', hook)).status).toBe(201)
    })
    afterEach(async () => {
      await sandhook.end('SIGKILL')
      await shop.destroy()
      await database.drop()
    })

    const rows = async <Row>(sql: string): Promise<Row[]> => {
      const answer = (await shop.raw(sql)) as unknown as Row[] | [Row[]]
      return (Array.isArray(answer[0]) ? answer[0] : answer) as Row[]
    }
    const balances = async () =>
      new Map(
        (await rows<{ uid: number; brokerage_price: number }>('SELECT uid, brokerage_price FROM eb_user')).map(row => [
          row.uid,
          Number(row.brokerage_price)
        ])
      )
    const settled = async (): Promise<Record<string, number>> => {
      const { status, body } = await sandhook.call('GET', '/admin/v1/stats')
      expect(status, JSON.stringify(body)).toBe(200)
      return body.executions
    }

    /** Events on every order several times over, in chunks, as a shop would send them. */
    async function send(): Promise<void> {
      const orders = await rows<{ order_id: string }>(
        'SELECT o.order_id FROM eb_store_order o JOIN eb_user u ON u.uid = o.uid ORDER BY o.id'
      )
      for (let from = 0; from < EVENTS; from += 200) {
        const events = Array.from({ length: 200 }, (_, i) => ({
          id: `e-${from + i}`,
          eventKey: 'NAIVE_COMMISSION',
          payload: orders[(from + i) % orders.length]?.order_id as Json
        }))
        expect((await sandhook.call('POST', '/events', events)).status).toBe(202)
      }
    }

    async function provesExact(before: Map<number, number>): Promise<void> {
      const counts = await eventually(async () => {
        const now = await settled()
        return (now.succeeded ?? 0) + (now.dead ?? 0) >= EVENTS && now
      }, 110_000)
      expect(counts).toMatchObject({ succeeded: EVENTS })
      const records = await rows<{ uid: number; n: number; sum: number | string }>(
        'SELECT uid, COUNT(*) AS n, SUM(price) AS sum FROM eb_user_brokerage_record GROUP BY uid'
      )
      const expected = await rows<{ n: number }>(
        `SELECT COUNT(*) AS n FROM eb_store_order o JOIN eb_user u ON u.uid = o.uid WHERE u.spread_uid > 0`
      )
      const orders = await rows<{ n: number }>('SELECT COUNT(*) AS n FROM eb_store_order')
      expect(EVENTS % Number(orders[0]?.n)).toBe(0)
      const rounds = EVENTS / Number(orders[0]?.n)
      expect(records.reduce((sum, row) => sum + Number(row.n), 0)).toBe(Number(expected[0]?.n) * rounds)
      const after = await balances()
      for (const { uid, sum } of records)
        if (after.has(uid)) expect([uid, (after.get(uid) ?? 0) - (before.get(uid) ?? 0)]).toEqual([uid, Number(sum)])
    }

    test('of the runners: every event is settled once and the ledger is exact', async () => {
      const before = await balances()
      const sending = send()
      for (let kills = 0; kills < 5; kills++) {
        await eventually(async () => ((await settled()).succeeded ?? 0) > kills * 100)
        for (const pid of sandhook.runners()) process.kill(pid, 'SIGKILL')
      }
      await sending
      await provesExact(before)
    }, 180_000)

    test('of the main process: every event is settled once and the ledger is exact', async () => {
      const before = await balances()
      await send()
      for (const at of [100, 400]) {
        await eventually(async () => ((await settled()).succeeded ?? 0) > at)
        await sandhook.end('SIGKILL')
        await start()
      }
      await provesExact(before)
    }, 180_000)
  })
})
