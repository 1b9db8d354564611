import { describe, expect, test, vi } from 'vitest'
import { RuntimeError } from '../../runtime/errors.ts'
import { type AcceptNeeds, createAccept, keyOf } from '../../runtime/events/accept.ts'
import { createRegistry } from '../../runtime/events/registry.ts'
import type { Json } from '../../runtime/model.ts'
import type { Database } from '../../runtime/store/database.ts'
import { createEventStore } from '../../runtime/store/events.ts'
import { createHookStore, type HookFields } from '../../runtime/store/hooks.ts'
import { createQueue } from '../../runtime/store/queue.ts'
import { claimAll, claimOne, hookFields, onEachEngine, onMysql, succeeded, type TestStore } from '../store/fixtures.ts'

/** A door of one node. */
function open(db: Database, needs: Partial<AcceptNeeds> = {}) {
  const registry = createRegistry(createHookStore(db))
  const told = { onAccepted: () => {}, onCounted: () => {} }
  return createAccept({ db, registry, merchantOf: async () => null, ...told, ...needs })
}

const publish = ({ db }: TestStore, fields: Partial<HookFields> = {}) =>
  createHookStore(db).create(hookFields(fields), { script: 'return 1', compiled: null }, 'test')

const paid = (id: string, payload: Json = id) => ({ id, eventKey: 'ORDER_PAY_SUCCESS', payload })
const range = (count: number, prefix = 'e') => Array.from({ length: count }, (_, i) => `${prefix}${i}`)
const countOf = async (db: Database, table: string) => Number((await db(`sandhook_${table}`).count('* as n'))[0]?.n)

onEachEngine('accepting an event', (store, { engine }) => {
  test('writes it and an execution for each hook that subscribes', async () => {
    const a = await publish(store, { path: '/custom/a' })
    const b = await publish(store, { path: '/custom/b', events: ['*_SUCCESS'] })
    await publish(store, { path: '/custom/c', events: ['REFUND_*'] })
    const told = vi.fn()
    const counted = vi.fn()
    const accept = open(store.db, { onAccepted: told, onCounted: counted })
    const event = { ...paid('e1', '2024'), timestamp: 5, merId: 7, data: { raw: 1 }, depth: 1 }
    const [accepted] = await accept([event], 'amqp')
    expect(accepted).toMatchObject({ id: 'e1', duplicate: false })
    expect(await createEventStore(store.db).get('e1')).toMatchObject({ ...event, key: '2024', source: 'amqp' })
    const rows = await store.db('sandhook_executions').orderBy('hook_path')
    expect(rows.map(row => [row.hook_id, row.event_id, row.status, row.owner])).toEqual([
      [a.id, 'e1', 'queued', '7'],
      [b.id, 'e1', 'queued', '7']
    ])
    expect(rows.map(row => row.id).sort()).toEqual(accepted?.executions.sort())
    expect(told).toHaveBeenCalledTimes(1)
    expect(counted.mock.calls).toEqual([['amqp', 1, 0]])
  })

  test('fills in what its sender left out', async () => {
    const before = Date.now()
    const [accepted] = await open(store.db)([{ eventKey: 'X', payload: { a: 1 } }], 'http')
    const event = await createEventStore(store.db).get(accepted?.id as string)
    expect(event).toMatchObject({ key: null, merId: null, depth: 0, payload: { a: 1 } })
    expect(event?.timestamp).toBeGreaterThanOrEqual(before)
    expect(event).not.toHaveProperty('data')
  })

  test('takes its own key before that of its payload', async () => {
    await open(store.db)([{ ...paid('e1', '1'), key: 'own' }], 'http')
    expect(await createEventStore(store.db).get('e1')).toMatchObject({ key: 'own' })
  })

  test('answers an empty list with an empty list', async () => {
    expect(await open(store.db)([], 'http')).toEqual([])
  })

  test('accepts an id once: within a batch, among batches, and after a new start', async () => {
    await publish(store)
    const counted = vi.fn()
    const accept = open(store.db, { onCounted: counted })
    const first = await accept([paid('a', 'first'), paid('a', 'second'), paid('b')], 'http')
    expect(first.map(({ duplicate, executions }) => [duplicate, executions.length])).toEqual([
      [false, 1],
      [true, 0],
      [false, 1]
    ])
    const [[again], [other]] = await Promise.all([accept([paid('a')], 'amqp'), accept([paid('c')], 'http')])
    expect([again?.duplicate, other?.duplicate]).toEqual([true, false])
    expect(await open(store.db)([paid('b'), paid('d')], 'http')).toMatchObject([
      { duplicate: true },
      { duplicate: false }
    ])
    expect(await createEventStore(store.db).get('a')).toMatchObject({ payload: 'first' })
    expect([await countOf(store.db, 'events'), await countOf(store.db, 'executions')]).toEqual([4, 4])
    expect(counted.mock.calls).toEqual(
      expect.arrayContaining([
        ['http', 3, 1],
        ['amqp', 1, 1],
        ['http', 1, 0]
      ])
    )
  })

  test('answers each of many senders at once with what is its own', async () => {
    const hook = await publish(store)
    const accept = open(store.db)
    const senders = Array.from({ length: 40 }, (_, i) => range(i % 4, `s${i}-`).map(id => paid(id)))
    const answers = await Promise.all(senders.map(events => accept(events, 'http')))
    expect(answers.map(answer => answer.map(({ id }) => id))).toEqual(senders.map(events => events.map(({ id }) => id)))
    for (const { id, executions } of answers.flat()) {
      const rows = await store.db('sandhook_executions').where({ event_id: id }).select('id', 'hook_id')
      expect(rows).toEqual([{ id: executions[0], hook_id: hook.id }])
    }
  })

  test('takes more at once than a transaction usually holds', async () => {
    await publish(store)
    const accepted = await open(store.db)(
      range(1_200).map(id => paid(id)),
      'http'
    )
    expect(accepted.map(({ id }) => id)).toEqual(range(1_200))
    expect(await countOf(store.db, 'executions')).toBe(1_200)
  })

  test('runs the events of one key in the order of their array, whatever their ids', async () => {
    await publish(store)
    const ids = ['z', 'b', 'y', 'a', 'x']
    await open(store.db)(
      ids.map(id => paid(id, 'same order')),
      'http'
    )
    const queue = createQueue(store.db, 'n1', 60_000)
    const seen: string[] = []
    for (const _ of ids) {
      const claim = await claimOne(queue)
      seen.push(claim.event.id)
      await queue.settle([succeeded(claim)])
    }
    expect(seen).toEqual(ids)
    expect(await claimAll(queue)).toEqual([])
  })

  test('goes to hooks as they were published the moment before', async () => {
    const accept = open(store.db)
    const executions = async (id: string) => (await accept([paid(id)], 'http'))[0]?.executions.length
    expect(await executions('1')).toBe(0)
    const hook = await publish(store)
    expect(await executions('2')).toBe(1)
    await createHookStore(store.db).update(hook.id, { enabled: false }, null, 'test')
    expect(await executions('3')).toBe(0)
    await createHookStore(store.db).update(hook.id, { enabled: true, events: ['OTHER'] }, null, 'test')
    expect(await executions('4')).toBe(0)
  })

  test('answers only when everybody can see it', async () => {
    await publish(store)
    const other = engine === 'mysql' ? store.connect() : store.db
    const accept = open(store.db)
    for (const id of range(20)) {
      const [accepted] = await accept([paid(id)], 'http')
      const row = await other('sandhook_executions').where({ event_id: id }).first()
      expect(row?.id).toBe(accepted?.executions[0])
    }
  })
})

onEachEngine('accepting when the table refuses', store => {
  test('fails all senders of the transaction, leaves nothing of it, and goes on with the next', async () => {
    await publish(store)
    const told = vi.fn()
    const accept = open(store.db, { onAccepted: told, onCounted: told })
    await store.db.schema.renameTable('sandhook_executions', 'parked')
    const answers = await Promise.allSettled([accept([paid('a')], 'http'), accept([paid('b'), paid('c')], 'amqp')])
    await store.db.schema.renameTable('parked', 'sandhook_executions')
    expect(answers.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    expect(await countOf(store.db, 'events')).toBe(0)
    expect(told).not.toHaveBeenCalled()
    expect(await accept([paid('a')], 'http')).toMatchObject([{ duplicate: false, executions: [expect.any(String)] }])
  })

  test('names an outage, and accepts again when it is over', async () => {
    const registry = createRegistry(createHookStore(store.db))
    let out = true
    const current = async () => {
      if (out) throw Object.assign(new Error('connect'), { code: 'ECONNREFUSED' })
      return registry.current()
    }
    const accept = open(store.db, { registry: { current } })
    await expect(accept([paid('a')], 'http')).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    out = false
    expect(await accept([paid('a')], 'http')).toMatchObject([{ duplicate: false }])
  })
})

onEachEngine("an event's merchant", store => {
  test('is looked up where a merchant subscribes and the sender does not say', async () => {
    const mine = await publish(store, { merId: 7 })
    await publish(store, { merId: 8 })
    const merchantOf = vi.fn(async () => 7)
    const accept = open(store.db, { merchantOf })
    const [accepted] = await accept([paid('e1', 'order 1')], 'http')
    expect(merchantOf.mock.calls).toMatchObject([[{ id: 'e1', payload: 'order 1' }]])
    const rows = await store.db('sandhook_executions').select('id', 'hook_id', 'owner')
    expect(rows).toEqual([{ id: accepted?.executions[0], hook_id: mine.id, owner: '7' }])
    expect(await createEventStore(store.db).get('e1')).toMatchObject({ merId: 7 })
  })

  test('is not looked up when the sender says it, or no merchant would care', async () => {
    await publish(store, { merId: 7 })
    const merchantOf = vi.fn(async () => 7)
    const accept = open(store.db, { merchantOf })
    await accept(
      [
        { ...paid('e1'), merId: 8 },
        { id: 'e2', eventKey: 'REFUND', payload: '1' }
      ],
      'http'
    )
    expect(merchantOf).not.toHaveBeenCalled()
    expect(await countOf(store.db, 'executions')).toBe(0)
  })

  test("that cannot be asked for is the sender's to repeat", async () => {
    await publish(store, { merId: 7 })
    const outage = new RuntimeError('STORE_UNAVAILABLE', 'The shop does not answer.')
    const merchantOf = vi.fn().mockRejectedValueOnce(outage).mockResolvedValue(7)
    const accept = open(store.db, { merchantOf })
    await expect(accept([paid('e1')], 'http')).rejects.toBe(outage)
    expect(await countOf(store.db, 'events')).toBe(0)
    expect(await accept([paid('e1')], 'http')).toMatchObject([{ duplicate: false, executions: [expect.any(String)] }])
  })
})

onMysql('two nodes', store => {
  test.each([
    ['in the same order', (ids: string[]) => ids],
    ['in opposite orders', (ids: string[]) => ids.toReversed()]
  ])('that are given the same 200 events at once %s accept each of them once', async (_, order) => {
    await publish(store)
    const ids = range(200)
    const nodes = [open(store.connect()), open(store.connect())]
    for (const round of [1, 2, 3]) {
      const events = ids.map(id => paid(`${round}-${id}`))
      const both = await Promise.all(
        nodes.map((accept, i) => accept(i === 0 ? events : (order(events as never) as never), 'amqp'))
      )
      const fresh = both.flat().filter(({ duplicate }) => !duplicate)
      expect(fresh.map(({ id }) => id).sort()).toEqual(events.map(({ id }) => id).sort())
      expect(await countOf(store.db, 'events')).toBe(200 * round)
      expect((await store.db('sandhook_executions').distinct('event_id')).length).toBe(200 * round)
      expect(await countOf(store.db, 'executions')).toBe(200 * round)
    }
  })

  test('that are given the same events one by one accept each of them once', async () => {
    await publish(store)
    const nodes = [open(store.connect()), open(store.connect()), open(store.connect())]
    const ids = range(100)
    const answers = await Promise.all(nodes.flatMap(accept => ids.map(id => accept([paid(id)], 'amqp'))))
    expect(answers.flat().filter(({ duplicate }) => !duplicate)).toHaveLength(100)
    expect(await countOf(store.db, 'executions')).toBe(100)
  })
})

describe('the ordering key', () => {
  test.each([
    ['a text', '2024', '2024'],
    ['a number', 42, '42'],
    ['an object that names an order', { id: 3, orderNo: 'A1' }, 'A1'],
    ['an object with a number for name', { orderId: 7 }, '7'],
    ['an object with only an id', { id: 'x' }, 'x'],
    ['an object whose name is no name', { orderNo: { a: 1 }, order_code: 'B2' }, 'B2'],
    ['an object without any', { sku: 'x' }, null],
    ['a list', ['2024'], null],
    ['true', true, null],
    ['null', null, null],
    ['a very long text', 'x'.repeat(500), 'x'.repeat(191)]
  ])('of %s', (_, payload, key) => expect(keyOf(payload)).toBe(key))
})
