import { expect, test } from 'vitest'
import { transact } from '../../runtime/store/database.ts'
import { createEventStore, insertEvents, knownEvents } from '../../runtime/store/events.ts'
import { createExecutionStore } from '../../runtime/store/executions.ts'
import { enqueue, eventOf, onEachEngine, walk } from './fixtures.ts'

onEachEngine('events', (store, { engine }) => {
  const insert = (receivedAt: number, ...events: Parameters<typeof eventOf>[0][]) =>
    transact(store.db, trx => insertEvents(trx, events.map(eventOf), receivedAt))

  test.each([
    ['a string', '202401010001'],
    ['a number', 42],
    ['nothing', null],
    ['an object', { orderNo: '1', lines: [{ sku: '茶🍵', n: 1.5 }], 'a\\"b': "'" }],
    ['false', false]
  ])('come back as they were, with %s for payload', async (_, payload) => {
    const event = eventOf({ id: 'e', payload, merId: 7, key: 'k', source: 'amqp', depth: 2, data: { topic: 'x' } })
    await transact(store.db, trx => insertEvents(trx, [event], 123))
    const events = createEventStore(store.db)
    expect(await events.get('e')).toEqual({ ...event, receivedAt: 123 })
    expect(await events.getMany(['e', 'none'])).toEqual(new Map([['e', { ...event, receivedAt: 123 }]]))
    expect(await events.get('none')).toBeNull()
  })

  test('are known by their id, which nobody can use again', async () => {
    await insert(1, { id: 'a' })
    await transact(store.db, async trx => expect(await knownEvents(trx, ['a', 'A', 'b'])).toEqual(new Set(['a'])))
    await expect(insert(2, { id: 'b' }, { id: 'a' })).rejects.toThrow()
    expect(await store.db('sandhook_events').pluck('id')).toEqual(['a'])
  })

  test('are listed the newest first, each once, also when many came at the same moment', async () => {
    await insert(100, ...Array.from({ length: 9 }, (_, i) => ({ id: `same-${i}` })))
    await insert(200, { id: 'newer' })
    await insert(50, { id: 'older' })
    const { list } = createEventStore(store.db)
    for (const limit of [1, 2, 4, 11]) {
      const seen = (await walk(page => list({}, page), limit)).map(({ id }) => id)
      expect(seen).toEqual(['newer', ...Array.from({ length: 9 }, (_, i) => `same-${8 - i}`), 'older'])
    }
  })

  test('are found by event key, ordering key and merchant', async () => {
    await insert(
      1,
      { id: 'a', eventKey: 'PAID', key: '1', merId: 7 },
      { id: 'b', eventKey: 'PAID', key: '2', merId: 8 }
    )
    await insert(1, { id: 'c', eventKey: 'SHIPPED', key: '1', merId: 7 }, { id: 'd', eventKey: 'paid', key: null })
    const { list } = createEventStore(store.db)
    const found = async (filter: Parameters<typeof list>[0]) =>
      (await list(filter, { limit: 10 })).items.map(({ id }) => id).sort()
    expect(await found({ eventKey: 'PAID' })).toEqual(['a', 'b'])
    expect(await found({ key: '1' })).toEqual(['a', 'c'])
    expect(await found({ merId: 7, eventKey: 'PAID' })).toEqual(['a'])
    expect(await found({ merId: 9 })).toEqual([])
  })

  test('are purged when they are old and no execution names them any more', async () => {
    const events = createEventStore(store.db)
    await insert(100, { id: 'old-1' }, { id: 'old-2' }, { id: 'old-3' })
    await insert(200, { id: 'at the time' })
    await enqueue(store.db, { event: { id: 'with dead letter' }, execution: { status: 'dead' } })
    await store.db('sandhook_events').where({ id: 'with dead letter' }).update({ received_at: 100 })
    expect(await events.purge(200, 2)).toBe(2)
    expect(await events.purge(200, 2)).toBe(1)
    expect(await events.purge(200, 2)).toBe(0)
    expect((await store.db('sandhook_events').pluck('id')).sort()).toEqual(['at the time', 'with dead letter'])
  })

  test('outlive the execution that was purged by one round only', async () => {
    const executions = createExecutionStore(store.db)
    await enqueue(store.db, { execution: { status: 'succeeded', finishedAt: 1 } })
    const later = Date.now() + 60_000
    expect(await executions.purge(later, 10)).toBe(1)
    expect(await createEventStore(store.db).purge(later, 10)).toBe(1)
  })

  test('have room for the longest id, event key and ordering key that the door lets in', async () => {
    const event = { id: 'i'.repeat(128), eventKey: 'K'.repeat(100), key: '键'.repeat(191), merId: 'm'.repeat(64) }
    await insert(1, event)
    expect(await createEventStore(store.db).get(event.id), engine).toMatchObject(event)
  })
})
