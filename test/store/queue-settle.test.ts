import { describe, expect, test } from 'vitest'
import type { Execution } from '../../runtime/model.ts'
import { attemptsOf } from '../../runtime/store/attempts.ts'
import { createQueue, laneOf } from '../../runtime/store/queue.ts'
import {
  attemptOf,
  claimAll,
  claimOne,
  dead,
  enqueue,
  enqueueOne,
  idsOf,
  onEachEngine,
  retrying,
  rowOf,
  succeeded
} from './fixtures.ts'

const LEASE_MS = 60_000
/** A lease that has ended the moment it is given. */
const LAPSED_MS = -1_000

onEachEngine('settling', store => {
  const open = (node = 'n1', leaseMs = LEASE_MS) => createQueue(store.db, node, leaseMs)

  test('writes the run and how the execution stands, and frees its lane', async () => {
    const [id, follower] = await enqueue(store.db, { key: '1' }, { key: '1' })
    const queue = open()
    const claim = await claimOne(queue)
    const run = attemptOf(claim, {
      result: { success: true },
      logs: [{ at: 1, level: 'info', message: '已支付' }],
      calls: [{ kind: 'http', summary: 'GET http://erp/', at: 2, durationMs: 3, status: 200 }]
    })
    expect(await queue.settle([succeeded(claim, run)])).toEqual(new Set())
    const row = await rowOf(store, id)
    expect(row).toMatchObject({ status: 'succeeded', attempts: 1, open_lane: null, running_lane: null, node: null })
    expect(row).toMatchObject({ lane: laneOf('a', '1'), due_at: null, lease_until: null })
    expect(JSON.parse(row.result as string)).toEqual({ success: true })
    expect(await attemptsOf(store.db, id as string)).toEqual([run])
    expect((await claimOne(queue)).execution.id).toBe(follower)
  })

  test('keeps every run of an execution', async () => {
    const id = await enqueueOne(store.db, { key: '1' })
    const queue = open()
    for (let attempt = 1; attempt <= 3; attempt++) {
      const claim = await claimOne(queue)
      await queue.settle([attempt < 3 ? retrying(claim, Date.now()) : dead(claim)])
    }
    const runs = await attemptsOf(store.db, id)
    expect(runs.map(({ run, attempt }) => [run, attempt])).toEqual([1, 2, 3].map(n => [n, n]))
    expect(await rowOf(store, id)).toMatchObject({ status: 'dead', attempts: 3, runs: 3, open_lane: null })
  })

  test('takes a batch whose results together are larger than a statement may be', async () => {
    // Quotes are the worst: JSON doubles them, and SQL once more. 24 MB where MariaDB takes 16.
    const result = '"'.repeat(250 * 1024)
    await enqueue(store.db, ...Array.from({ length: 24 }, () => ({})))
    const queue = open()
    const claims = await claimAll(queue)
    expect(await queue.settle(claims.map(claim => succeeded(claim, { result })))).toEqual(new Set())
    const rows = await store.db('sandhook_executions').where('status', 'succeeded').select('result')
    expect(rows).toHaveLength(24)
    expect(rows.every(row => JSON.parse(row.result) === result)).toBe(true)
  })

  test.each([
    ['was given back', null],
    ['runs on another node', 'n2'],
    ['runs again on this node', 'n1']
  ])('is refused, reported and without effect for an execution that %s', async (_, takenBy) => {
    const id = await enqueueOne(store.db, { hook: 'a' })
    const lost = await claimOne(open('n1', LAPSED_MS))
    await open('n2').reap()
    const taken = takenBy === null ? null : await claimOne(open(takenBy))
    await enqueue(store.db, { hook: 'b' })
    const held = await claimOne(open('n1'), { fullHooks: ['a'] })
    const before = await rowOf(store, id)

    expect(await open('n1').settle([dead(lost), succeeded(held)])).toEqual(new Set([id]))
    expect(await rowOf(store, id)).toEqual(before)
    expect(await attemptsOf(store.db, id)).toEqual([])
    expect(await rowOf(store, held.execution.id)).toMatchObject({ status: 'succeeded' })

    if (taken === null || takenBy === null) return
    expect(await open(takenBy).settle([succeeded(taken)])).toEqual(new Set())
    expect(await rowOf(store, id)).toMatchObject({ status: 'succeeded', runs: 2 })
  })

  test('is refused for an execution that was settled already', async () => {
    const id = await enqueueOne(store.db)
    const queue = open()
    const claim = await claimOne(queue)
    await queue.settle([succeeded(claim)])
    expect(await queue.settle([dead(claim)])).toEqual(new Set([id]))
    expect(await rowOf(store, id)).toMatchObject({ status: 'succeeded', attempts: 1 })
  })
})

onEachEngine('leases', store => {
  const open = (node = 'n1', leaseMs = LEASE_MS) => createQueue(store.db, node, leaseMs)

  test('that have ended go back to the queue with no attempt used up', async () => {
    const ids = await enqueue(store.db, { key: '1' }, { key: '2', execution: { attempts: 3, status: 'retrying' } })
    await claimAll(open('n1', LAPSED_MS))
    const running = await enqueueOne(store.db, { key: '3' })
    await claimOne(open('n2'))
    expect(await open('n3').reap()).toBe(2)
    expect(await rowOf(store, ids[0])).toMatchObject({ status: 'queued', attempts: 0, runs: 1, crashes: 0, node: null })
    expect(await rowOf(store, ids[1])).toMatchObject({ status: 'retrying', attempts: 3, running_lane: null })
    expect(await rowOf(store, running)).toMatchObject({ status: 'running', node: 'n2' })
    const again = await claimAll(open('n3'))
    expect(idsOf(again).sort()).toEqual(ids)
    expect(again.map(({ execution }) => execution.runs)).toEqual([2, 2])
  })

  test('are prolonged for what the node still runs, and for nothing else', async () => {
    const [mine, dropped] = (await enqueue(store.db, {}, {})) as [string, string]
    await claimAll(open('n1', LAPSED_MS))
    const foreign = await enqueueOne(store.db)
    await claimAll(open('n2', LAPSED_MS))
    await open('n1').renew([mine, foreign])
    expect(await open('n3').reap()).toBe(2)
    const statuses = await Promise.all([mine, dropped, foreign].map(async id => (await rowOf(store, id)).status))
    expect(statuses).toEqual(['running', 'queued', 'queued'])
  })

  test('are not given anew to what was settled meanwhile', async () => {
    const id = await enqueueOne(store.db)
    const queue = open()
    await queue.settle([succeeded(await claimOne(queue))])
    await queue.renew([id])
    expect(await rowOf(store, id)).toMatchObject({ lease_until: null, status: 'succeeded' })
  })

  test('that still run are given back too when nobody else can hold any', async () => {
    await enqueue(store.db, { key: '1' }, { key: '2' })
    await claimAll(open('n1'))
    const next = open('n2')
    expect(await next.reap()).toBe(0)
    expect(await next.reap(true)).toBe(2)
    expect(await claimAll(next)).toHaveLength(2)
  })

  test('of claims whose events could not be read end by themselves, although the node goes on', async () => {
    const id = await enqueueOne(store.db)
    const { schema } = store.db
    await schema.renameTable('sandhook_events', 'parked')
    await expect(claimAll(open('n1', LAPSED_MS))).rejects.toThrow()
    await store.db.schema.renameTable('parked', 'sandhook_events')
    await open('n1').renew([])
    expect(await open('n1').reap()).toBe(1)
    expect((await claimOne(open('n1'))).execution.id).toBe(id)
  })
})

onEachEngine('the journal', store => {
  const open = () => createQueue(store.db, 'n1', LEASE_MS)
  const entry = (callNo: number, answer: unknown) => ({ callNo, fingerprint: `f${callNo}`, answer })

  test('keeps the calls of each attempt apart', async () => {
    const queue = open()
    await queue.journal('x', 1, entry(1, { status: 200, body: '好' }))
    await queue.journal('x', 1, entry(2, null))
    await queue.journal('x', 2, entry(1, 'other'))
    await queue.journal('y', 1, entry(1, 'other'))
    const found = await queue.journaled('x', 1)
    expect(found.sort((a, b) => a.callNo - b.callNo)).toEqual([entry(1, { status: 200, body: '好' }), entry(2, null)])
    expect(await queue.journaled('x', 3)).toEqual([])
  })

  test('has the later answer when a call is kept twice', async () => {
    const queue = open()
    await queue.journal('x', 1, entry(1, 'first'))
    await queue.journal('x', 1, { callNo: 1, fingerprint: 'other', answer: 'second' })
    expect(await queue.journaled('x', 1)).toEqual([{ callNo: 1, fingerprint: 'other', answer: 'second' }])
  })

  test('takes nothing from a node that has lost the execution, and what others say with it', async () => {
    const [lost, own] = await enqueue(store.db, {}, {})
    const late = createQueue(store.db, 'late', LAPSED_MS)
    await claimAll(late)
    await late.reap()
    const queue = open()
    const claims = await claimAll(queue)
    const writes = [late.journal(lost as string, 1, entry(1, 'late')), queue.journal(own as string, 1, entry(1, 'own'))]
    await Promise.all(writes)
    expect([await queue.journaled(lost as string, 1), await queue.journaled(own as string, 1)]).toEqual([
      [],
      [entry(1, 'own')]
    ])
    await queue.settle(claims.map(claim => succeeded(claim)))
    await queue.journal(own as string, 1, entry(2, 'after the end'))
    for (const id of [lost, own]) expect(await queue.journaled(id as string, 1)).toEqual([])
  })

  describe('of an execution', () => {
    const http = { kind: 'http' as const, summary: 'GET http://erp/', at: 1, durationMs: 1 }

    test('is kept while a run repeats its attempt, and forgotten when the attempt is used up', async () => {
      const id = await enqueueOne(store.db)
      const queue = open()
      const broken = await claimOne(queue)
      await queue.journal(id, 1, entry(1, 'done'))
      await queue.journal('other', 1, entry(1, 'theirs'))
      const free: Execution = { ...broken.execution, status: 'queued', nextAttemptAt: Date.now() }
      await queue.settle([{ claim: broken, execution: free, attempt: attemptOf(broken, { calls: [http] }) }])
      expect(await queue.journaled(id, 1)).toHaveLength(1)

      const whole = await claimOne(queue)
      await queue.settle([succeeded(whole, { calls: [http] })])
      expect(await queue.journaled(id, 1)).toEqual([])
      expect(await queue.journaled('other', 1)).toHaveLength(1)
    })

    test.each([
      ['its last run called nobody', (claim: Parameters<typeof dead>[0]) => retrying(claim, Date.now())],
      ['its last run could not be recorded', (claim: Parameters<typeof dead>[0]) => ({ ...dead(claim), attempt: null })]
    ])('is forgotten also when %s', async (_, end) => {
      const id = await enqueueOne(store.db)
      await claimOne(createQueue(store.db, 'n0', LAPSED_MS))
      const queue = open()
      await queue.journal(id, 1, entry(1, 'done by a run that was lost'))
      await queue.reap()
      await queue.settle([end(await claimOne(queue))])
      expect(await queue.journaled(id, 1)).toEqual([])
    })
  })
})
