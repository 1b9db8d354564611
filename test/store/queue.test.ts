import Sqlite from 'better-sqlite3'
import { expect, test } from 'vitest'
import { createQueue, laneOf } from '../../runtime/store/queue.ts'
import {
  claimAll,
  claimOne,
  dead,
  enqueue,
  enqueueOne,
  idsOf,
  insertJobs,
  jobOf,
  onEachEngine,
  retrying,
  rowOf,
  succeeded
} from './fixtures.ts'

const LEASE_MS = 60_000

onEachEngine('claiming', (store, { engine }) => {
  const open = (node = 'n1') => createQueue(store.db, node, LEASE_MS)

  test("gives what is due together with its event, and marks it as this node's", async () => {
    const before = Date.now()
    const id = await enqueueOne(store.db, { key: '1', event: { payload: { orderNo: '1' }, merId: 7 } })
    const { event, execution, lane } = await claimOne(open())
    expect(event).toMatchObject({ payload: { orderNo: '1' }, merId: 7, key: '1' })
    expect(execution).toMatchObject({ id, status: 'running', runs: 1, attempts: 0, nextAttemptAt: null })
    expect(execution.startedAt).toBeGreaterThanOrEqual(before)
    expect(lane).toBe(laneOf('a', '1'))
    const row = await rowOf(store, id)
    expect(row).toMatchObject({ status: 'running', node: 'n1', running_lane: lane, due_at: null })
    expect(row.lease_until).toBeGreaterThanOrEqual(before + LEASE_MS)
  })

  test('gives nothing twice, and nothing before it is due', async () => {
    const later = Date.now() + 60_000
    const [due] = await enqueue(store.db, {}, { execution: { nextAttemptAt: later } })
    const queue = open()
    expect(idsOf(await claimAll(queue))).toEqual([due])
    const nothing = await queue.claim({ count: 1, room: () => true, fullHooks: [] })
    expect(nothing, 'and there is no more to look for').toEqual({ claims: [], more: false })
  })

  test('runs a lane strictly one after the other, in the order of acceptance', async () => {
    const ids = await enqueue(store.db, { key: '1' }, { key: '1' }, { key: '1' })
    const queue = open()
    const seen: string[] = []
    for (let round = 0; round < 3; round++) {
      const claim = await claimOne(queue)
      expect(await claimAll(queue)).toEqual([])
      seen.push(claim.execution.id)
      await queue.settle([succeeded(claim)])
    }
    expect(seen).toEqual(ids)
  })

  test('lets a head that waits for its retry hold back its followers, and nobody else', async () => {
    const [head, follower] = await enqueue(store.db, { key: '1' }, { key: '1' })
    const queue = open()
    await queue.settle([retrying(await claimOne(queue), Date.now() + 60_000)])
    const others = await enqueue(store.db, { key: '2' }, { key: '1', hook: 'b' }, { key: null })
    expect(idsOf(await claimAll(queue)).sort()).toEqual(others.sort())

    const past = Date.now() - 1
    await store.db('sandhook_executions').where({ id: head }).update({ due_at: past })
    const again = await claimOne(queue)
    expect(again.execution).toMatchObject({ id: head, attempts: 1, runs: 2 })
    await queue.settle([dead(again)])
    expect((await claimOne(queue)).execution.id).toBe(follower)
  })

  test('gives executions without a lane all at once', async () => {
    const ids = await enqueue(store.db, {}, {}, {})
    expect(idsOf(await claimAll(open())).sort()).toEqual(ids)
  })

  test('takes what has been due longest first, no more than asked for, and says when there may be more', async () => {
    const now = Date.now()
    const times = [now - 10, now - 30, now - 20]
    const [third, first, second] = await enqueue(
      store.db,
      ...times.map(nextAttemptAt => ({ execution: { nextAttemptAt } }))
    )
    const queue = open()
    const request = { count: 2, room: () => true, fullHooks: [] }
    const two = await queue.claim(request)
    expect(idsOf(two.claims).sort()).toEqual([first, second].sort())
    expect(two.more).toBe(true)
    const rest = await queue.claim(request)
    expect(idsOf(rest.claims)).toEqual([third])
    expect(rest.more).toBe(false)
  })

  test('leaves a hook without room alone, and looks past hooks that are full', async () => {
    const [one] = await enqueue(store.db, { hook: 'a' }, { hook: 'a' }, { hook: 'a' })
    const other = await enqueueOne(store.db, { hook: 'b' })
    const queue = open()
    let places = 1
    const first = await claimAll(queue, { room: hook => hook === 'b' || places-- > 0 })
    expect(idsOf(first).sort()).toEqual([one, other].sort())
    const behind = await enqueueOne(store.db, { hook: 'b' })
    expect((await claimOne(queue, { count: 1, fullHooks: ['a'] })).execution.id).toBe(behind)
  })

  test('keeps a lane single when an older execution of it is committed late', async () => {
    const late = jobOf({ key: '1' })
    const running = await enqueueOne(store.db, { key: '1' })
    const queue = open()
    const claim = await claimOne(queue)
    expect(claim.execution.id).toBe(running)
    await insertJobs(store.db, [late])
    const free = await enqueueOne(store.db, { key: '2' })

    const other = createQueue(engine === 'mysql' ? store.connect() : store.db, 'n2', LEASE_MS)
    expect((await claimOne(other)).execution.id, 'only the other lane').toBe(free)
    expect(await rowOf(store, late.execution.id)).toMatchObject({ status: 'queued', node: null, runs: 0 })
    await queue.settle([succeeded(claim)])
    expect((await claimOne(other)).execution.id).toBe(late.execution.id)
  })

  const onSqlite = engine === 'sqlite' ? [engine] : []
  test.each(onSqlite)(
    'does not take, before its time, what another node has run and put off since it looked (%s)',
    async () => {
      // `room` is asked between looking and taking; only SQLite lets a test change the table in the middle of it.
      const id = await enqueueOne(store.db, { key: '1' })
      const other = new Sqlite(store.url.slice('sqlite:'.length))
      const later = Date.now() + 60_000
      const putOff = other.prepare('UPDATE sandhook_executions SET due_at = ?, attempts = 1')
      expect(await claimAll(open(), { room: () => putOff.run(later).changes === 1 })).toEqual([])
      other.close()
      expect(await rowOf(store, id)).toMatchObject({ status: 'queued', due_at: later, node: null })
    }
  )
})
