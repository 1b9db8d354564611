import { readFile } from 'node:fs/promises'
import { type Logger, pino } from 'pino'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { RuntimeError } from '../../runtime/errors.ts'
import { type Accept, createAccept } from '../../runtime/events/accept.ts'
import { startOutbox, toIncoming } from '../../runtime/events/ingress-outbox.ts'
import { createRegistry } from '../../runtime/events/registry.ts'
import { openMysqlShop } from '../../runtime/host/mysql/shop.ts'
import { createOutbox, type Outbox, type OutboxRow } from '../../runtime/host/outbox.ts'
import { openSqliteShop } from '../../runtime/host/sqlite/shop.ts'
import { type Database, openDatabase, statementsOf } from '../../runtime/store/database.ts'
import { createEventStore } from '../../runtime/store/events.ts'
import { createHookStore } from '../../runtime/store/hooks.ts'
import { createLease, type Lease } from '../../runtime/store/leases.ts'
import { type Engine, onEachEngine, onMysql, type TestStore } from '../store/fixtures.ts'
import { eventually } from '../support/sandhook.ts'

const SQL = new URL('../../sql/shop/outbox.sql', import.meta.url)
const silent = pino({ level: 'silent' })
const always: Lease = { hold: async () => true, release: async () => {} }

/** A shop with an outbox, seen by the shop itself (`sql`) and by us (`outbox`). */
async function openShop({ make }: Engine, { table = true } = {}) {
  const { url, drop } = await make()
  const sql = openDatabase(url)
  if (table) for (const statement of statementsOf(await readFile(SQL, 'utf8'))) await sql.raw(statement)
  const shop = url.startsWith('sqlite:') ? openSqliteShop(url.slice(7)) : openMysqlShop(url, { connections: 4 })
  onTestFinished(async () => {
    await shop.close()
    await sql.destroy()
    await drop()
  })
  const left = async () => Number((await sql('sandhook_outbox').whereNull('taken_at').count('* as n'))[0]?.n)
  return { sql, shop, outbox: createOutbox(shop), left, url }
}

/** A door that remembers the events' order, and how many were duplicates. */
function openDoor(db: Database) {
  const counts = { accepted: 0, duplicates: 0 }
  const order: string[] = []
  const door = createAccept({
    ...{ db, registry: createRegistry(createHookStore(db)), merchantOf: async () => null, onAccepted: () => {} },
    onCounted: (_source, events, duplicates) => {
      counts.accepted += events - duplicates
      counts.duplicates += duplicates
    }
  })
  const accept: Accept = async (events, source) => {
    const accepted = await door(events, source)
    order.push(...events.map(({ payload }) => String(payload)))
    return accepted
  }
  return { accept, counts, order }
}

function start(outbox: Outbox, accept: Accept, { lease = always, logger = silent as Logger } = {}) {
  const running = startOutbox({ outbox, accept, lease, logger })
  onTestFinished(running.stop)
  return running
}

const row = (payload: string, more: object = {}) => ({ event_key: 'ORDER_PAY_SUCCESS', payload, ...more })
const payloads = (count: number, prefix = 'P') => Array.from({ length: count }, (_, i) => `${prefix}${i}`)

async function insert(sql: Database, rows: object[]): Promise<void> {
  for (let from = 0; from < rows.length; from += 100) await sql('sandhook_outbox').insert(rows.slice(from, from + 100))
}

const eventsOf = async ({ db }: TestStore) => (await createEventStore(db).list({}, { limit: 10_000 })).items

describe('a row', () => {
  const NOW = 1_800_000_000_000
  const given: OutboxRow = {
    ...{ id: 7, event_key: 'X', payload: 'P1', mer_id: null, created_at: null },
    ...{ event_id: null, ordering_key: null, data: null }
  }
  test.each<[string, Partial<OutboxRow>, object]>([
    ['an order number of digits stays a text', { payload: '202401010001' }, { payload: '202401010001' }],
    ['an object', { payload: ' {"id":12345678901234567890}' }, { payload: { id: '12345678901234567890' } }],
    ['a quoted text', { payload: '"a"' }, { payload: 'a' }],
    ['a number in a column of numbers', { payload: 12 }, { payload: '12' }],
    ['a merchant', { mer_id: '12' }, { merId: 12 }],
    ['an id of its own', { event_id: 'pay-1' }, { id: 'pay-1' }],
    ['no time', {}, { id: 'outbox:7', timestamp: undefined }],
    ['milliseconds', { created_at: NOW }, { id: `outbox:7:${NOW}`, timestamp: NOW }],
    ['seconds', { created_at: NOW / 1000 }, { timestamp: NOW }],
    ['NOW() as a number, which is no time', { created_at: 20260101120000 }, { timestamp: undefined }],
    ['key and data', { ordering_key: 'k', data: '{"a":1}' }, { key: 'k', data: { a: 1 } }]
  ])('%s', (_what, fields, event) => {
    expect(toIncoming({ ...given, ...fields }, NOW)).toMatchObject(event)
  })
  test.each<[string, Partial<OutboxRow>, RegExp]>([
    ['no key', { event_key: '' }, /no event key/],
    ['no payload', { payload: '' }, /no payload/],
    ['broken JSON', { payload: '{"a":' }, /payload or data is no JSON/],
    ['broken data', { data: 'x' }, /payload or data is no JSON/],
    ['a long key', { event_key: 'x'.repeat(101) }, /event key has more than 100/],
    ['a long id', { event_id: 'x'.repeat(129) }, /id has more than 128/]
  ])('%s is no event', (_what, fields, problem) => {
    expect(toIncoming({ ...given, ...fields }, NOW)).toMatch(problem)
  })
})

onEachEngine('the outbox', (store, engine) => {
  test('makes events of rows, and marks those that can be none', async () => {
    const { sql, outbox, left } = await openShop(engine)
    const at = Date.now() - 5_000
    const full = { mer_id: '7', created_at: at, event_id: 'own', ordering_key: 'key', data: '{"raw":1}' }
    await insert(sql, [row('A'), row('{"broken"'), row('{"orderNo":"B"}'), row('C', full), row('D', { event_key: '' })])
    const warn = vi.fn()
    const logger = { ...silent, info: () => {}, warn } as unknown as Logger
    start(outbox, openDoor(store.db).accept, { logger })
    await eventually(async () => (await left()) === 0)
    const events = await eventsOf(store)
    expect(new Map(events.map(event => [event.id, event]))).toEqual(
      new Map([
        ['outbox:1', expect.objectContaining({ payload: 'A', key: 'A', source: 'outbox', merId: null })],
        ['outbox:3', expect.objectContaining({ payload: { orderNo: 'B' }, key: 'B' })],
        ['own', expect.objectContaining({ payload: 'C', key: 'key', merId: 7, timestamp: at, data: { raw: 1 } })]
      ])
    )
    const bad = await sql('sandhook_outbox').whereNotNull('error').orderBy('id')
    expect(bad.map(({ id, error }) => [id, error])).toEqual([
      [2, expect.stringContaining('no JSON')],
      [5, 'it has no event key']
    ])
    expect(warn.mock.calls.map(([fields]) => fields.row)).toEqual([2, 5])
  })

  test('empties a full table at once, in order', async () => {
    const { sql, outbox, left } = await openShop(engine)
    await insert(
      sql,
      payloads(1_300).map(payload => row(payload))
    )
    const { accept, counts, order } = openDoor(store.db)
    const began = Date.now()
    start(outbox, accept)
    await eventually(async () => (await left()) === 0)
    expect(Date.now() - began).toBeLessThan(engine.engine === 'sqlite' ? 5_000 : 8_000)
    expect(order).toEqual(payloads(1_300))
    expect(counts).toEqual({ accepted: 1_300, duplicates: 0 })
  })

  test('finds new rows within a second or so', async () => {
    const { sql, outbox, left } = await openShop(engine)
    const { accept, order } = openDoor(store.db)
    start(outbox, accept)
    for (const payload of ['first', 'second']) {
      await insert(sql, [row(payload)])
      await eventually(async () => (await left()) === 0)
    }
    expect(order).toEqual(['first', 'second'])
  })

  test('a crash between the event and the mark repeats neither', async () => {
    const { sql, outbox, left } = await openShop(engine)
    await insert(
      sql,
      payloads(10).map(payload => row(payload, { created_at: 1_700_000_000_000 }))
    )
    const { accept, counts } = openDoor(store.db)
    const { promise: death, resolve } = Promise.withResolvers<void>()
    start({ ...outbox, take: () => death }, accept)
    await eventually(async () => counts.accepted === 10)
    expect(await left()).toBe(10)
    start(outbox, accept)
    await eventually(async () => (await left()) === 0)
    expect(counts).toEqual({ accepted: 10, duplicates: 10 })
    expect(await eventsOf(store)).toHaveLength(10)
    resolve()
  })

  test('rows stay while the store is down', async () => {
    const { sql, outbox, left } = await openShop(engine)
    await insert(sql, [row('A')])
    const { accept } = openDoor(store.db)
    let down = true
    const tried = vi.fn(async () => {
      throw new RuntimeError('STORE_UNAVAILABLE', 'down')
    })
    start(outbox, (events, source) => (down ? tried() : accept(events, source)))
    await eventually(async () => tried.mock.calls.length > 0)
    expect(await left()).toBe(1)
    down = false
    await eventually(async () => (await left()) === 0)
    expect(await eventsOf(store)).toHaveLength(1)
  })

  test('one that the store refuses does not hold up the others', async () => {
    const { sql, outbox, left } = await openShop(engine)
    await insert(
      sql,
      payloads(5).map(payload => row(payload))
    )
    const { accept, order } = openDoor(store.db)
    start(outbox, async (events, source) => {
      if (events.some(({ payload }) => payload === 'P2')) throw new Error('Data too long')
      return accept(events, source)
    })
    await eventually(async () => (await left()) === 0)
    expect(order).toEqual(['P0', 'P1', 'P3', 'P4'])
    expect(await sql('sandhook_outbox').whereNotNull('error').select('payload', 'error')).toEqual([
      { payload: 'P2', error: 'Data too long' }
    ])
  })

  test('does without a table, and says so once', async () => {
    const { outbox } = await openShop(engine, { table: false })
    const info = vi.fn()
    const exists = vi.fn(outbox.exists)
    start({ ...outbox, exists }, openDoor(store.db).accept, {
      logger: { ...silent, info, warn: info } as unknown as Logger
    })
    await eventually(async () => info.mock.calls.length > 0)
    expect(info.mock.calls.map(([, message]) => message)).toEqual([expect.stringContaining('has no outbox')])
    expect(exists).toHaveBeenCalledTimes(1)
    expect(await outbox.purge(Date.now())).toBe(0)
  })

  test('keeps what is not taken, and deletes what was taken long ago', async () => {
    const { sql, outbox } = await openShop(engine)
    await insert(sql, [row('old', { taken_at: 1 }), row('new', { taken_at: 1_000 }), row('waiting')])
    expect(await outbox.purge(500)).toBe(1)
    expect(await outbox.purge(500)).toBe(0)
    expect((await sql('sandhook_outbox').orderBy('id')).map(({ payload }) => payload)).toEqual(['new', 'waiting'])
  })

  if (engine.engine === 'sqlite') {
    test('a row too large to be read is refused, those beside it are not', async () => {
      const { sql, outbox, left } = await openShop(engine)
      await insert(sql, [row('A'), row('x'.repeat(5_000_000)), row('B')])
      const { accept, order } = openDoor(store.db)
      start(outbox, accept)
      await eventually(async () => (await left()) === 0)
      expect(order).toEqual(['A', 'B'])
      expect(await sql('sandhook_outbox').where({ id: 2 }).first('error')).toEqual({ error: 'it is larger than 4 MB' })
    })

    test('waits for a run that is writing, without holding up the process', async () => {
      const { sql, shop, outbox, left } = await openShop(engine)
      await insert(sql, [row('A')])
      const { accept, counts } = openDoor(store.db)
      const run = await shop.begin(new AbortController().signal)
      start(outbox, accept)
      await eventually(async () => counts.accepted === 1)
      let beats = 0
      const heart = setInterval(() => beats++, 10)
      await new Promise(resolve => setTimeout(resolve, 500))
      clearInterval(heart)
      expect(beats).toBeGreaterThan(20)
      expect(await left()).toBe(1)
      await run.commit()
      await eventually(async () => (await left()) === 0)
    })
  }
})

onMysql('the outbox of several nodes', (store, engine) => {
  test('a row whose transaction commits late is not passed by', async () => {
    const { sql, outbox, left } = await openShop(engine)
    const { accept, order } = openDoor(store.db)
    start(outbox, accept)
    const slow = await sql.transaction()
    await slow('sandhook_outbox').insert(row('slow'))
    await insert(sql, [row('fast')])
    await eventually(async () => order.includes('fast'))
    expect(order).toEqual(['fast'])
    // What is picked up meanwhile locks nothing that the shop needs.
    await slow('sandhook_outbox').insert(row('slower'))
    await slow.commit()
    await eventually(async () => (await left()) === 0)
    expect(order).toEqual(['fast', 'slow', 'slower'])
    const ids = await sql('sandhook_outbox').orderBy('id').pluck('payload')
    expect(ids).toEqual(['slow', 'fast', 'slower'])
  })

  test('each row is one event, in order, while the shop writes and a node comes and goes', async () => {
    const { sql, outbox, url, left } = await openShop(engine)
    const order: string[] = []
    const counts = { accepted: 0, duplicates: 0 }
    const startNode = (name: string) => {
      const db = store.connect()
      const shop = openMysqlShop(url, { connections: 2 })
      const door = openDoor(db)
      const accept: Accept = async (events, source) => {
        const accepted = await door.accept(events, source)
        accepted.forEach(({ duplicate }, i) => {
          counts[duplicate ? 'duplicates' : 'accepted']++
          if (!duplicate) order.push(String(events[i]?.payload))
        })
        return accepted
      }
      const lease = createLease(db, 'outbox', name, 2_000)
      const running = startOutbox({ outbox: createOutbox(shop), accept, lease, logger: silent })
      return async () => {
        await running.stop()
        await shop.close()
      }
    }
    const stops = [startNode('a'), startNode('b')]
    onTestFinished(async () => {
      for (const stop of stops) await stop()
    })
    const write = async (prefix: string) => {
      for (let i = 0; i < 40; i++)
        await insert(
          sql,
          payloads(25, `${prefix}-${String(i).padStart(2, '0')}-`).map(p => row(p))
        )
    }
    const writing = Promise.all([write('x'), write('y')])
    await eventually(async () => counts.accepted > 200)
    await stops.shift()?.()
    stops.push(startNode('c'))
    await writing
    await eventually(async () => (await left()) === 0)
    expect(counts).toEqual({ accepted: 2_000, duplicates: 0 })
    expect(await eventsOf(store)).toHaveLength(2_000)
    for (const prefix of ['x', 'y']) {
      const own = order.filter(payload => payload.startsWith(prefix))
      const byRow = await sql('sandhook_outbox').where('payload', 'like', `${prefix}%`).orderBy('id').pluck('payload')
      expect(own).toEqual(byRow)
    }
    expect(await outbox.oldest()).toBeUndefined()
  })
})

onEachEngine('a lease', (store, { engine }) => {
  const make = (node: string, ms: number) => createLease(engine === 'mysql' ? store.connect() : store.db, 'l', node, ms)
  test('belongs to one node until it is given back', async () => {
    const [a, b] = [make('a', 60_000), make('b', 60_000)]
    const [first, second] = await Promise.all([a.hold(), b.hold()])
    expect([first, second].filter(Boolean)).toHaveLength(1)
    const [winner, loser] = first ? [a, b] : [b, a]
    expect([await winner.hold(), await loser.hold()]).toEqual([true, false])
    await loser.release()
    expect(await loser.hold()).toBe(false)
    await winner.release()
    expect([await loser.hold(), await winner.hold()]).toEqual([true, false])
    await loser.release()
  })
  test('goes to another node when its own is gone', async () => {
    const [a, b] = [make('a', 3_000), make('b', 3_000)]
    expect([await a.hold(), await b.hold()]).toEqual([true, false])
    await eventually(() => b.hold())
    expect(await a.hold()).toBe(false)
    await b.release()
  })
})
