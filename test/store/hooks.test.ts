import { expect, test } from 'vitest'
import { createHookStore } from '../../runtime/store/hooks.ts'
import { hookFields, onEachEngine, onMysql, walk } from './fixtures.ts'

const text = (script: string) => ({ script, compiled: null })

onEachEngine('hooks', store => {
  const open = () => createHookStore(store.db)

  test('come back as they were written, with their first version published', async () => {
    const fields = hookFields({
      ...{
        path: '/custom/erp/order-sync',
        name: '订单同步',
        description: 'x',
        events: ['ORDER_*', 'REFUND'],
        enabled: false
      },
      ...{ merId: 7, builtin: true, public: true, limits: { wallMs: 5 }, retry: { attempts: 3, delaysMs: [1] } },
      ...{ transaction: 'none' as const, env: ['ERP_URL'] }
    })
    const made = await open().create(fields, { script: 'return 1 as number', compiled: 'return 1          ' }, 'ann')
    expect(made).toMatchObject({ ...fields, version: 1 })
    expect(await open().get(made.id)).toEqual(made)
    const version = await open().version(made.id, 1)
    expect(version).toMatchObject({ script: 'return 1 as number', compiled: 'return 1          ', createdBy: 'ann' })
    expect((await open().published()).hooks).toEqual([{ hook: made, version }])
  })

  test('get a next version by a new script, and none by other changes', async () => {
    const { id, createdAt } = await open().create(hookFields(), text('return 1'), 'ann')
    expect(await open().update(id, { name: 'New', enabled: false }, null, 'bob')).toMatchObject({
      ...{ id, name: 'New', enabled: false, version: 1, createdAt, events: ['ORDER_*'] }
    })
    expect(await open().update(id, {}, text('return 2'), 'bob')).toMatchObject({ name: 'New', version: 2 })
    const [published] = (await open().published()).hooks
    expect(published?.version).toMatchObject({ version: 2, script: 'return 2', createdBy: 'bob' })
    expect(await open().version(id, 1)).toMatchObject({ script: 'return 1', createdBy: 'ann' })
  })

  test('are rolled back by publishing an earlier version; the next script is newer than all', async () => {
    const { id } = await open().create(hookFields(), text('one'), 'ann')
    await open().update(id, {}, text('two'), 'ann')
    expect(await open().publish(id, 1)).toMatchObject({ version: 1 })
    expect((await open().published()).hooks[0]?.version.script).toBe('one')
    expect(await open().update(id, {}, text('three'), 'ann')).toMatchObject({ version: 3 })
    const versions = await walk(page => open().versions(id, page), 2)
    expect(versions.map(({ version, script }) => [version, script])).toEqual([
      [3, 'three'],
      [2, 'two'],
      [1, 'one']
    ])
  })

  test('take back what `env` was narrowed to', async () => {
    const { id } = await open().create(hookFields({ env: ['A'] }), text(''), 'ann')
    expect(await open().update(id, { env: null }, null, 'ann')).toMatchObject({ env: null })
    expect(await open().update(id, { env: [] }, null, 'ann')).toMatchObject({ env: [] })
  })

  test('have a path that is taken once for each owner', async () => {
    const first = await open().create(hookFields({ path: '/custom/a' }), text(''), 'ann')
    await open().create(hookFields({ path: '/custom/a', merId: 7 }), text(''), 'ann')
    const other = await open().create(hookFields({ path: '/custom/b' }), text(''), 'ann')
    const taken = { code: 'HOOK_PATH_TAKEN', message: expect.stringContaining('/custom/a') }
    await expect(open().create(hookFields({ path: '/custom/a' }), text(''), 'ann')).rejects.toMatchObject(taken)
    await expect(open().update(other.id, { path: '/custom/a' }, text('new'), 'ann')).rejects.toMatchObject(taken)
    expect(await open().get(other.id), 'nothing of it').toMatchObject({ path: '/custom/b', version: 1 })
    expect((await open().versions(other.id, { limit: 10 })).items).toHaveLength(1)
    await open().remove(first.id)
    await open().update(other.id, { path: '/custom/a' }, null, 'ann')
  })

  test('raise the revision with every change, and by nothing else', async () => {
    const seen = new Set([await open().revision()])
    const next = async () => {
      const revision = await open().revision()
      expect(seen.has(revision)).toBe(false)
      seen.add(revision)
      expect((await open().published()).revision).toBe(revision)
    }
    const { id } = await open().create(hookFields(), text('one'), 'ann')
    await next()
    await open().update(id, { name: 'x' }, text('two'), 'ann')
    await next()
    await open().publish(id, 1)
    await next()
    await open().get(id)
    await expect(open().create(hookFields(), text(''), 'ann')).rejects.toThrow()
    expect(seen.has(await open().revision())).toBe(true)
    await open().remove(id)
    await next()
  })

  test('are gone with all their versions when removed', async () => {
    const { id } = await open().create(hookFields(), text('one'), 'ann')
    await open().update(id, {}, text('two'), 'ann')
    await open().remove(id)
    expect(await open().published()).toMatchObject({ hooks: [] })
    expect((await open().versions(id, { limit: 10 })).items).toEqual([])
    const gone = { code: 'NOT_FOUND' }
    await expect(open().get(id)).rejects.toMatchObject(gone)
    await expect(open().version(id, 1)).rejects.toMatchObject(gone)
    await expect(open().update(id, {}, text(''), 'ann')).rejects.toMatchObject(gone)
    await expect(open().publish(id, 1)).rejects.toMatchObject(gone)
    await expect(open().remove(id)).rejects.toMatchObject(gone)
  })

  test('cannot be published in a version that they do not have', async () => {
    const { id } = await open().create(hookFields(), text('one'), 'ann')
    await expect(open().publish(id, 2)).rejects.toMatchObject({ code: 'NOT_FOUND' })
    expect(await open().get(id)).toMatchObject({ version: 1 })
  })

  test('are listed by path and owner, each once, and filtered', async () => {
    for (const path of ['/custom/c', '/custom/a', '/custom/b'])
      for (const merId of [null, 7, 8]) await open().create(hookFields({ path, merId }), text(''), 'ann')
    const order = (hooks: { path: string; merId: unknown }[]) =>
      hooks.map(hook => `${hook.path.at(-1)}${hook.merId ?? ''}`)
    for (const limit of [1, 2, 9])
      expect(order(await walk(page => open().list({}, page), limit))).toEqual([
        'a',
        'a7',
        'a8',
        'b',
        'b7',
        'b8',
        'c',
        'c7',
        'c8'
      ])
    expect(order(await walk(page => open().list({ path: '/custom/b' }, page), 2))).toEqual(['b', 'b7', 'b8'])
    expect(order(await walk(page => open().list({ merId: 7 }, page), 2))).toEqual(['a7', 'b7', 'c7'])
    expect(order(await walk(page => open().list({ visibleTo: 8 }, page), 2))).toEqual(['a', 'a8', 'b', 'b8', 'c', 'c8'])
  })
})

onMysql('authors at the same moment', store => {
  test('each get a version of their own', async () => {
    const { id } = await createHookStore(store.db).create(hookFields(), text('0'), 'ann')
    const nodes = [createHookStore(store.connect()), createHookStore(store.connect())]
    const scripts = Array.from({ length: 12 }, (_, i) => `return ${i}`)
    await Promise.all(scripts.map((script, i) => nodes[i % 2]?.update(id, {}, text(script), 'ann')))
    const versions = await walk(page => createHookStore(store.db).versions(id, page), 50)
    expect(versions.map(({ version }) => version)).toEqual(Array.from({ length: 13 }, (_, i) => 13 - i))
    expect(versions.map(({ script }) => script).sort()).toEqual(['0', ...scripts].sort())
    expect(await createHookStore(store.db).get(id)).toMatchObject({ version: 13 })
  })

  test('cannot both take a path', async () => {
    const nodes = [createHookStore(store.connect()), createHookStore(store.connect())]
    const answers = await Promise.allSettled(nodes.map(node => node.create(hookFields(), text(''), 'ann')))
    expect(answers.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    expect(answers.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { code: 'HOOK_PATH_TAKEN' } })
  })
})
