import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createTargets, type Targets } from '../../runtime/host/targets.ts'
import type { Announcement } from '../../runtime/model.ts'
import { migrate, openDatabase } from '../../runtime/store/database.ts'
import { createTargetStore } from '../../runtime/store/targets.ts'
import { engines } from '../support/databases.ts'
import { openTestShop, type Partner, runHook, startPartner, type TestShop } from '../support/run-hook.ts'

const NOTICES = 200

describe.each(engines)('notices to a robot that takes twenty a minute, on $name', entry => {
  describe.skipIf(entry.missing)('', () => {
    let shop: TestShop
    let robot: Partner
    let targets: Targets
    let close: () => Promise<void>
    /** The clock at the target's door. */
    let now = 1_700_000_000_000
    const received: { at: number; text: string }[] = []

    beforeAll(async () => {
      shop = await openTestShop(entry)
      robot = await startPartner(({ body }) => {
        received.push({ at: now, text: (body as { text: { content: string } }).text.content })
        return { body: { errcode: 0, errmsg: 'ok' } }
      })
      const store = await entry.make()
      const db = openDatabase(store.url)
      await migrate(db)
      const { host } = new URL(robot.url)
      targets = createTargets({
        targets: [{ host, each: 'access_token', perMinute: 20, full: 'merge' }],
        breaker: { failures: 10, openMs: 30_000 },
        store: createTargetStore(db),
        now: () => now
      })
      close = async () => {
        await db.destroy()
        await store.drop()
      }
    })
    afterAll(async () => {
      await close()
      await robot.close()
      await shop.close()
    })

    const run = (file: string, eventKey: string, payload: string, executionId?: string) =>
      runHook({
        shop,
        executionId,
        runs: 1,
        file,
        targets,
        event: { eventKey, payload },
        env: { DINGTALK_WEBHOOK: `${robot.url}/robot/send?access_token=t` }
      })

    test('200 in a minute all arrive, merged, and no minute holds more than twenty messages', async () => {
      const orders = await shop.sql<{ order_id: string }>('SELECT order_id FROM eb_store_order ORDER BY id LIMIT 200')
      expect(orders).toHaveLength(NOTICES)
      const waiting: Announcement[] = []
      for (const { order_id } of orders) {
        const { error, announced } = await run('event/order-create.js', 'ORDER_CREATE_SUCCESS', order_id)
        expect(error).toBeNull()
        waiting.push(...announced)
        now += 300
      }
      expect(received).toHaveLength(20)
      expect(waiting).toHaveLength(NOTICES - 20)

      let deferred = 0
      while (waiting.length > 0) {
        const { report, announced } = await run(
          'notify/digest.js',
          'NOTIFY_DIGEST',
          'DingTalk',
          waiting[0]?.id.slice(-36)
        )
        if (report.error?.code === 'HTTP_DEFERRED') {
          deferred++
          now += report.error.retryAfterMs ?? 0
          continue
        }
        expect(report.error).toBeNull()
        waiting.shift()
        waiting.push(...announced)
      }
      // 180 messages are three digests, each put off once at most.
      expect(deferred).toBeLessThanOrEqual(3)

      const text = received.map(message => message.text).join('\n')
      for (const { order_id } of orders) expect(text.split(`订单号:${order_id}`)).toHaveLength(2)
      for (const { at } of received)
        expect(received.filter(other => other.at >= at && other.at < at + 60_000).length).toBeLessThanOrEqual(20)
      expect(received.length).toBeLessThan(30)
      expect(await shop.sql('SELECT id FROM notify_waiting')).toEqual([])
    })

    test('without the table a notice waits by itself', async () => {
      for (let i = 0; i < 20; i++) await run('event/order-create.js', 'ORDER_CREATE_SUCCESS', '202401010001')
      await shop.sql('DROP TABLE notify_waiting')
      const { result } = await run('event/order-create.js', 'ORDER_CREATE_SUCCESS', '202401010001')
      expect(result).toMatchObject({ success: false, retryAfterMs: 60_000 })
    })
  })
})
