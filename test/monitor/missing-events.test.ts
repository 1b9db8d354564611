import { expect, onTestFinished, test } from 'vitest'
import { createAccept } from '../../runtime/events/accept.ts'
import { createMissingEvents, type Expected, type ExpectedEvent, without } from '../../runtime/events/missing-events.ts'
import { createRegistry } from '../../runtime/events/registry.ts'
import type { Json } from '../../runtime/model.ts'
import { createArrivals } from '../../runtime/store/arrivals.ts'
import { createEventStore } from '../../runtime/store/events.ts'
import { createHookStore } from '../../runtime/store/hooks.ts'
import { type Engine, onEachEngine, type TestStore } from '../store/fixtures.ts'
import { openTestShop } from '../support/run-hook.ts'

const PAID: ExpectedEvent = {
  eventKey: 'ORDER_PAY_SUCCESS',
  query: 'SELECT order_id AS payload, mer_id FROM eb_store_order WHERE paid = 1 AND pay_time > ?',
  ...{ hours: 24, graceSeconds: 300 }
}

async function open(store: TestStore, engine: Engine, entries: ExpectedEvent[] = [PAID]) {
  const shop = await openTestShop(engine)
  onTestFinished(shop.close)
  await shop.sql('DELETE FROM eb_store_order')
  const accept = createAccept({
    ...{ db: store.db, registry: createRegistry(createHookStore(store.db)), merchantOf: async () => null },
    ...{ onAccepted: () => {}, onCounted: () => {} }
  })
  const missing = createMissingEvents({ entries, shop: shop.database, arrivals: createArrivals(store.db), accept })
  return { shop, accept, missing }
}

onEachEngine('missing events', (store, engine) => {
  const prepare = async (entries?: ExpectedEvent[]) => {
    const { shop, accept, missing } = await open(store, engine, entries)
    const clock =
      engine.engine === 'mysql' ? 'NOW() - INTERVAL ? MINUTE' : "datetime('now', 'localtime', '-' || ? || ' minutes')"
    const pay = (orderNo: string, minutes: number, merId = 1, paid = 1) =>
      shop.sql(
        `INSERT INTO eb_store_order (order_id, uid, mer_id, paid, pay_time, create_time) VALUES (?, 1, ?, ?, ${clock}, ${clock})`,
        [orderNo, merId, paid, minutes, minutes]
      )
    return { shop, accept, missing, pay }
  }
  const event = (payload: Json, more: object = {}) => ({ eventKey: 'ORDER_PAY_SUCCESS', payload, ...more })

  test('are what was paid and never came, after the grace time and within the hours', async () => {
    const { accept, missing, pay } = await prepare()
    await pay('LOST', 60, 7)
    await pay('CAME', 60)
    await pay('YOUNG', 1)
    await pay('OLD', 25 * 60)
    await pay('UNPAID', 60, 1, 0)
    await pay('202401', 60)
    await accept([event('CAME'), event(202401), event('LOST', { eventKey: 'ORDER_CANCEL' })], 'http')
    const [comparison, ...others] = await missing.compare()
    expect(others).toEqual([])
    expect(comparison).toMatchObject({ eventKey: 'ORDER_PAY_SUCCESS', expected: 3 })
    expect(comparison?.missing).toEqual([{ payload: 'LOST', merId: 7, key: 'LOST' }])
    expect(await missing.compare('ORDER_PAY_SUCCESS')).toMatchObject([{ missing: [{ payload: 'LOST' }] }])
    await expect(missing.compare('ORDER_CANCEL')).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  test('are raised on request, some or all, and none twice', async () => {
    const { missing, pay } = await prepare()
    for (const orderNo of ['A', 'B', 'C']) await pay(orderNo, 60, 7)
    const some = await missing.raise('ORDER_PAY_SUCCESS', ['B', 'UNKNOWN'])
    expect(some).toMatchObject({ left: 2, events: [{ id: 'missing:ORDER_PAY_SUCCESS:B', duplicate: false }] })
    expect(await createEventStore(store.db).get('missing:ORDER_PAY_SUCCESS:B')).toMatchObject({
      ...{ source: 'monitor', merId: 7, payload: 'B', key: 'B' }
    })
    expect(await missing.raise('ORDER_PAY_SUCCESS', ['B'])).toEqual({ left: 2, events: [] })
    expect((await missing.raise('ORDER_PAY_SUCCESS')).events.map(({ id }) => id.at(-1)).sort()).toEqual(['A', 'C'])
    expect(await missing.compare()).toMatchObject([{ expected: 3, missing: [] }])
  })

  test('are found by an ordering key of their own', async () => {
    const query = "SELECT CONCAT('R', order_id) AS payload, order_id AS `key` FROM eb_store_order WHERE pay_time > ?"
    const { accept, missing, pay } = await prepare([{ ...PAID, eventKey: 'ORDER_REFUND_APPLY', query }])
    await pay('A', 60)
    await pay('B', 60)
    await accept([event('RA', { eventKey: 'ORDER_REFUND_APPLY', key: 'A' }), event('X', { key: 'B' })], 'http')
    expect((await missing.compare())[0]?.missing).toEqual([{ payload: 'RB', merId: null, key: 'B' }])
  })

  test('more than a thousand events are compared and raised in portions', async () => {
    const { accept, missing, shop } = await prepare()
    const clock = engine.engine === 'mysql' ? 'NOW() - INTERVAL 1 HOUR' : "datetime('now', 'localtime', '-1 hours')"
    for (let from = 0; from < 1_600; from += 200) {
      const values = Array.from({ length: 200 }, (_, i) => `('N${from + i}', 1, 1, 1, ${clock}, ${clock})`).join(', ')
      await shop.sql(`INSERT INTO eb_store_order (order_id, uid, mer_id, paid, pay_time, create_time) VALUES ${values}`)
    }
    await accept(
      Array.from({ length: 500 }, (_, i) => event(`N${i}`)),
      'http'
    )
    expect((await missing.compare())[0]?.missing).toHaveLength(1_100)
    expect(await missing.raise('ORDER_PAY_SUCCESS')).toMatchObject({ left: 100, events: { length: 1_000 } })
    expect(await missing.raise('ORDER_PAY_SUCCESS')).toMatchObject({ left: 0, events: { length: 100 } })
  })

  test.each([
    ['changes something', 'DELETE FROM eb_store_order WHERE pay_time > ?', 'DB_DENIED'],
    ['names no table', 'SELECT a AS payload FROM nowhere WHERE t > ?', 'DB_ERROR'],
    ['has no parameter', 'SELECT order_id AS payload FROM eb_store_order', 'ARGUMENT_INVALID']
  ])('a query that %s is refused', async (_what, query, code) => {
    const { missing } = await prepare([{ ...PAID, query }])
    await expect(missing.compare()).rejects.toMatchObject({ code })
  })
})

test('payloads that came are taken out, and each is there once', () => {
  const expected: Expected[] = ['a', 'b', 'a', 1, '1'].map(payload => ({ payload, merId: null, key: String(payload) }))
  expect(without(expected, new Set(['b'])).map(({ payload }) => payload)).toEqual(['a', 1])
})
