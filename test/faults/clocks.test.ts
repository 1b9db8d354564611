import { v7 as uuid } from 'uuid'
import { expect, test } from 'vitest'
import { createAccept } from '../../runtime/events/accept.ts'
import { createRegistry } from '../../runtime/events/registry.ts'
import { createHookStore } from '../../runtime/store/hooks.ts'
import { createQueue } from '../../runtime/store/queue.ts'
import { enqueueOne, hookFields, onEachEngine } from '../store/fixtures.ts'

const AHEAD_MS = 60_000

onEachEngine('an event that a node accepts whose clock is behind', store => {
  test('runs after those of its order that are accepted already, and its batch keeps its order', async () => {
    const { db } = store
    const hooks = createHookStore(db)
    const { id: hook } = await hooks.create(hookFields({}), { script: 'return 1', compiled: null }, 'test')
    const early = uuid({ msecs: Date.now() + AHEAD_MS })
    await enqueueOne(db, { hook, key: 'order-1', execution: { id: early } })
    const accept = createAccept({
      ...{ db, registry: createRegistry(hooks), merchantOf: async () => null },
      ...{ onAccepted: () => {}, onCounted: () => {} }
    })
    const event = (id: string, key: string) => ({ id, eventKey: 'ORDER_PAY_SUCCESS', payload: 1, key })
    const accepted = await accept([event('a', 'order-1'), event('b', 'order-1'), event('c', 'order-2')], 'http')
    const ids = accepted.flatMap(({ executions }) => executions)
    const inLane = await db('sandhook_executions').whereNot('id', ids[2]).orderBy('id').pluck('id')
    expect(inLane).toEqual([early, ids[0], ids[1]])
    const { claims } = await createQueue(db, 'n1', 15_000).claim({ count: 10, room: () => true, fullHooks: [] })
    expect(claims.map(({ execution }) => execution.id).sort()).toEqual([early, ids[2]].sort())
  })
})
