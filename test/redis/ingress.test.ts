import { pino } from 'pino'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { RuntimeError } from '../../runtime/errors.ts'
import { type Accept, createAccept } from '../../runtime/events/accept.ts'
import { CHANNEL, startRedis, toIncoming } from '../../runtime/events/ingress-redis.ts'
import { createRegistry } from '../../runtime/events/registry.ts'
import type { Database } from '../../runtime/store/database.ts'
import { createEventStore } from '../../runtime/store/events.ts'
import { createHookStore } from '../../runtime/store/hooks.ts'
import { onEachEngine } from '../store/fixtures.ts'
import { startProxy } from '../support/proxy.ts'
import { redisMissing, startRedisServer, type TestRedis } from '../support/redis.ts'
import { eventually } from '../support/sandhook.ts'

const NOW = 1_700_000_000_000
const logger = pino({ level: 'silent' })

const message = (payload: unknown, more: object = {}) =>
  JSON.stringify({ eventKey: 'ORDER_PAY_SUCCESS', payload, timestamp: NOW - 5, ...more })

describe('a message of the channel', () => {
  test.each<[string, string, object]>([
    ['as the platform sends it', message('WX1'), { payload: 'WX1', timestamp: NOW - 5 }],
    ['an order number of digits stays a text', message('202401010001'), { payload: '202401010001' }],
    ['a number', message(7), { payload: 7 }],
    ['an object', message({ orderId: 1 }), { payload: { orderId: 1 } }],
    [
      'an object as text',
      message('{"orderId":12345678901234567890}'),
      { payload: { orderId: '12345678901234567890' } }
    ],
    ['what only looks like one', message('{not JSON'), { payload: '{not JSON' }],
    ['a numeric text as time', message('WX1', { timestamp: String(NOW - 9) }), { timestamp: NOW - 9 }],
    ['seconds', message('WX1', { timestamp: NOW / 1000 }), { timestamp: NOW }],
    ['quoted once more', JSON.stringify(message('WX1')), { payload: 'WX1', eventKey: 'ORDER_PAY_SUCCESS' }],
    ['a merchant', message('WX1', { merId: '12' }), { merId: 12 }]
  ])('%s', (_what, text, event) => {
    expect(toIncoming(text, NOW)).toMatchObject(event)
  })
  test.each([
    ['no JSON', 'hello', /no JSON/],
    ['a list', '[]', /no JSON object/],
    ['no key', '{"payload":"1"}', /no event key/],
    ['a blank key', '{"payload":"1","eventKey":" "}', /no event key/],
    ['no payload', '{"eventKey":"X"}', /no payload/],
    ['a long key', message('1', { eventKey: 'x'.repeat(101) }), /more than 100/]
  ])('%s is no event', (_what, text, problem) => {
    expect(toIncoming(text, NOW)).toMatch(problem)
  })
  test('has one id for all who hear it, and another than the next one', () => {
    const id = (text: string, now = NOW) => (toIncoming(text, now) as { id: string }).id
    expect(id(message('WX1'), NOW + 60_000)).toBe(id(message('WX1')))
    expect(id(message('WX1', { timestamp: NOW - 4 }))).not.toBe(id(message('WX1')))
    const timeless = JSON.stringify({ eventKey: 'X', payload: '1' })
    expect(id(timeless, NOW + 5)).toBe(id(timeless, NOW))
    expect(id(timeless, NOW + 20_000)).not.toBe(id(timeless, NOW))
  })
})

let server: TestRedis
beforeAll(async () => {
  if (!redisMissing) server = await startRedisServer()
})
afterAll(() => server?.stop())

function listen(accept: Accept, url = server.url) {
  const onLost = vi.fn()
  const redis = startRedis({ url, accept, onLost, logger })
  onTestFinished(redis.stop)
  return {
    ...redis,
    onLost,
    up: () =>
      eventually(
        () =>
          redis.check().then(
            () => true,
            () => false
          ),
        15_000
      )
  }
}

const doorOf = (db: Database, onCounted: (source: string, events: number, duplicates: number) => void = () => {}) =>
  createAccept({
    ...{ db, registry: createRegistry(createHookStore(db)), merchantOf: async () => null, onAccepted: () => {} },
    onCounted
  })

describe.skipIf(redisMissing)(`the Redis channel${redisMissing ? ` (skipped: ${redisMissing})` : ''}`, () => {
  const heard: string[] = []
  const accept: Accept = async events => {
    heard.push(...events.map(({ payload }) => String(payload)))
    return []
  }
  beforeEach(() => {
    heard.length = 0
  })

  onEachEngine('accepted', (store, { engine }) => {
    test('once, although two nodes hear it, and in order', async () => {
      const counts = { events: 0, duplicates: 0 }
      const count = (_source: string, events: number, duplicates: number) => {
        counts.events += events
        counts.duplicates += duplicates
      }
      const other = engine === 'mysql' ? store.connect() : store.db
      const nodes = [listen(doorOf(store.db, count)), listen(doorOf(other, count))]
      for (const node of nodes) await node.up()
      for (let i = 0; i < 50; i++) expect(await server.publish(CHANNEL, message(`WX${i}`))).toBe(2)
      await eventually(async () => counts.events === 100)
      expect(counts.duplicates).toBe(50)
      const { items } = await createEventStore(store.db).list({}, { limit: 200 })
      expect(new Set(items.map(({ payload }) => payload)).size).toBe(50)
      expect(items[0]).toMatchObject({ source: 'redis', eventKey: 'ORDER_PAY_SUCCESS', timestamp: NOW - 5 })
    })
  })

  test('what is no event is counted, and disturbs nothing', async () => {
    const node = listen(accept)
    await node.up()
    for (const text of ['hello', message('WX1')]) await server.publish(CHANNEL, text)
    await eventually(async () => heard.length > 0)
    expect(heard).toEqual(['WX1'])
    expect(node.onLost.mock.calls).toEqual([[1, 'invalid']])
  })

  test('hears again after the server has been killed and started anew; readiness says so', async ({ skip }) => {
    if (!server.kill) return skip('the server of TEST_REDIS_URL is not ours to kill')
    const node = listen(accept)
    await node.up()
    await server.kill()
    await eventually(() =>
      node.check().then(
        () => false,
        error => error.code === 'BROKER_UNAVAILABLE'
      )
    )
    await server.restart()
    await node.up()
    await server.publish(CHANNEL, message('after'))
    await eventually(async () => heard.includes('after'))
  })

  test('hears again after its connection was cut; starts although nobody answers yet', async () => {
    const proxy = await startProxy(server.url)
    onTestFinished(proxy.close)
    await proxy.set('refuse')
    const node = listen(accept, proxy.through(server.url))
    await expect(node.check()).rejects.toMatchObject({ code: 'BROKER_UNAVAILABLE' })
    await proxy.set('pass')
    await node.up()
    proxy.cut()
    await eventually(() =>
      node.check().then(
        () => false,
        () => true
      )
    )
    await node.up()
    await server.publish(CHANNEL, message('after'))
    await eventually(async () => heard.includes('after'))
  })

  test('notices a server that has gone without a word', async () => {
    const proxy = await startProxy(server.url)
    onTestFinished(proxy.close)
    const node = listen(accept, proxy.through(server.url))
    await node.up()
    await proxy.set('hang')
    await eventually(
      () =>
        node.check().then(
          () => false,
          () => true
        ),
      20_000
    )
    proxy.cut()
    await proxy.set('pass')
    await node.up()
  })

  test('keeps what comes while the store is down', async () => {
    let down = true
    const node = listen(async (events, source) => {
      if (down) throw new RuntimeError('STORE_UNAVAILABLE', 'down')
      return accept(events, source)
    })
    await node.up()
    for (const payload of ['a', 'b']) await server.publish(CHANNEL, message(payload))
    await new Promise(resolve => setTimeout(resolve, 100))
    down = false
    await eventually(async () => heard.length === 2)
    expect(heard).toEqual(['a', 'b'])
    expect(node.onLost).not.toHaveBeenCalled()
  })
})
