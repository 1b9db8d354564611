import type { ConsumeMessage } from 'amqplib'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { TopicRow } from '../../runtime/config-files.ts'
import { createAccept } from '../../runtime/events/accept.ts'
import { refeed } from '../../runtime/events/dead-letters.ts'
import { deliveryOf, echoesAmong, identify } from '../../runtime/events/delivery.ts'
import { createInterpret } from '../../runtime/events/message-events.ts'
import { createRegistry } from '../../runtime/events/registry.ts'
import { createTopicMap } from '../../runtime/events/topic-map.ts'
import type { Json } from '../../runtime/model.ts'
import { type Database, migrate, openDatabase } from '../../runtime/store/database.ts'
import { createEventStore } from '../../runtime/store/events.ts'
import { createIdPairStore } from '../../runtime/store/id-pairs.ts'
import { createMessageStore, type DeadMessage, type MessageStore } from '../../runtime/store/messages.ts'
import { insertExecutions, newExecution } from '../../runtime/store/queue.ts'
import { engines, type TestDatabase } from '../support/databases.ts'

const rawOf = (topic: string, body: Json, redelivered: boolean, properties: object = {}): ConsumeMessage =>
  ({
    content: Buffer.from(JSON.stringify(body)),
    fields: { routingKey: topic, redelivered },
    properties: { headers: {}, ...properties }
  }) as unknown as ConsumeMessage
const first = (body: Json, properties?: object) => deliveryOf(rawOf('t', body, false, properties))
const again = (body: Json, properties?: object) => deliveryOf(rawOf('t', body, true, properties))

describe.each(engines)('on $name', ({ make, missing }) => {
  describe.skipIf(missing)('', () => {
    let database: TestDatabase
    let db: Database
    let store: MessageStore

    beforeEach(async () => {
      database = await make()
      db = openDatabase(database.url)
      await migrate(db)
      store = createMessageStore(db)
    })
    afterEach(async () => {
      await db.destroy()
      await database.drop()
    })

    const registry = createRegistry({
      revision: async () => '1',
      published: async () => ({ revision: '1', hooks: [] })
    })
    const acceptance = () =>
      createAccept({ ...{ db, registry, merchantOf: async () => null }, onAccepted: () => {}, onCounted: () => {} })
    const dead = (id: string, more: Partial<DeadMessage> = {}): DeadMessage => ({
      ...{ id, topic: 't', reason: 'why', body: '{}', sentAt: null, receivedAt: 1_000 },
      ...more
    })

    describe('the identity of a message', () => {
      /** What is accepted of a delivery, as its events' ids would be. */
      const accept = (id: string) => acceptance()([{ id, eventKey: 'E', payload: '1' }], 'amqp')

      test('is new for each that is delivered for the first time, whatever it says', async () => {
        const batch = [first({ a: 1 }), first({ a: 1 })]
        await identify(batch, store)
        expect(batch[0]?.identity).toMatch(/^mq:[0-9a-f]{40}:[0-9a-f-]{36}$/)
        expect(batch[1]?.identity).not.toBe(batch[0]?.identity)
      })
      test('is the former one for what the broker delivers again, in any spelling', async () => {
        const [before, after, other] = [first({ a: 1, b: 2 }), again({ b: 2, a: 1 }), again({ a: 1, b: 3 })]
        await identify([before], store)
        await accept(`${before.identity}#2:raw`)
        await identify([after, other], store)
        expect(after.identity).toBe(before.identity)
        expect(other.identity).not.toBe(before.identity)
      })
      test('is found within a batch, and with a message that was a dead letter', async () => {
        const [before, after, buried, dug] = [first({ a: 1 }), again({ a: 1 }), first({ z: 1 }), again({ z: 1 })]
        await identify([before, after, buried], store)
        expect(after.identity).toBe(before.identity)
        await store.bury(dead(buried.identity, { receivedAt: Date.now() }))
        await identify([dug], store)
        expect(dug.identity).toBe(buried.identity)
      })
      test('is forgotten after ten minutes', async () => {
        const [before, after] = [first({ a: 1 }), again({ a: 1 })]
        await identify([before], store)
        await accept(before.identity)
        await db('sandhook_events').update({ received_at: Date.now() - 601_000 })
        await identify([after], store)
        expect(after.identity).not.toBe(before.identity)
      })
      test('is its id where it has one', async () => {
        const batch = [first({}, { messageId: 'm' }), again({}, { messageId: 'x'.repeat(300) })]
        await identify(batch, store)
        expect(batch.map(({ identity }) => identity)).toEqual(['amqp:m', expect.stringMatching(/^amqp:[0-9a-f]{64}$/)])
      })
    })

    test("what this installation's hooks have sent is known as an echo", async () => {
      const event = {
        ...{ id: 'e', eventKey: 'E', payload: '1', timestamp: 1, merId: null, key: null },
        ...{ source: 'http' as const, depth: 0 }
      }
      const execution = newExecution(event, { id: 'h', path: '/custom/h' }, 1)
      await db.transaction(trx => insertExecutions(trx, [{ execution, lane: null }]))
      const stranger = '0'.repeat(8) + execution.id.slice(8)
      const [own, foreign, plain] = [
        first({}, { messageId: `${execution.id}:1`, appId: 'sandhook' }),
        first({}, { messageId: `${stranger}:1`, appId: 'sandhook' }),
        first({}, { messageId: `${execution.id}:1` })
      ]
      expect(await echoesAmong([own, foreign, plain], store)).toEqual(new Set([own]))
    })

    test('id pairs: what is told last holds, within one call, too', async () => {
      const pairs = createIdPairStore(db)
      await pairs.remember([{ kind: 'refund', erpId: '1', frontId: 'a' }])
      await pairs.remember([
        { kind: 'refund', erpId: '1', frontId: 'b' },
        { kind: 'refund', erpId: '1', frontId: 'c' },
        { kind: 'other', erpId: '1', frontId: 'd' }
      ])
      const find = await pairs.find([
        ...['1', '2'].map(erpId => ({ kind: 'refund', erpId })),
        { kind: 'other', erpId: '1' }
      ])
      expect([find('refund', '1'), find('refund', '2'), find('other', '1')]).toEqual(['c', undefined, 'd'])
    })

    test('dead messages are listed by pages, the newest first, and purged', async () => {
      for (const [i, id] of ['a', 'b', 'c', 'd'].entries())
        await store.bury(dead(id, { receivedAt: 1_000 + Math.floor(i / 2), topic: id === 'd' ? 'u' : 't' }))
      await store.bury(dead('a', { reason: 'new', receivedAt: 9_000 }))
      const one = await store.listDead({}, { limit: 3 })
      expect(one.items.map(({ id }) => id)).toEqual(['d', 'c', 'b'])
      const two = await store.listDead({}, { limit: 3, cursor: one.nextCursor as string })
      expect(two).toEqual({ items: [dead('a', { reason: 'new' })], nextCursor: null })
      expect((await store.listDead({ topic: 'u' }, { limit: 3 })).items).toHaveLength(1)
      expect(await store.purgeDead(1_001, 10)).toBe(2)
      expect(await store.countDead({})).toBe(2)
    })

    test('with a corrected table dead messages become events, once, and what still fits none stays', async () => {
      const interpretBy = (rows: TopicRow[]) =>
        createInterpret({ map: createTopicMap(rows), pairs: createIdPairStore(db), registry })
      const table: TopicRow[] = [{ topic: 't', event: 'E', payload: ['no'], each: true }]
      const accept = acceptance()
      const bodies = ['[{"no":1},{"nr":2},{"no":3}]', '{"nr":4}', '{"x":5}', 'no json']
      for (const [i, body] of bodies.entries()) await store.bury(dead(`amqp:m${i}`, { body, receivedAt: 1_000 + i }))
      // The first delivery of the list had accepted what it could.
      await accept(
        [1, 3].map(no => ({ id: no === 1 ? 'amqp:m0' : 'amqp:m0#3', eventKey: 'E', payload: String(no) })),
        'amqp'
      )
      expect(await refeed({ topic: 't', limit: 10 }, { store, interpret: interpretBy(table), accept })).toEqual({
        ...{ refed: 0, left: 4 }
      })
      const corrected: TopicRow[] = [{ ...(table[0] as TopicRow), payload: ['no', 'nr'] }]
      const needs = { store, interpret: interpretBy(corrected), accept }
      expect(await refeed({ topic: undefined, limit: 10 }, needs)).toEqual({ refed: 2, left: 2 })
      expect(await refeed({ topic: undefined, limit: 10 }, needs)).toEqual({ refed: 0, left: 2 })
      const { items } = await createEventStore(db).list({}, { limit: 10 })
      expect(Object.fromEntries(items.map(({ id, payload }) => [id, payload]))).toEqual({
        ...{ 'amqp:m0': '1', 'amqp:m0#2': '2', 'amqp:m0#3': '3', 'amqp:m1': '4' }
      })
      expect(items.find(({ id }) => id === 'amqp:m1')).toMatchObject({ timestamp: 1_001, data: { nr: 4 } })
    })
  })
})
