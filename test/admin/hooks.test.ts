// biome-ignore-all lint/suspicious/noTemplateCurlyInString: scripts are text here
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { warningsOf } from '../../runtime/admin/hook-script.ts'
import type { Hook } from '../../runtime/model.ts'
import type { Fleet } from '../../runtime/runner/fleet.ts'
import { engines } from '../support/databases.ts'
import { type Admin, config, hookBody, openAdmin, openFleet } from './admin.ts'

let fleet: Fleet
beforeAll(() => {
  fleet = openFleet()
})
afterAll(() => fleet.close())

describe.each(engines)('on $name', ({ make, missing, engine }) => {
  describe.skipIf(missing)('hooks', () => {
    let admin: Admin
    let url: string
    let drop: () => Promise<void>
    let key: string

    beforeAll(async () => {
      const database = await make()
      ;({ url, drop } = database)
      admin = await openAdmin(url, fleet)
      key = await admin.token(['admin'])
    })
    afterAll(async () => {
      await admin?.close()
      await drop?.()
    })

    const call = (method: string, path: string, body?: unknown) => admin.call(key, method, `/admin/v1${path}`, body)

    test('a hook lives: made, read, changed, rolled back, removed', async () => {
      const script = "const { id } = payload.event\nreturn db.selectOne('SELECT 1 AS n WHERE 1 = ?', id)"
      const made = await call('POST', '/hooks', { path: '/custom/life', script, events: ['ORDER_PAY_SUCCESS'] })
      expect(made.status).toBe(201)
      expect(made.body).toMatchObject({
        ...{
          path: '/custom/life',
          name: '/custom/life',
          description: '',
          events: ['ORDER_PAY_SUCCESS'],
          enabled: true
        },
        ...{
          merId: null,
          builtin: false,
          public: false,
          version: 1,
          limits: {},
          retry: {},
          transaction: 'run',
          env: null
        },
        ...{ script, warnings: [] }
      })
      expect(made.body.createdAt).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/)
      const at = `/hooks/${made.body.id}`
      expect((await call('GET', at)).body).toEqual(made.body)

      const changes = {
        ...{ script: 'return 2', name: 'Second', enabled: false, limits: { wallMs: 5000, concurrency: 2 }, merId: '7' },
        ...{ retry: { attempts: 2, delaysMs: [10] }, transaction: 'none', env: ['A', 'B'], public: true }
      }
      const changed = await call('PATCH', at, changes)
      expect([changed.status, changed.body]).toMatchObject([200, { ...changes, merId: 7, version: 2 }])

      const versions = (await call('GET', `${at}/versions`)).body.items
      expect(versions.map((v: { version: number }) => v.version)).toEqual([2, 1])
      expect(versions[0]).toMatchObject({ published: true, script: 'return 2' })
      expect(versions[1]).toMatchObject({
        published: false,
        script,
        createdBy: expect.stringMatching(/^test admin \(/)
      })

      const back = await call('POST', `${at}/versions/1/publish`)
      expect(back.body).toMatchObject({ version: 1, script, name: 'Second' })
      expect((await call('GET', `${at}/versions/1`)).body).toMatchObject({ published: true, script })
      expect((await call('POST', `${at}/versions/9/publish`)).status).toBe(404)
      expect((await call('PATCH', at, { script: 'return 3' })).body.version).toBe(3)

      expect((await call('DELETE', at)).status).toBe(204)
      expect((await call('GET', at)).status).toBe(404)
      expect((await call('GET', `${at}/versions`)).status).toBe(404)
    })

    test('a script that does not compile is refused with its line, column and text, and nothing is kept', async () => {
      const script = 'const a = 1\nconst b = a +* 2\nreturn b'
      const { status, body } = await call('POST', '/hooks', hookBody('/custom/broken', { script }))
      expect([status, body]).toMatchObject([422, { code: 'HOOK_SYNTAX', line: 2, column: 14 }])
      expect(body.excerpt).toBe(`const b = a +* 2\n${' '.repeat(13)}^`)
      expect((await call('GET', '/hooks?path=/custom/broken')).body.items).toEqual([])

      const { body: good } = await call('POST', '/hooks', hookBody('/custom/good'))
      const refused = await call('PATCH', `/hooks/${good.id}`, { script: 'return {', name: 'Changed' })
      expect([refused.status, refused.body.code]).toEqual([422, 'HOOK_SYNTAX'])
      expect((await call('GET', `/hooks/${good.id}`)).body).toMatchObject({ version: 1, name: '/custom/good' })
    })

    test('TypeScript is taken and shown as it was written', async () => {
      const script = 'const n: number = 1\nreturn n as unknown'
      const { status, body } = await call('POST', '/hooks', hookBody('/custom/typed', { script }))
      expect([status, body.script]).toEqual([201, script])
    })

    test('a path is taken once for each owner', async () => {
      expect((await call('POST', '/hooks', hookBody('/custom/twice'))).status).toBe(201)
      const second = await call('POST', '/hooks', hookBody('/custom/twice'))
      expect([second.status, second.body.code]).toEqual([409, 'HOOK_PATH_TAKEN'])
      const other = await call('POST', '/hooks', hookBody('/custom/twice', { merId: 5 }))
      expect(other.status).toBe(201)
      const moved = await call('PATCH', `/hooks/${other.body.id}`, { merId: null })
      expect([moved.status, moved.body.code]).toEqual([409, 'HOOK_PATH_TAKEN'])
    })

    test.each([
      '/other/x',
      '/custom',
      '/custom/',
      '/custom//x',
      '/custom/x/',
      '/custom/../x',
      '/custom/a b',
      '/custom/{id',
      '/custom/é'
    ])('the path %s is refused', async path => {
      const { status, body } = await call('POST', '/hooks', hookBody(path))
      expect([status, body.code, body.errors[0].path]).toEqual([422, 'HOOK_INVALID', '/path'])
    })
    test.each(['/custom/user/{id}/orders', '/lib/a.b-c_d', `/custom/${'x'.repeat(183)}`])(
      'the path %s is taken',
      async path => {
        expect((await call('POST', '/hooks', hookBody(path))).status).toBe(201)
      }
    )

    test('a script of more than 256 KB is refused, in bytes', async () => {
      const fits = `return 1 // ${'订'.repeat(87_000)}`
      expect((await call('POST', '/hooks', hookBody('/custom/large', { script: fits }))).status).toBe(201)
      const { status, body } = await call(
        'POST',
        '/hooks',
        hookBody('/custom/larger', { script: `${fits}${'订'.repeat(500)}` })
      )
      expect([status, body.errors[0].path]).toEqual([422, '/script'])
    })

    test('unknown events, no event at all and SQL put together are warned of, not refused', async () => {
      const script = "const t = 'x'\nreturn db.select(`SELECT * FROM a WHERE b = '${t}'`)"
      const { status, body } = await call(
        'POST',
        '/hooks',
        hookBody('/custom/warned', { script, events: ['ORDER_PAYED', 'NO_*', 'ORDER_PAY_*'] })
      )
      expect(status).toBe(201)
      expect(body.warnings).toEqual([
        expect.stringContaining('ORDER_PAYED'),
        expect.stringContaining('NO_*'),
        expect.stringMatching(/^Line 2: SQL built by string interpolation/)
      ])
      const idle = await call('POST', '/hooks', hookBody('/custom/idle', { events: [] }))
      expect(idle.body.warnings).toEqual([expect.stringContaining('no event')])
      expect((await call('POST', '/hooks', hookBody('/lib/quiet', { events: [] }))).body.warnings).toEqual([])
    })

    test('?event= finds the hooks that run for it, and no others', async () => {
      await call('POST', '/hooks', hookBody('/custom/refund-any', { events: ['ORDER_REFUND_*'] }))
      await call('POST', '/hooks', hookBody('/custom/refund-one', { events: ['ORDER_REFUND_AGREE'] }))
      await call('POST', '/hooks', hookBody('/custom/refund-off', { events: ['ORDER_REFUND_AGREE'], enabled: false }))
      await call('POST', '/hooks', hookBody('/lib/refund', { events: ['ORDER_REFUND_AGREE'] }))
      const paths: string[] = []
      for (let cursor: string | null = ''; cursor !== null; ) {
        const { body } = await call('GET', `/hooks?event=ORDER_REFUND_AGREE&limit=1${cursor && `&cursor=${cursor}`}`)
        paths.push(...body.items.map((hook: Hook) => hook.path))
        cursor = body.nextCursor
      }
      expect(paths).toEqual(['/custom/refund-any', '/custom/refund-one'])
    })

    test.each([1, 3, 200])('pages of %i walk every list exactly once', async limit => {
      await admin.seed({}, {})
      await admin.seed({}, {})
      for (const list of ['/hooks', '/events', '/executions', '/tokens', '/audit', '/env']) {
        const whole = (await call('GET', `${list}?limit=200`)).body.items
        const walked: unknown[] = []
        for (let cursor: string | null = ''; cursor !== null; ) {
          const { body } = await call('GET', `${list}?limit=${limit}${cursor && `&cursor=${cursor}`}`)
          expect(body.items.length).toBeLessThanOrEqual(limit)
          walked.push(...body.items)
          cursor = body.nextCursor
        }
        // Walking makes no entries of its own, so that both must be the same.
        expect(walked).toEqual(whole)
      }
    })

    test('lists leave the scripts out', async () => {
      const { body, text } = await call('GET', '/hooks')
      expect(body.items.length).toBeGreaterThan(0)
      expect(text).not.toContain('"script"')
    })

    test('the audit log tells who changed what, with a script only as its digest', async () => {
      const script = `return 'audited ${engine}'`
      const { body: hook } = await call('POST', '/hooks', hookBody('/custom/audited'))
      await call('PATCH', `/hooks/${hook.id}`, { script })
      await call('POST', `/hooks/${hook.id}/versions/1/publish`)
      await call('DELETE', `/hooks/${hook.id}`)
      const { body, text } = await call('GET', '/audit?limit=4')
      const sha256 = createHash('sha256').update(script).digest('hex')
      expect(body.items).toMatchObject([
        { action: 'hook.delete', subject: '/custom/audited', before: { version: 1 }, after: null },
        { action: 'hook.publish', before: { version: 2 }, after: { version: 1 } },
        {
          action: 'hook.update',
          before: { version: 1 },
          after: { version: 2, script: { bytes: script.length, sha256 } }
        },
        { action: 'hook.create', before: null, after: { path: '/custom/audited', version: 1 } }
      ])
      expect(body.items[0].actor).toMatch(/^test admin \([0-9a-f-]{36}\)$/)
      expect(text).not.toContain('return')
    })

    test('a secret is never seen again, neither in answers nor in the database', async () => {
      const secret = `s3cr3t-${engine}-${'z'.repeat(20)}`
      const put = await call('PUT', '/env/ERP_TOKEN', { value: secret, secret: true })
      expect(put.body).toMatchObject({ key: 'ERP_TOKEN', value: null, secret: true, merId: null })
      await call('PUT', '/env/ERP_TOKEN', { value: `${secret}-2` })
      await call('PUT', '/env/ERP_URL', { value: 'https://erp.example', merId: 7 })
      const { body } = await call('GET', '/env')
      expect(body.items).toMatchObject([
        { key: 'ERP_TOKEN', value: null, secret: true, merId: null },
        { key: 'ERP_URL', value: 'https://erp.example', secret: false, merId: 7 }
      ])
      await call('GET', '/audit')
      expect((await call('DELETE', '/env/ERP_URL')).status).toBe(404)
      expect((await call('DELETE', '/env/ERP_URL?merId=7')).status).toBe(204)
      expect(admin.answers.join('\n')).not.toContain(secret)
      for (const table of ['sandhook_env', 'sandhook_audit'])
        expect(JSON.stringify(await admin.db(table))).not.toContain(secret)
      if (engine === 'sqlite') {
        const file = url.slice('sqlite:'.length)
        const bytes = Buffer.concat([readFileSync(file), readFileSync(`${file}-wal`)])
        expect(bytes.includes('https://erp.example')).toBe(true)
        expect(bytes.includes(secret)).toBe(false)
      }
    })

    test('an env value is bounded, and its key a name', async () => {
      const { status, body } = await call('PUT', '/env/BIG', { value: '订'.repeat(22_000) })
      expect([status, body.errors[0].path]).toEqual([400, '/value'])
      expect((await call('PUT', '/env/1A', { value: '' })).status).toBe(400)
    })

    test('the catalog is the one of the settings', async () => {
      const { body } = await call('GET', '/catalog')
      expect(body.items.map((entry: { key: string }) => entry.key)).toEqual(config.catalog.map(entry => entry.key))
      expect(body.items[0]).not.toHaveProperty('merchantQuery')
    })
  })
})

describe('what is warned of', () => {
  const hook = { path: '/custom/x', events: ['A'] } as Hook
  const warn = (script: string) => warningsOf(hook, script, () => true)

  test.each([
    ['db.select(`SELECT ${a}`)'],
    ["db.update('UPDATE t SET a = ' + a)"],
    ['db.insert("INSERT INTO t VALUES (\\"" + a)'],
    ['db . selectOne ( sql + where )'],
    ['db.page(`SELECT $1 \\` ${x}`)']
  ])('%s', script => expect(warn(script)).toHaveLength(1))

  test.each([
    ["db.select('SELECT * FROM t WHERE a = ?', `${a}`)"],
    ['db.select(`SELECT $1`)'],
    ["db.select('a + b')"],
    ['log.info(`${a}`)'],
    ['mydb.select(sql, a + b)']
  ])('%s is not', script => expect(warn(script)).toEqual([]))

  test('no text makes looking slow', () => {
    const began = performance.now()
    for (const text of ['db.select(`', "db.select('", 'db.select(a', 'db.select(   ']) warn(text.repeat(20_000))
    expect(performance.now() - began).toBeLessThan(30_000)
  })
})
