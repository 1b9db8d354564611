import { pino } from 'pino'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { readConfig } from '../../runtime/config.ts'
import { RuntimeError } from '../../runtime/errors.ts'
import { createAccept } from '../../runtime/events/accept.ts'
import { fingerprintOf } from '../../runtime/events/canonical-json.ts'
import { readMessage } from '../../runtime/events/message-body.ts'
import { createInterpret } from '../../runtime/events/message-events.ts'
import { createBudget, createMonitor, type MonitorNeeds } from '../../runtime/events/monitor.ts'
import { createRegistry } from '../../runtime/events/registry.ts'
import { createTopicMap } from '../../runtime/events/topic-map.ts'
import type { Database } from '../../runtime/store/database.ts'
import { createEventStore } from '../../runtime/store/events.ts'
import { createHookStore } from '../../runtime/store/hooks.ts'
import { createIdPairStore } from '../../runtime/store/id-pairs.ts'
import { createSentMessageStore } from '../../runtime/store/sent-messages.ts'
import { onEachEngine, onMysql, walk } from '../store/fixtures.ts'
import { eventually } from '../support/sandhook.ts'

const logger = pino({ level: 'silent' })
const HOUR = 3_600_000

const print = (n: number) => fingerprintOf('order.payment', { orderCode: n })
const sentMessage = (n: number, topic = 'order.payment') => ({
  fingerprint: print(n),
  topic,
  body: `{"orderCode":${n}}`
})

/** What is missing, by number. */
const missingOf = async (db: Database, before: number) =>
  (await createSentMessageStore(db).missing(before, undefined, { limit: 100 })).items.map(
    ({ fingerprint }) => fingerprint
  )

onEachEngine('sent messages', (store, { engine }) => {
  const empty = () => store.db('sandhook_sent_messages').delete()

  test('are missing until they come', async () => {
    await empty()
    const sent = createSentMessageStore(store.db)
    const now = Date.now()
    await sent.report(
      [1, 2, 3].map(n => sentMessage(n)),
      now - 2_000
    )
    await sent.report([sentMessage(4)], now)
    await sent.received([sentMessage(2)], now)
    expect(new Set(await missingOf(store.db, now - 1_000))).toEqual(new Set([print(1), print(3)]))
    expect(await sent.totalMissing(now - 1_000)).toBe(2)
    expect(await sent.totalMissing(now)).toBe(3)
    expect(await sent.get(print(2))).toMatchObject({ receivedAt: now, missingSince: null, body: '{"orderCode":2}' })
    expect(await sent.get(print(1))).toMatchObject({ reportedAt: now - 2_000, missingSince: now - 2_000 })
  })

  test.each<[string, ('report' | 'receive')[], number, boolean]>([
    ['the message before its report', ['receive', 'report'], 60_000, false],
    ['a repeated report', ['report', 'receive', 'report'], 60_000, false],
    ['a message that came twice', ['report', 'receive', 'receive'], 60_000, false],
    ['the same message again, much later, and lost', ['report', 'receive', 'report'], HOUR, true],
    ['the same message again, much later', ['report', 'receive', 'report', 'receive'], HOUR, false],
    ['two reports, none came', ['report', 'report'], 60_000, true]
  ])('%s', async (_what, steps, apart, missing) => {
    await empty()
    const sent = createSentMessageStore(store.db)
    let now = Date.now() - steps.length * apart
    for (const step of steps) {
      if (step === 'report') await sent.report([sentMessage(1)], now)
      else await sent.received([sentMessage(1)], now)
      now += apart
    }
    expect(await missingOf(store.db, now)).toEqual(missing ? [print(1)] : [])
  })

  test('are listed page by page, the longest missing first, and counted by topic', async () => {
    await empty()
    const sent = createSentMessageStore(store.db)
    const now = Date.now()
    for (let n = 0; n < 7; n++)
      await sent.report([sentMessage(n, n < 5 ? 'order.payment' : 'order.submit')], now - 100 + (n >> 1))
    const all = await walk(page => sent.missing(now, undefined, page), 2)
    expect(all).toHaveLength(7)
    expect(all.map(({ missingSince }) => missingSince)).toEqual([100, 100, 99, 99, 98, 98, 97].map(ago => now - ago))
    expect((await sent.missing(now, 'order.submit', { limit: 10 })).items).toHaveLength(2)
    expect(await sent.countMissing(now)).toEqual([
      { topic: 'order.payment', count: 5 },
      { topic: 'order.submit', count: 2 }
    ])
  })

  test('go after the retention; what nobody reported goes sooner', async () => {
    await empty()
    const sent = createSentMessageStore(store.db)
    await sent.report([sentMessage(1)], 1_000)
    await sent.received([sentMessage(2)], 1_000)
    await sent.received([sentMessage(3)], 1_000)
    await sent.report([sentMessage(3)], 9_000)
    expect(await sent.purgeReceived(5_000, 10)).toBe(1)
    expect(await sent.purge(5_000, 10)).toBe(1)
    expect([await sent.get(print(1)), await sent.get(print(2))]).toEqual([null, null])
    expect(await sent.get(print(3))).not.toBeNull()
  })

  function open(needs: Partial<MonitorNeeds> = {}) {
    const accept = createAccept({
      ...{ db: store.db, registry: createRegistry(createHookStore(store.db)), merchantOf: async () => null },
      ...{ onAccepted: () => {}, onCounted: () => {} }
    })
    const onLost = vi.fn()
    const sent = createSentMessageStore(store.db)
    const monitor = createMonitor({
      ...{ sent, accept, onLost, logger, graceSeconds: 0, reportsPerSecond: 1_000 },
      interpret: createInterpret({
        ...{ map: createTopicMap(readConfig({}).topics), pairs: createIdPairStore(store.db) },
        registry: createRegistry(createHookStore(store.db))
      }),
      ...needs
    })
    onTestFinished(monitor.stop)
    return { monitor, onLost, sent }
  }
  const listed = async (monitor: ReturnType<typeof open>['monitor']) =>
    (await monitor.missing(undefined, { limit: 100 })).items

  test('reported as text or object meet the message that came', async () => {
    await empty()
    const { monitor, onLost } = open()
    monitor.report('order.payment', '{"orderCode": 1, "big": 12345678901234567890}')
    monitor.report('order.payment', { orderCode: 2 })
    monitor.report('order.payment', 'no JSON at all')
    await eventually(async () => (await listed(monitor)).length === 3)
    await monitor.noteReceived([
      { topic: 'order.payment', body: readMessage('{"big":12345678901234567890,"orderCode":1}') },
      { topic: 'order.payment', body: readMessage('{ "orderCode": 2 }') },
      { topic: 'order.submit', body: readMessage('no JSON at all') }
    ])
    expect((await listed(monitor)).map(({ body }) => body)).toEqual(['no JSON at all'])
    expect(onLost).not.toHaveBeenCalled()
  })

  test('a missing one can be made an event, once', async () => {
    await empty()
    const { monitor, sent } = open()
    monitor.report('order.payment', '{"orderCode":7}')
    const [message] = await eventually(async () => {
      const found = await listed(monitor)
      return found.length > 0 && found
    })
    const id = message?.fingerprint as string
    const [accepted] = await monitor.inject(id)
    expect(accepted).toMatchObject({ id: `monitor:${id}`, duplicate: false })
    expect(await createEventStore(store.db).get(`monitor:${id}`)).toMatchObject({
      ...{ eventKey: 'ORDER_PAY_SUCCESS', payload: '7', source: 'monitor', data: { orderCode: 7 } }
    })
    expect(await listed(monitor)).toEqual([])
    expect(await sent.get(id)).toMatchObject({ eventIds: [`monitor:${id}`], missingSince: null })
    await expect(monitor.inject(id)).rejects.toMatchObject({ code: 'CONFLICT' })
    // Had the node died before it could note that:
    await store.db('sandhook_sent_messages').update({ missing_since: 1 })
    expect(await monitor.inject(id)).toMatchObject([{ duplicate: true }])
  })

  test('one that the map does not know stays missing', async () => {
    await empty()
    const { monitor } = open()
    monitor.report('strange', 'x')
    await eventually(async () => (await listed(monitor)).length === 1)
    await expect(monitor.inject(fingerprintOf('strange', 'x'))).rejects.toMatchObject({ code: 'EVENT_INVALID' })
    await expect(monitor.inject(fingerprintOf('strange', 'x'))).rejects.toThrow(/no row of config\/topics.json/)
    await expect(monitor.inject('0'.repeat(64))).rejects.toMatchObject({ code: 'NOT_FOUND' })
    expect(await listed(monitor)).toHaveLength(1)
  })

  test('reports are kept through an outage, in bounds, and never fail', async () => {
    await empty()
    const sent = createSentMessageStore(store.db)
    let down = true
    const report: typeof sent.report = async (messages, now) => {
      if (down) throw new RuntimeError('STORE_UNAVAILABLE', 'down')
      return sent.report(messages, now)
    }
    const { monitor, onLost } = open({ sent: { ...sent, report }, reportsPerSecond: 1_000_000 })
    for (let n = 0; n < 100; n++) monitor.report('order.payment', { n, text: 'x'.repeat(250_000) })
    const lost = onLost.mock.calls.length
    expect(lost).toBeGreaterThan(20)
    expect(onLost.mock.calls[0]).toEqual([1, 'full'])
    down = false
    await eventually(async () => (await monitor.countMissing())[0]?.count === 100 - lost)
  })

  if (engine === 'sqlite') {
    test('more in a second than is allowed is not kept', async () => {
      await empty()
      const { monitor, onLost } = open({ reportsPerSecond: 10 })
      for (let n = 0; n < 100; n++) monitor.report('order.payment', { n })
      expect(onLost.mock.calls.length).toBeGreaterThanOrEqual(80)
      expect(onLost.mock.calls[0]).toEqual([1, 'rate'])
    })

    test('the count for the alert is there soon after the start', async () => {
      await empty()
      await createSentMessageStore(store.db).report([sentMessage(1)], 1_000)
      const { monitor } = open()
      await eventually(async () => monitor.missingCount === 1)
    })
  }
})

onMysql('sent messages of several nodes', store => {
  test('are noted by all of them at once', async () => {
    const nodes = [store.connect(), store.connect(), store.connect()].map(createSentMessageStore)
    const all = Array.from({ length: 300 }, (_, n) => sentMessage(n))
    const shuffled = () => all.toSorted(() => Math.random() - 0.5)
    await Promise.all(
      nodes.flatMap(sent => [sent.report(shuffled(), Date.now()), sent.received(shuffled(), Date.now())])
    )
    expect(await nodes[0]?.totalMissing(Date.now() + 1)).toBe(0)
  })
})

describe('the budget of a second', () => {
  test('counts reports and kilobytes, and begins anew each second', () => {
    const admit = createBudget(3)
    expect([1, 2, 3, 4].map(() => admit(10, 1_000))).toEqual([true, true, true, false])
    expect([admit(3_000, 2_000), admit(73, 2_500), admit(72, 2_900)]).toEqual([true, false, true])
    expect([admit(256_000, 3_000), admit(1, 3_999), admit(1, 4_000)]).toEqual([true, false, true])
  })
})
