import { v7 as uuid } from 'uuid'
import { expect, test } from 'vitest'
import type { Execution, ExecutionStatus } from '../../runtime/model.ts'
import { createEventStore } from '../../runtime/store/events.ts'
import { createExecutionStore } from '../../runtime/store/executions.ts'
import { createQueue } from '../../runtime/store/queue.ts'
import {
  attemptOf,
  claimAll,
  claimOne,
  dead,
  enqueue,
  enqueueOne,
  eventOf,
  idsOf,
  jobOf,
  onEachEngine,
  rowOf,
  succeeded,
  walk
} from './fixtures.ts'

const DAY_MS = 86_400_000
const END = { nextAttemptAt: null, finishedAt: 2, durationMs: 1 }

/** An execution as it stands in this status. */
const standing = (status: ExecutionStatus, more: Partial<Execution> = {}): Partial<Execution> => ({
  status,
  ...(['queued', 'retrying'].includes(status) ? {} : status === 'running' ? { nextAttemptAt: null } : END),
  ...more
})

onEachEngine('listing executions', store => {
  test('walks through all of them once, the newest first, also those of one millisecond', async () => {
    const ids = await enqueue(store.db, ...Array.from({ length: 23 }, () => ({ execution: { createdAt: 1 } })))
    const { list } = createExecutionStore(store.db)
    const seen = await walk(page => list({}, page), 5)
    expect(seen.map(({ id }) => id)).toEqual(ids.toReversed())
    expect(await list({}, { limit: 23 })).toMatchObject({ nextCursor: null })
  })

  test('is not disturbed by what comes in between two pages', async () => {
    const ids = await enqueue(store.db, {}, {}, {})
    const { list } = createExecutionStore(store.db)
    const first = await list({}, { limit: 2 })
    await enqueue(store.db, {})
    const second = await list({}, { limit: 2, cursor: first.nextCursor ?? '' })
    expect([...first.items, ...second.items].map(({ id }) => id)).toEqual(ids.toReversed())
  })

  test('finds by status, hook, event, merchant and time', async () => {
    const [a, b, c] = await enqueue(
      store.db,
      { hook: 'a', event: { id: 'e1', merId: 7 }, execution: standing('dead', { createdAt: 100 }) },
      { hook: 'b', event: { id: 'e2', merId: 'm-8' }, execution: standing('succeeded', { createdAt: 200 }) },
      { hook: 'b', event: { id: 'e3' }, execution: { createdAt: 300 } }
    )
    const { list } = createExecutionStore(store.db)
    const found = async (filter: Parameters<typeof list>[0]) =>
      (await list(filter, { limit: 10 })).items.map(({ id }) => id).sort()
    expect(await found({ status: 'dead' })).toEqual([a])
    expect(await found({ hook: 'b' })).toEqual([b, c])
    expect(await found({ hook: '/custom/b', status: 'queued' })).toEqual([c])
    expect(await found({ eventId: 'e1' })).toEqual([a])
    expect(await found({ merId: 7 })).toEqual([a])
    expect(await found({ merId: 'm-8' })).toEqual([b])
    expect(await found({ from: 200 })).toEqual([b, c])
    expect(await found({ from: 100, to: 300 })).toEqual([a, b])
    expect(await found({ hook: '/custom/nobody' })).toEqual([])
  })
})

onEachEngine('replaying', store => {
  const open = () => createQueue(store.db, 'n1', 60_000)

  test.each(['dead', 'discarded'] as const)('sends a %s execution round again under its own id', async status => {
    const failed = {
      attempts: 8,
      runs: 9,
      crashes: 2,
      startedAt: 1,
      error: { code: 'HOOK_THREW' as const, message: 'no' }
    }
    const id = await enqueueOne(store.db, { key: '1', execution: standing(status, failed) })
    const again = await createExecutionStore(store.db).replay(id)
    expect(again).toMatchObject({ id, status: 'queued', attempts: 0, crashes: 0, runs: 9, error: null, result: null })
    expect(again).toMatchObject({ startedAt: null, finishedAt: null, durationMs: null })
    const claim = await claimOne(open())
    expect(claim.execution).toMatchObject({ id, runs: 10 })
    expect(claim.execution.startedAt).toBeGreaterThan(1)
  })

  test('does what succeeded anew, as a further execution of the same event', async () => {
    const id = await enqueueOne(store.db, { key: '1' })
    const queue = open()
    await queue.settle([succeeded(await claimOne(queue), { result: 'done' })])
    const again = await createExecutionStore(store.db).replay(id)
    const { eventId } = await createExecutionStore(store.db)
      .get(id)
      .then(({ execution }) => execution)
    expect(again).toMatchObject({ eventId, status: 'queued', attempts: 0, runs: 0, result: null, startedAt: null })
    expect(again.id > id).toBe(true)
    expect(await rowOf(store, id)).toMatchObject({ status: 'succeeded', result: '"done"' })
    expect((await claimOne(queue)).execution.id).toBe(again.id)
  })

  test('takes its place in the lane again', async () => {
    const [failed, follower] = await enqueue(store.db, { key: '1', execution: standing('dead') }, { key: '1' })
    await createExecutionStore(store.db).replay(failed as string)
    const queue = open()
    const claim = await claimOne(queue)
    expect(claim.execution.id).toBe(failed)
    await queue.settle([dead(claim)])
    expect((await claimOne(queue)).execution.id).toBe(follower)
  })

  test.each(['queued', 'running', 'retrying', 'failed'] as const)('refuses a %s execution', async status => {
    const id = await enqueueOne(store.db, { execution: standing(status) })
    const before = await rowOf(store, id)
    await expect(createExecutionStore(store.db).replay(id)).rejects.toMatchObject({ code: 'CONFLICT' })
    expect(await rowOf(store, id)).toEqual(before)
  })

  test('says when there is no such execution', async () => {
    await expect(createExecutionStore(store.db).replay('none')).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  test('of many takes all that match once, though what succeeded comes back as new', async () => {
    const executions = createExecutionStore(store.db)
    const jobs = Array.from({ length: 25 }, (_, i) => ({ execution: standing(i % 2 ? 'dead' : 'succeeded') }))
    await enqueue(store.db, ...jobs, { execution: standing('failed') }, { execution: standing('running') }, {})
    let [replayed, rounds, after]: [number, number, string | null] = [0, 0, '']
    while (after !== null && rounds++ < 10) {
      const batch = await executions.replayMany({}, 10, after)
      replayed += batch.replayed
      after = batch.last
    }
    expect({ replayed, rounds }).toEqual({ replayed: 25, rounds: 3 })
    expect(await executions.counts()).toEqual({ queued: 1 + 25, succeeded: 13, failed: 1, running: 1 })
  })

  test('of many follows its filter', async () => {
    const executions = createExecutionStore(store.db)
    const job = (hook: string, createdAt: number) => ({ hook, execution: standing('dead', { createdAt }) })
    const [, wanted] = await enqueue(store.db, job('a', 100), job('a', 200), job('a', 300), job('b', 200))
    const filter = { hook: '/custom/a', status: 'dead' as const, from: 200, to: 300 }
    expect(await executions.replayMany(filter, 10)).toEqual({ replayed: 1, last: null })
    expect(await rowOf(store, wanted)).toMatchObject({ status: 'queued' })
    expect(await executions.counts()).toEqual({ queued: 1, dead: 3 })
  })

  test('begins with a fresh journal', async () => {
    const id = await enqueueOne(store.db)
    const queue = open()
    const claim = await claimOne(queue)
    await queue.journal(id, 1, { callNo: 1, fingerprint: 'f', answer: 'stale' })
    const http = { kind: 'http' as const, summary: 'POST http://erp/', at: 1, durationMs: 1 }
    await queue.settle([{ ...dead(claim), attempt: attemptOf(claim, { calls: [http] }) }])
    await createExecutionStore(store.db).replay(id)
    expect(await queue.journaled(id, 1)).toEqual([])
  })
})

onEachEngine('executions', store => {
  test('have their event, their history and their place among the executions of the event', async () => {
    const executions = createExecutionStore(store.db)
    const [a, b] = (await enqueue(store.db, { event: { id: 'e1' } })).concat(
      await enqueue(store.db, { event: { id: 'e2' } })
    )
    const queue = createQueue(store.db, 'n1', 60_000)
    const claims = await claimAll(queue)
    await queue.settle(claims.map(claim => succeeded(claim, { result: claim.event.id })))
    const { execution, history } = await executions.get(a as string)
    expect(execution).toMatchObject({ id: a, eventId: 'e1', status: 'succeeded', result: 'e1' })
    expect(history).toMatchObject([{ run: 1, attempt: 1, result: 'e1' }])
    expect((await executions.ofEvents(['e1', 'e2'])).map(({ id }) => id)).toEqual([a, b])
    await expect(executions.get('none')).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  test('that are dead letters can be discarded, others not', async () => {
    const executions = createExecutionStore(store.db)
    const [letter, done] = (await enqueue(
      store.db,
      { execution: standing('dead', { attempts: 8 }) },
      { execution: standing('succeeded') }
    )) as [string, string]
    expect(await executions.discard(letter)).toMatchObject({ id: letter, status: 'discarded', attempts: 8 })
    expect(await rowOf(store, letter)).toMatchObject({ status: 'discarded', attempts: 8 })
    for (const id of [letter, done]) await expect(executions.discard(id)).rejects.toMatchObject({ code: 'CONFLICT' })
    await expect(executions.discard('none')).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  test('that were calls are remembered with their run, and never queued', async () => {
    const executions = createExecutionStore(store.db)
    const { event, execution } = jobOf({ event: { source: 'call' }, execution: standing('failed') })
    const attempt = attemptOf({ event: { ...event, receivedAt: 0 }, execution, lane: null }, { run: 1 })
    await executions.record(event, execution, attempt)
    expect(await executions.get(execution.id)).toEqual({ execution, history: [attempt] })
    expect(await createEventStore(store.db).get(event.id)).toMatchObject({ source: 'call' })
    expect(await claimAll(createQueue(store.db, 'n1', 60_000))).toEqual([])
  })

  test('are counted by status and hook, for all or one merchant', async () => {
    const executions = createExecutionStore(store.db)
    await enqueue(
      store.db,
      { hook: 'a', event: { merId: 7 }, execution: { createdAt: 500 } },
      { hook: 'a', event: { merId: 7 }, execution: standing('dead', { createdAt: 100 }) },
      { hook: 'b', execution: standing('retrying', { createdAt: 300 }) }
    )
    expect(await executions.counts()).toEqual({ queued: 1, dead: 1, retrying: 1 })
    expect(await executions.counts(7)).toEqual({ queued: 1, dead: 1 })
    const byHook = await executions.countsByHook()
    expect(byHook.sort((x, y) => x.status.localeCompare(y.status))).toEqual([
      { hook: '/custom/a', status: 'dead', count: 1 },
      { hook: '/custom/a', status: 'queued', count: 1 },
      { hook: '/custom/b', status: 'retrying', count: 1 }
    ])
    expect(await executions.countsByHook(8)).toEqual([])
    const backlog = await executions.backlog()
    expect(backlog.sort((x, y) => x.hook.localeCompare(y.hook))).toEqual([
      { hook: '/custom/a', waiting: 1, oldest: 500 },
      { hook: '/custom/b', waiting: 1, oldest: 300 }
    ])
    expect(await executions.backlog(7)).toEqual([{ hook: '/custom/a', waiting: 1, oldest: 500 }])
    expect(await executions.backlog(8)).toEqual([])
  })
})

onEachEngine('purging', store => {
  const madeAt = (createdAt: number, status: ExecutionStatus, finishedAt = createdAt) => ({
    execution: { ...standing(status), id: uuid({ msecs: createdAt }), createdAt, finishedAt }
  })

  test('deletes what was finished before its time with its runs, and keeps dead letters and what is unfinished', async () => {
    const executions = createExecutionStore(store.db)
    const [old, now] = [Date.now() - 40 * DAY_MS, Date.now()]
    const time = now - 30 * DAY_MS
    const gone = await enqueue(
      store.db,
      ...[madeAt(old, 'succeeded'), madeAt(old, 'failed'), madeAt(old, 'discarded'), madeAt(time - 1, 'succeeded')]
    )
    const kept = await enqueue(
      store.db,
      ...[madeAt(old, 'dead'), madeAt(time, 'succeeded'), madeAt(now, 'succeeded')],
      // A dead letter of long ago that was replayed today.
      madeAt(old, 'succeeded', now),
      ...(['queued', 'retrying', 'running'] as const).map(status => ({
        execution: { ...standing(status), id: uuid({ msecs: old }), createdAt: old }
      }))
    )
    for (const id of [...gone, ...kept]) {
      const { execution } = await executions.get(id)
      const claim = { execution, event: { ...eventOf(), receivedAt: 0 }, lane: null }
      const { logs, calls, ...run } = attemptOf(claim, { run: 1 })
      await store.db('sandhook_attempts').insert({
        ...{ execution_id: id, run: 1, attempt: 1, version: run.version, started_at: 0, duration_ms: 0, cpu_ms: 0 },
        ...{ logs: JSON.stringify(logs), logs_cut: 0, calls: JSON.stringify(calls) }
      })
    }
    expect(await executions.purge(time, 3)).toBe(3)
    expect(await executions.purge(time, 3)).toBe(1)
    expect(await executions.purge(time, 3)).toBe(0)
    expect((await store.db('sandhook_executions').pluck('id')).sort()).toEqual(kept.sort())
    expect((await store.db('sandhook_attempts').pluck('execution_id')).sort()).toEqual(kept.sort())
  })
})

onEachEngine('ids of a run', store => {
  test('come back from the queue as they were', async () => {
    const ids = await enqueue(store.db, {}, {})
    expect(idsOf(await claimAll(createQueue(store.db, 'n', 1))).sort()).toEqual(ids)
  })
})
