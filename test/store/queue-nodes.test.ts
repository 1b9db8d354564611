import { expect, test } from 'vitest'
import { createQueue } from '../../runtime/store/queue.ts'
import { claimAll, enqueue, onMysql, retrying, succeeded } from './fixtures.ts'

/** Watches from outside what several nodes run: who ran what, in which order, and whether a lane ran twice at once. */
function createMonitor() {
  const runs = new Map<string, number>()
  const order = new Map<string, string[]>()
  const running = new Set<string>()
  const overlaps: string[] = []
  return {
    runs,
    order,
    overlaps,
    begin(id: string, lane: string | null) {
      runs.set(id, (runs.get(id) ?? 0) + 1)
      if (lane === null) return
      if (running.has(lane)) overlaps.push(id)
      running.add(lane)
      order.set(lane, [...(order.get(lane) ?? []), id])
    },
    end: (lane: string | null) => lane !== null && running.delete(lane)
  }
}

onMysql('several nodes', store => {
  const JOBS = Array.from({ length: 1_000 }, (_, i) => ({ key: i % 5 === 0 ? null : `order-${i % 61}` }))
  const tick = () => new Promise(resolve => setImmediate(resolve))

  test.each([2, 3])('%i of them run 1 000 executions once each, in order, never two of a lane at once', async nodes => {
    const ids = await enqueue(store.db, ...JOBS)
    const monitor = createMonitor()
    const work = async (node: string) => {
      const queue = createQueue(store.connect(), node, 60_000)
      while (monitor.runs.size < ids.length) {
        const claims = await claimAll(queue, { count: 25 })
        for (const { execution, lane } of claims) monitor.begin(execution.id, lane)
        await tick()
        for (const { lane } of claims) monitor.end(lane)
        expect(await queue.settle(claims.map(claim => succeeded(claim)))).toEqual(new Set())
      }
    }
    await Promise.all(Array.from({ length: nodes }, (_, i) => work(`node-${i}`)))

    expect(monitor.overlaps).toEqual([])
    expect([...monitor.runs.keys()].sort()).toEqual(ids)
    expect([...monitor.runs.values()].every(count => count === 1)).toBe(true)
    for (const seen of monitor.order.values()) expect(seen).toEqual([...seen].sort())
    const [counted] = await store.db('sandhook_executions').where({ status: 'succeeded', runs: 1 }).count('* as n')
    expect(Number(counted?.n)).toBe(1_000)
  })

  test('that die while others claim, renew and reap leave every execution run to its end, with no error to be seen', async () => {
    const ids = await enqueue(store.db, ...JOBS.slice(0, 300))
    const done = new Set<string>()
    const work = async (node: string) => {
      const queue = createQueue(store.connect(), node, 60_000)
      // What this node claims besides, it loses at once, as one does that dies.
      const dying = createQueue(store.connect(), `${node}-dying`, -1)
      while (done.size < ids.length) {
        await claimAll(dying, { count: 3 })
        const claims = await claimAll(queue, { count: 20 })
        await Promise.all([queue.renew(claims.map(({ execution }) => execution.id)), queue.reap()])
        const ends = claims.map(claim =>
          claim.execution.attempts === 0 && claim.execution.runs % 2 === 1
            ? retrying(claim, Date.now())
            : succeeded(claim)
        )
        expect(await queue.settle(ends)).toEqual(new Set())
        for (const { execution } of ends) if (execution.finishedAt !== null) done.add(execution.id)
      }
    }
    await Promise.all([work('n1'), work('n2'), work('n3')])
    const left = await store.db('sandhook_executions').whereNot({ status: 'succeeded' }).select('id')
    expect(left).toEqual([])
  })
})
