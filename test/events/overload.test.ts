import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { describe, expect, onTestFinished, test } from 'vitest'
import { readConfig } from '../../runtime/config.ts'
import { createAccept } from '../../runtime/events/accept.ts'
import { createRegistry } from '../../runtime/events/registry.ts'
import { startSandhook } from '../../runtime/main.ts'
import { migrate, openDatabase } from '../../runtime/store/database.ts'
import { createEventStore } from '../../runtime/store/events.ts'
import { createHookStore } from '../../runtime/store/hooks.ts'
import { createQueue } from '../../runtime/store/queue.ts'
import { claimAll, enqueue, hookFields, onEachEngine, succeeded } from '../store/fixtures.ts'
import { freshSqlite } from '../support/databases.ts'
import { startPartner } from '../support/run-hook.ts'
import { eventually } from '../support/sandhook.ts'

const TOKEN = 'overload-test-token'

async function openDoor(maxWaiting?: number) {
  const db = openDatabase(await freshSqlite())
  onTestFinished(() => db.destroy())
  await migrate(db)
  const hooks = createHookStore(db)
  await hooks.create(hookFields({ events: ['*'] }), { script: 'return 1', compiled: null }, 'test')
  const told = { onAccepted: () => {}, onCounted: () => {} }
  const size = maxWaiting === undefined ? {} : { maxWaiting }
  const accept = createAccept({ db, registry: createRegistry(hooks), merchantOf: async () => null, ...told, ...size })
  const count = async (table: string) => Number((await db(`sandhook_${table}`).count('* as n'))[0]?.n)
  return { db, accept, count }
}

const event = (id: string, payload = id) => ({ id, eventKey: 'FLOOD', payload })

describe('a flood of events while the database is slow', () => {
  test('fills only so much memory: the rest is refused at once, with when to come again, and all goes on after', async () => {
    const { db, accept, count } = await openDoor(200_000)
    const { promise: held, resolve: release } = Promise.withResolvers<void>()
    const holding = Promise.withResolvers<void>()
    // SQLite has one connection: who has it holds up everybody.
    const holder = db.transaction(async () => {
      holding.resolve()
      await held
    })
    await holding.promise
    const sent = Array.from({ length: 100 }, (_, i) => accept([event(`e-${i}`, 'x'.repeat(9_500))], 'http'))
    const refused = await Promise.all(
      sent.slice(20).map(each =>
        each.then(
          () => null,
          error => error
        )
      )
    )
    for (const error of refused) expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', retryAfterMs: 2_000 })
    release()
    await holder
    expect(await Promise.all(sent.slice(0, 20))).toHaveLength(20)
    expect([await count('events'), await count('executions')]).toEqual([20, 20])
    expect(await accept([event('later', 'x'.repeat(9_500))], 'http')).toMatchObject([{ duplicate: false }])
  })

  test('takes a batch that alone is larger than that', async () => {
    const { accept, count } = await openDoor(1_000)
    await accept(
      Array.from({ length: 50 }, (_, i) => event(`e-${i}`, 'x'.repeat(1_000))),
      'http'
    )
    expect(await count('events')).toBe(50)
  })
})

describe('a disk that is full', () => {
  test('refuses events whole, with when to come again; and takes them when there is room', async () => {
    const { db, accept, count } = await openDoor()
    const [{ page_count: pages }] = await db.raw('PRAGMA page_count')
    await db.raw(`PRAGMA max_page_count = ${pages + 60}`)
    const accepted: string[] = []
    const refused: unknown[] = []
    for (let i = 0; i < 60 && refused.length < 3; i++)
      await accept([event(`a-${i}`, 'x'.repeat(8_000)), event(`b-${i}`, 'x'.repeat(8_000))], 'http').then(
        events => accepted.push(...events.map(({ id }) => id)),
        error => refused.push(error)
      )
    expect(refused).toHaveLength(3)
    for (const error of refused) expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE', retryAfterMs: 2_000 })
    expect(accepted.length).toBeGreaterThan(4)
    expect([await count('events'), await count('executions')]).toEqual([accepted.length, accepted.length])
    for (const id of accepted) expect(await createEventStore(db).get(id)).toMatchObject({ id })
    await db.raw('PRAGMA max_page_count = 1000000')
    expect(await accept([event('a-59'), event('b-59')], 'http')).toMatchObject([
      { duplicate: false },
      { duplicate: false }
    ])
  })

  test('keeps what has run from being settled, and it is settled later', async () => {
    const { db, accept } = await openDoor()
    await accept([event('e1')], 'http')
    const queue = createQueue(db, 'node', 60_000)
    const [claim] = await claimAll(queue)
    if (!claim) throw new Error('Nothing to claim')
    const [{ page_count: pages }] = await db.raw('PRAGMA page_count')
    await db.raw(`PRAGMA max_page_count = ${pages}`)
    const settlement = succeeded(claim, { result: 'x'.repeat(100_000) })
    await expect(queue.settle([settlement])).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    expect(await db('sandhook_executions').select('status')).toEqual([{ status: 'running' }])
    expect(await db('sandhook_attempts')).toEqual([])
    await db.raw('PRAGMA max_page_count = 1000000')
    expect(await queue.settle([settlement])).toEqual(new Set())
    expect(await db('sandhook_executions').select('status')).toEqual([{ status: 'succeeded' }])
  })
})

onEachEngine('a queue whose first thousands belong to a full hook', store => {
  test('gives the other hooks theirs', async () => {
    const { db } = store
    const hooks = createHookStore(db)
    const make = (path: string, key: string) =>
      hooks.create(hookFields({ path, events: [key] }), { script: 'return 1', compiled: null }, 'test')
    const [greedy, b, c] = [
      await make('/custom/greedy', 'A'),
      await make('/custom/b', 'B'),
      await make('/custom/c', 'C')
    ]
    const told = { onAccepted: () => {}, onCounted: () => {} }
    const accept = createAccept({ db, registry: createRegistry(hooks), merchantOf: async () => null, ...told })
    const send = (eventKey: string, count: number) =>
      accept(
        Array.from({ length: count }, (_, i) => ({ eventKey, payload: `${eventKey}-${i}` })),
        'http'
      )
    await send('A', 3_000)
    await send('C', 2)
    await send('B', 3)
    // An execution whose hook has been deleted meanwhile is not forgotten.
    const gone = await make('/custom/gone', 'GONE')
    await send('GONE', 1)
    await db('sandhook_hooks').where({ id: gone.id }).delete()
    const queue = createQueue(db, 'node', 60_000)
    const claim = async () =>
      (await queue.claim({ count: 5, room: () => true, fullHooks: [greedy.id] })).claims
        .map(({ execution }) => execution.hookId)
        .sort()
    expect(await claim()).toEqual([b.id, b.id, c.id, c.id, gone.id].sort())
    expect(await claim()).toEqual([b.id])
    expect(await claim()).toEqual([])
    expect((await queue.claim({ count: 5, room: () => true, fullHooks: [] })).claims).toHaveLength(5)
  })

  test('lets hooks take turns, so that a fast hook’s backlog delays nobody', async () => {
    const { db } = store
    await enqueue(db, ...Array.from({ length: 300 }, () => ({ hook: 'fast' })))
    await enqueue(db, { hook: 'quiet' }, { hook: 'other' }, { hook: 'other' })
    const queue = createQueue(db, 'node', 60_000)
    const paths = async () =>
      (await queue.claim({ count: 4, room: () => true, fullHooks: [] })).claims
        .map(({ execution }) => execution.hookPath)
        .sort()
    expect(await paths()).toEqual(['/custom/fast', '/custom/fast', '/custom/other', '/custom/quiet'])
    expect(await paths()).toEqual(['/custom/fast', '/custom/fast', '/custom/fast', '/custom/other'])
  })
})

/** A node with sixteen places, and a partner that answers only after `release`. */
async function startNode() {
  const folder = mkdtempSync(join(tmpdir(), 'sandhook-overload-'))
  const { promise: held, resolve: release } = Promise.withResolvers<void>()
  const slow = await startPartner(async () => {
    await held
    return { body: { ok: true } }
  })
  const config = readConfig({
    DATABASE_URL: `sqlite:${join(folder, 'sandhook.db')}`,
    ...{ PORT: '0', SANDHOOK_ADMIN_TOKEN: TOKEN, SANDHOOK_DEMO: 'off' },
    ...{ SANDHOOK_RUNNERS: '1', SANDHOOK_CONCURRENCY: '16', SANDHOOK_HTTP_ALLOW: new URL(slow.url).host }
  })
  const sandhook = await startSandhook(config, pino({ level: 'silent' }))
  onTestFinished(async () => {
    release()
    await sandhook.close()
    await slow.close()
    rmSync(folder, { recursive: true, force: true })
  })
  const ask = (method: string, path: string, body?: unknown) => {
    const headers = { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' }
    return fetch(sandhook.url + path, { method, headers, ...(body ? { body: JSON.stringify(body) } : {}) })
  }
  // biome-ignore lint/suspicious/noExplicitAny: answers of every route
  const call = async (method: string, path: string, body?: unknown): Promise<any> =>
    (await ask(method, path, body)).json()
  return {
    ...{ ask, call, release, slow },
    hook: (key: string, script: string) =>
      call('POST', '/admin/v1/hooks', { path: `/custom/${key}`, events: [key], script }),
    send: (eventKey: string, count: number) =>
      call(
        'POST',
        '/events',
        Array.from({ length: count }, (_, i) => ({ eventKey, payload: `${eventKey}-${i}` }))
      ),
    /** Requests that wait at the partner's path. */
    at: (path: string) => slow.requests.filter(request => request.path === path).length
  }
}

describe('hooks whose partners are slow', () => {
  test('take no more than their share, however long their backlogs: a quiet hook runs at once', async () => {
    const { call, hook, send, at, slow } = await startNode()
    for (const key of ['SLOW_A', 'SLOW_B']) await hook(key, `http.post('${slow.url}/${key}', { timeout: 30000 })`)
    await hook('QUIET', 'return payload.event.payload')
    await send('SLOW_A', 500)
    await eventually(async () => at('/SLOW_A') === 12)
    await send('SLOW_B', 500)
    await eventually(async () => at('/SLOW_B') === 3)
    for (let round = 0; round < 3; round++) {
      const { events } = await send('QUIET', 20)
      await eventually(async () => {
        const { status } = await call('GET', `/admin/v1/executions/${events[19].executions[0]}`)
        return status === 'succeeded'
      })
    }
    const { hooks, live, oldestWaitingAt } = await call('GET', '/admin/v1/stats')
    expect(hooks.find(({ hook }: { hook: string }) => hook === '/custom/QUIET').executions).toEqual({ succeeded: 60 })
    expect([at('/SLOW_A'), at('/SLOW_B'), live.inFlight]).toEqual([12, 3, 15])
    expect(hooks.find(({ hook }: { hook: string }) => hook === '/custom/SLOW_A')).toMatchObject({ waiting: 488 })
    expect(Date.parse(oldestWaitingAt)).toBeLessThan(Date.now())
  })

  test('called over HTTP take no more than their share either: the next callers are told to come again', async () => {
    const { ask, hook, at, slow, release } = await startNode()
    await hook('CALLED', `return http.post('${slow.url}/called', { timeout: 30000 }).ok`)
    await hook('QUICK', 'return 1')
    const waiting = Array.from({ length: 12 }, () => ask('POST', '/custom/CALLED'))
    await eventually(async () => at('/called') === 12)
    const refused = await ask('POST', '/custom/CALLED')
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '1'])
    expect(await refused.json()).toMatchObject({ code: 'RATE_LIMITED' })
    expect((await ask('POST', '/custom/QUICK')).status).toBe(200)
    release()
    expect((await Promise.all(waiting)).map(({ status }) => status)).toEqual(Array(12).fill(200))
    expect((await ask('POST', '/custom/CALLED')).status).toBe(200)
  })
})
