import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Fleet } from '../../runtime/runner/fleet.ts'
import { engines } from '../support/databases.ts'
import { type Admin, ended, hookBody, openAdmin, openFleet } from './admin.ts'

let fleet: Fleet
beforeAll(() => {
  fleet = openFleet()
})
afterAll(() => fleet.close())

describe.each(engines)('on $name', ({ make, missing }) => {
  describe.skipIf(missing)('access', () => {
    let admin: Admin
    let drop: () => Promise<void>
    const keys: Record<string, string> = {}

    beforeAll(async () => {
      const database = await make()
      drop = database.drop
      admin = await openAdmin(database.url, fleet)
      keys.admin = await admin.token(['admin'])
      keys.viewer = await admin.token(['viewer'])
      keys.merchant = await admin.token(['merchant'], 7)
      keys.rival = await admin.token(['merchant'], 8)
      keys.boundViewer = await admin.token(['viewer'], 7)
      keys.sender = await admin.token(['events:write'])
      keys.caller = await admin.token(['hooks:call'], 7)
    })
    afterAll(async () => {
      await admin?.close()
      await drop?.()
    })

    const call = (role: string, method: string, url: string, body?: unknown) =>
      admin.call(keys[role] ?? null, method, url, body)

    /** Whom each address lets in; everybody else is refused before anything else is looked at. */
    const READ = ['admin', 'viewer', 'merchant', 'boundViewer']
    const WRITE = ['admin', 'merchant']
    const PLATFORM = ['admin', 'viewer']
    const ADDRESSES: [string, string, string[]][] = [
      ['GET', '/hooks', READ],
      ['POST', '/hooks', WRITE],
      ['GET', '/hooks/x', READ],
      ['PATCH', '/hooks/x', WRITE],
      ['DELETE', '/hooks/x', WRITE],
      ['GET', '/hooks/x/versions', READ],
      ['GET', '/hooks/x/versions/1', READ],
      ['POST', '/hooks/x/versions/1/publish', WRITE],
      ['GET', '/events', READ],
      ['GET', '/events/x', READ],
      ['GET', '/executions', READ],
      ['GET', '/executions/x', READ],
      ['POST', '/executions/x/replay', WRITE],
      ['POST', '/executions/x/discard', WRITE],
      ['POST', '/executions/replay', WRITE],
      ['GET', '/env', READ],
      ['PUT', '/env/9', WRITE],
      ['DELETE', '/env/9', WRITE],
      ['GET', '/tokens', ['admin']],
      ['POST', '/tokens', ['admin']],
      ['DELETE', '/tokens/x', ['admin']],
      ['GET', '/audit', READ],
      ['GET', '/stats', READ],
      ['GET', '/catalog', READ],
      ['GET', '/monitor/missing', PLATFORM],
      ['GET', '/monitor/missing/x', PLATFORM],
      ['POST', '/monitor/missing/x/inject', ['admin']],
      ['GET', '/monitor/missing-events', PLATFORM],
      ['POST', '/monitor/missing-events/raise', ['admin']],
      ['GET', '/messages/dead', ['admin']],
      ['POST', '/messages/dead/refeed', ['admin']]
    ]
    test.each(ADDRESSES)('%s %s', async (method, url, allowed) => {
      for (const role of ['admin', 'viewer', 'merchant', 'boundViewer', 'sender', 'caller']) {
        const { status, body } = await call(role, method, `/admin/v1${url}`)
        const refused = status === 403 && body.code === 'FORBIDDEN'
        expect([role, refused]).toEqual([role, !allowed.includes(role)])
        if (refused) expect(body.detail).toMatch(/scope admin/)
      }
      for (const header of [undefined, 'Bearer', 'Bearer nonsense', 'Basic YTpi', `Bearer ${keys.admin} x`]) {
        const headers = header === undefined ? {} : { authorization: header }
        const answer = await admin.app.inject({ method: method as 'GET', url: `/admin/v1${url}`, headers })
        expect([answer.statusCode, answer.json().code]).toEqual([401, 'UNAUTHENTICATED'])
        expect(answer.headers['www-authenticate']).toBe('Bearer')
      }
    })

    test('the table above names every address of the API', async () => {
      const { body } = await call('admin', 'GET', '/openapi.json')
      const known = Object.entries(body.paths as Record<string, object>).flatMap(([path, methods]) =>
        path.startsWith('/admin/v1') ? Object.keys(methods).map(method => `${method.toUpperCase()} ${path}`) : []
      )
      expect(known.length).toBe(ADDRESSES.length)
    })

    test('a token ends when it expires, and when it is revoked', async () => {
      const brief = await admin.token(['admin'], null, Date.now() + 300)
      expect((await admin.call(brief, 'GET', '/admin/v1/hooks')).status).toBe(200)
      await expect.poll(async () => (await admin.call(brief, 'GET', '/admin/v1/hooks')).status).toBe(401)

      const made = await call('admin', 'POST', '/admin/v1/tokens', { name: 'ci', scopes: ['viewer'] })
      expect(made.status).toBe(201)
      const { id, token } = made.body
      expect((await admin.call(token, 'GET', '/admin/v1/hooks')).status).toBe(200)
      expect((await call('admin', 'DELETE', `/admin/v1/tokens/${id}`)).status).toBe(204)
      expect((await admin.call(token, 'GET', '/admin/v1/hooks')).status).toBe(401)
      expect((await call('admin', 'DELETE', `/admin/v1/tokens/${id}`)).status).toBe(404)
    })

    test('a token is shown once and stored hashed', async () => {
      const { body } = await call('admin', 'POST', '/admin/v1/tokens', {
        ...{ name: 'shop 7', scopes: ['merchant'], merId: '7', expiresAt: '2099-01-01T00:00:00Z' }
      })
      expect(body).toMatchObject({ name: 'shop 7', merId: 7, expiresAt: '2099-01-01T00:00:00.000Z' })
      const texts = await Promise.all(['/tokens', '/audit'].map(url => call('admin', 'GET', `/admin/v1${url}`)))
      for (const { text } of texts) {
        expect(text).toContain('shop 7')
        expect(text).not.toContain(body.token)
      }
      const rows = JSON.stringify([await admin.db('sandhook_tokens'), await admin.db('sandhook_audit')])
      expect(rows).not.toContain(body.token)
      expect((await admin.call(body.token, 'GET', '/admin/v1/hooks')).status).toBe(200)
    })

    test.each([
      ['a merchant without merId', { scopes: ['merchant'] }, '/merId'],
      ['an admin of a merchant', { scopes: ['admin'], merId: 7 }, '/merId'],
      ['no scope', { scopes: [] }, '/scopes'],
      ['an unknown scope', { scopes: ['root'] }, '/scopes/0'],
      ['a past expiry', { scopes: ['viewer'], expiresAt: '2001-01-01T00:00:00Z' }, '/expiresAt']
    ])('no token for %s', async (_what, fields, path) => {
      const { status, body } = await call('admin', 'POST', '/admin/v1/tokens', { name: 'x', ...fields })
      expect([status, body.code, body.errors[0].path]).toEqual([400, 'REQUEST_INVALID', path])
    })

    describe('a merchant', () => {
      let foreign: { hook: string; event: string; execution: string }
      let platformHook: string

      beforeAll(async () => {
        const hook = await call('rival', 'POST', '/admin/v1/hooks', hookBody('/custom/rival'))
        await call('rival', 'PUT', '/admin/v1/env/RIVAL_KEY', { value: 'rival-value' })
        const seeded = await admin.seed({ id: 'rival-event', merId: 8, key: 'RIVAL-1' }, { ...ended('dead'), merId: 8 })
        foreign = { hook: hook.body.id, event: seeded.event.id, execution: seeded.execution.id }
        platformHook = (await call('admin', 'POST', '/admin/v1/hooks', hookBody('/custom/platform'))).body.id
        await call('admin', 'PUT', '/admin/v1/env/PLATFORM_KEY', { value: 'platform-value' })
        await call('admin', 'POST', '/admin/v1/hooks', hookBody('/custom/mine', { merId: 7 }))
        await call('merchant', 'PUT', '/admin/v1/env/OWN_KEY', { value: 'own-value' })
        await admin.seed({ id: 'own-event', merId: 7 }, { ...ended('dead'), merId: 7 })
      })

      test('has no way to another one’s things, which look as if they were not there', async () => {
        const ways: [string, string, unknown?][] = [
          ['GET', `/hooks/${foreign.hook}`],
          ['PATCH', `/hooks/${foreign.hook}`, { enabled: false }],
          ['DELETE', `/hooks/${foreign.hook}`],
          ['GET', `/hooks/${foreign.hook}/versions`],
          ['GET', `/hooks/${foreign.hook}/versions/1`],
          ['POST', `/hooks/${foreign.hook}/versions/1/publish`],
          ['GET', `/hooks/${platformHook}`],
          ['PATCH', `/hooks/${platformHook}`, { script: 'return 1' }],
          ['GET', `/events/${foreign.event}`],
          ['GET', `/executions/${foreign.execution}`],
          ['POST', `/executions/${foreign.execution}/replay`],
          ['POST', `/executions/${foreign.execution}/discard`],
          ['DELETE', '/env/RIVAL_KEY'],
          ['DELETE', '/env/PLATFORM_KEY']
        ]
        const swap = (text: string) => text.replaceAll(/[0-9a-f-]{36}|rival-event|RIVAL_KEY|PLATFORM_KEY/g, '<name>')
        for (const [method, url, body] of ways) {
          const answer = await call('merchant', method, `/admin/v1${url}`, body)
          expect([method, url, answer.status]).toEqual([method, url, 404])
          const missing = url.replace(/[0-9a-f-]{36}|rival-event|RIVAL_KEY|PLATFORM_KEY/, name =>
            name.endsWith('KEY') ? 'NO_KEY' : '00000000-0000-0000-0000-000000000000'
          )
          const nothing = await call('merchant', method, `/admin/v1${missing}`, body)
          expect(swap(nothing.text).replace('NO_KEY', '<name>')).toBe(swap(answer.text))
        }
        expect((await call('rival', 'GET', `/admin/v1/hooks/${foreign.hook}`)).body.enabled).toBe(true)
      })

      test.each(['/hooks', '/events', '/executions', '/env', '/audit', '/stats'])(
        'sees only its own in %s',
        async url => {
          const { text, status } = await call('merchant', 'GET', `/admin/v1${url}`)
          expect(status).toBe(200)
          expect(text).not.toMatch(/rival|platform|"merId":(8|null)|RIVAL|PLATFORM/i)
          const asked = await call('merchant', 'GET', `/admin/v1${url}?merId=8`)
          expect([asked.status, asked.body.code]).toEqual([403, 'FORBIDDEN'])
          expect((await call('merchant', 'GET', `/admin/v1${url}?merId=7`)).status).toBe(200)
          if (url !== '/stats') expect(JSON.parse(text).items.length).toBeGreaterThan(0)
          expect((await call('boundViewer', 'GET', `/admin/v1${url}`)).text).not.toMatch(/rival|platform/i)
          expect((await call('viewer', 'GET', `/admin/v1${url}`)).status).toBe(200)
        }
      )

      test('counts only its own, and learns nothing of the node’s load', async () => {
        const { body } = await call('merchant', 'GET', '/admin/v1/stats')
        expect(body.executions).toEqual({ dead: 1 })
        expect(body.live).toBeNull()
        expect((await call('admin', 'GET', '/admin/v1/stats')).body).toMatchObject({
          executions: { dead: 2 },
          live: {}
        })
      })

      test('replays in bulk only its own', async () => {
        const nudged = admin.nudges()
        expect((await call('merchant', 'POST', '/admin/v1/executions/replay', { merId: 8 })).status).toBe(403)
        expect((await call('merchant', 'POST', '/admin/v1/executions/replay', { merId: null })).status).toBe(403)
        const { body } = await call('merchant', 'POST', '/admin/v1/executions/replay', { status: 'dead' })
        expect(body).toEqual({ replayed: 1 })
        expect(admin.nudges()).toBeGreaterThan(nudged)
        expect((await call('rival', 'GET', `/admin/v1/executions/${foreign.execution}`)).body.status).toBe('dead')
      })

      test('owns what it makes, whatever it says', async () => {
        const made = await call('merchant', 'POST', '/admin/v1/hooks', hookBody('/custom/rival'))
        expect([made.status, made.body.merId]).toEqual([201, 7])
        for (const merId of [8, null, '8'])
          expect((await call('merchant', 'POST', '/admin/v1/hooks', hookBody('/custom/z', { merId }))).status).toBe(403)
        const { id } = made.body
        expect((await call('merchant', 'PATCH', `/admin/v1/hooks/${id}`, { merId: 8 })).status).toBe(403)
        expect((await call('merchant', 'PUT', '/admin/v1/env/A', { value: '1', merId: null })).status).toBe(403)
        expect((await call('merchant', 'PUT', '/admin/v1/env/A', { value: '1', merId: '7' })).body.merId).toBe(7)
      })

      test('may neither open a hook to the world, nor reach for env keys, nor raise limits', async () => {
        const make = (more: object) => call('merchant', 'POST', '/admin/v1/hooks', hookBody('/custom/greedy', more))
        expect((await make({ public: true })).status).toBe(403)
        // Neither a platform's key nor one of its own: without the own value, the platform's would show through.
        for (const env of [['PLATFORM_KEY'], ['OWN_KEY'], ['LATER_KEY']]) expect((await make({ env })).status).toBe(403)
        const high = await make({ limits: { wallMs: 30_001, dbCalls: 101 } })
        expect([high.status, high.body.code]).toEqual([422, 'HOOK_INVALID'])
        expect(high.body.errors.map((e: { path: string }) => e.path)).toEqual(['/limits/wallMs', '/limits/dbCalls'])
        const low = await make({ limits: { wallMs: 1_000 }, env: [] })
        expect(low.status).toBe(201)
        expect((await call('merchant', 'PATCH', `/admin/v1/hooks/${low.body.id}`, { public: true })).status).toBe(403)
      })

      test('keeps what an admin granted to its hook', async () => {
        const grants = { public: true, env: ['PLATFORM_KEY'], limits: { wallMs: 60_000 } }
        const { body } = await call(
          'admin',
          'POST',
          '/admin/v1/hooks',
          hookBody('/custom/granted', { merId: 7, ...grants })
        )
        expect(body).toMatchObject({ merId: 7, ...grants })
        const url = `/admin/v1/hooks/${body.id}`
        const kept = await call('merchant', 'PATCH', url, { ...grants, description: 'new' })
        expect([kept.status, kept.body]).toMatchObject([200, { ...grants, description: 'new' }])
        expect((await call('merchant', 'PATCH', url, { limits: { wallMs: 60_001 } })).status).toBe(422)
        const beyond = await call('admin', 'PATCH', url, { limits: { wallMs: 600_001 } })
        expect(beyond.body.errors[0]).toMatchObject({ path: '/limits/wallMs' })
      })
    })
  })
})
