import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { engines } from '../support/databases.ts'
import type { Operation } from './document.ts'
import { markOf } from './judge.ts'
import { kindOf } from './memory.ts'
import { ROLES, type Role } from './plans.ts'
import type { Received } from './send.ts'
import { openWorld, type World } from './world.ts'

const NOBODY = '00000000-0000-7000-8000-000000000000'
const roles = Object.keys(ROLES) as Role[]

describe.each(engines.slice(0, 1))('the scopes that the document names', entry => {
  let world: World
  let address = 0

  beforeAll(async () => {
    world = await openWorld(entry)
  })
  afterAll(() => world?.close())

  function ask(method: string, path: string, secret: string | null, body: object | null = null): Promise<Received> {
    const headers = {
      'x-forwarded-for': `192.0.2.${address++ % 256}`,
      ...(secret === null ? {} : { authorization: `Bearer ${secret}` }),
      ...(body === null ? {} : { 'content-type': 'application/json' })
    }
    return world.send({ method, path, headers, body: body === null ? null : JSON.stringify(body) })
  }
  const secretOf = (role: Role) => world.memory.planted(role).secret
  const guarded = () => world.operations.filter(({ scopes }) => scopes !== null)
  const at = ({ path }: Operation, id: string) =>
    path.replace('{id}', id).replace('{key}', 'NO_KEY').replace('{n}', '1')
  const codeOf = ({ text }: Received) => (text === '' ? undefined : JSON.parse(text).code)

  test('guard all of the admin API and the events, and nothing else but hooks', () => {
    const open = world.operations.filter(({ scopes }) => scopes === null).map(({ path }) => path)
    expect(open.filter(path => path.startsWith('/admin') || path === '/events')).toEqual([])
    expect(guarded().length).toBeGreaterThan(30)
  })

  test('let in whom they name and nobody else, at every address', async () => {
    for (const operation of guarded())
      for (const role of roles) {
        const { status, text } = await ask(operation.method, at(operation, NOBODY), secretOf(role))
        const named = ROLES[role].scopes.some(scope => operation.scopes?.includes(scope))
        // Messages are of all merchants: a token that is bound to one sees none.
        const foreign = 'merId' in ROLES[role] && operation.path.startsWith('/admin/v1/monitor')
        expect([operation.name, role, status === 403, text]).toEqual([operation.name, role, !named || foreign, text])
        expect([operation.name, role, status === 401]).toEqual([operation.name, role, false])
      }
  })

  test('let nobody in without a token, with an unknown, revoked or expired one, or with one elsewhere than in its header', async () => {
    const make = async (fields: object) =>
      (await world.sandhook.call('POST', '/admin/v1/tokens', { name: 'x', scopes: ['admin'], ...fields })).body
    const revoked = await make({})
    await world.sandhook.call('DELETE', `/admin/v1/tokens/${revoked.id}`)
    const expired = await make({ expiresAt: new Date(Date.now() + 300).toISOString() })
    await expect.poll(async () => (await ask('GET', '/admin/v1/catalog', expired.token)).status).toBe(401)
    for (const operation of guarded()) {
      const path = at(operation, NOBODY)
      const inQuery = `${path}?token=${secretOf('admin')}&access_token=${secretOf('admin')}`
      const answers = [
        ...[await ask(operation.method, path, null), await ask(operation.method, path, 'shk_unknown')],
        ...[await ask(operation.method, path, revoked.token), await ask(operation.method, path, expired.token)],
        await ask(operation.method, inQuery, null)
      ]
      expect([operation.name, ...answers.map(codeOf)]).toEqual([
        operation.name,
        ...answers.map(() => 'UNAUTHENTICATED')
      ])
    }
  })

  test("hide a merchant's things from another as if there were none, at every address that names one", async () => {
    const owned = guarded().filter(
      operation => /\{(id|key)\}/.test(operation.path) && operation.scopes?.includes('merchant')
    )
    expect(owned.length).toBeGreaterThan(10)
    for (const operation of owned) {
      const body = operation.name.startsWith('PATCH') ? { description: 'mine now' } : null
      const [id = ''] = world.things.b[kindOf(operation)] ?? []
      const path = operation.path.replace('{id}', id).replace('{key}', 'HIDDEN').replace('{n}', '1')
      if (operation.method === 'PUT' || path.includes('/env/')) continue
      const foreign = await ask(operation.method, path, secretOf('merchantA'), body)
      const none = await ask(operation.method, at(operation, NOBODY), secretOf('merchantA'), body)
      expect([operation.name, foreign.status, none.status]).toEqual([operation.name, 404, 404])
      expect(foreign.text.replaceAll(id, NOBODY)).toBe(none.text)
    }
    for (const ids of Object.values(world.things.b).filter(ids => ids.length > 0)) expect(ids.length).toBeGreaterThan(0)
  })

  test("keep a merchant's own from another's lists, hooks and events", async () => {
    const secret = secretOf('merchantA')
    const lists = guarded().filter(
      ({ method, query, scopes }) => method === 'GET' && 'merId' in query && scopes?.includes('merchant')
    )
    expect(lists.length).toBeGreaterThan(4)
    for (const { path } of lists) {
      const { status, text } = await ask('GET', path, secret)
      expect([path, status, text.includes(markOf('shop-b')), text.includes('mark-none-')]).toEqual([
        path,
        200,
        false,
        false
      ])
      expect([path, (await ask('GET', `${path}?merId=shop-b`, secret)).status]).toEqual([path, 403])
    }
    expect((await ask('POST', '/custom/telling-b', secret, {})).status).toBe(404)
    expect((await ask('POST', '/custom/telling-b', secretOf('merchantB'), {})).text).toBe(
      `["${markOf('shop-b')}","***"]`
    )
    const event = { eventKey: 'X', payload: '1', merId: 'shop-b' }
    expect((await ask('POST', '/events', secret, event)).status).toBe(403)
    const hook = { path: '/custom/for-b', script: '', merId: 'shop-b' }
    expect((await ask('POST', '/admin/v1/hooks', secret, hook)).status).toBe(403)
    expect((await ask('PUT', '/admin/v1/env/HIDDEN', secret, { value: 'x', merId: 'shop-b' })).status).toBe(403)
    expect((await ask('DELETE', '/admin/v1/env/HIDDEN?merId=shop-b', secret)).status).toBe(403)
  })

  test('let nobody call a hook that is not public but those with hooks:call, its owner and admins', async () => {
    const able = async (path: string) =>
      Object.fromEntries(
        await Promise.all(roles.map(async role => [role, (await ask('GET', path, secretOf(role))).status]))
      )
    const refused = { viewer: 403, viewerA: 403, sender: 403, senderB: 403 }
    expect(await able('/custom/telling-b')).toEqual({
      ...{ ...refused, merchantB: 200, merchantA: 404 },
      // A path belongs to an owner: without a merchant it is the platform's.
      ...{ admin: 404, caller: 404 }
    })
    const platform = { ...refused, merchantA: 200, merchantB: 200, admin: 200, caller: 200 }
    expect(await able('/custom/telling-none')).toEqual(platform)
    expect((await ask('GET', '/custom/telling-b', null)).status).toBe(401)
  })
})

describe('methods', () => {
  let world: World
  beforeAll(async () => {
    world = await openWorld(engines[0] as (typeof engines)[number])
  })
  afterAll(() => world?.close())

  test('HEAD answers as GET does, without a body; others than the documented ones are refused with those that are taken', async () => {
    const headers = { authorization: `Bearer ${world.memory.planted('admin').secret}` }
    const paths = Map.groupBy(world.operations, ({ path }) => path)
    for (const [path, operations] of paths) {
      const methods = operations.map(({ method }) => method)
      const at = path.replace('{id}', NOBODY).replace('{key}', 'NO_KEY').replace('{n}', '1').replace('{*}', 'open/7')
      const send = (method: string) => world.send({ method, path: at, headers, body: null })
      if (methods.includes('GET') && !operations[0]?.scripted) {
        const [get, head] = await Promise.all([send('GET'), send('HEAD')])
        expect([path, head.status, head.text]).toEqual([path, get.status, ''])
      }
      for (const method of ['OPTIONS', 'TRACE', 'PROPFIND'].concat(
        ['PUT', 'PATCH', 'DELETE', 'POST'].filter(one => !methods.includes(one))
      )) {
        const { status, headers } = await send(method)
        const others = [...paths.keys()].filter(
          other => other !== path && new RegExp(`^${other.replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(path)
        )
        const taken = others.some(other => paths.get(other)?.some(operation => operation.method === method))
        if (!taken) expect([method, path, status]).toEqual([method, path, 405])
        if (!taken) expect(String(headers.allow).split(', ')).toEqual(expect.arrayContaining(methods))
        expect(Object.keys(headers).filter(name => name.startsWith('access-control'))).toEqual([])
      }
    }
  })
})
