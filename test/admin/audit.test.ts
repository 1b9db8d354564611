import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readConfig } from '../../runtime/config.ts'
import { fingerprintOf } from '../../runtime/events/canonical-json.ts'
import { type Sandhook, startSandhook } from '../../runtime/main.ts'
import type { Execution, HookEvent } from '../../runtime/model.ts'
import { type Database, openDatabase } from '../../runtime/store/database.ts'
import { insertEvents } from '../../runtime/store/events.ts'
import { createMessageStore } from '../../runtime/store/messages.ts'
import { insertExecutions, newExecution } from '../../runtime/store/queue.ts'
import { createSentMessageStore } from '../../runtime/store/sent-messages.ts'
import { engines } from '../support/databases.ts'
import { ended, hookBody } from './admin.ts'

const ADMIN = 'audit-test-admin-token-0123'
const SECRET = 'canary-secret-value-4711'
const ORDER = '202401010004'
/** More than one batch of them. */
const MANY = 620

interface Answer {
  status: number
  // biome-ignore lint/suspicious/noExplicitAny: answers of every route
  body: any
}

/** A change: the operation as the API's document names it, a request that does it, and what the log says. */
interface Change {
  operation: string
  request: () => Promise<{ path: string; body?: object }>
  entry: object
}

describe.each(engines)('on $name', ({ make, missing, engine }) => {
  describe.skipIf(missing)('the audit log', () => {
    let sandhook: Sandhook
    let db: Database
    let drop: () => Promise<void>
    let viewer: string
    let made = 0

    beforeAll(async () => {
      const database = await make()
      drop = database.drop
      const env = {
        DATABASE_URL: database.url,
        SANDHOOK_DEMO: 'on',
        SANDHOOK_RUNNERS: '1',
        SANDHOOK_ADMIN_TOKEN: ADMIN
      }
      const config = readConfig({ ...env, PORT: '0' })
      const events = config.monitor.events.map(row => ({ ...row, hours: 24 * 365 * 20, graceSeconds: 0 }))
      const monitor = { ...config.monitor, events, graceSeconds: 1 }
      sandhook = await startSandhook({ ...config, monitor }, pino({ level: 'silent' }))
      db = openDatabase(database.url)
      viewer = (await call('POST', '/admin/v1/tokens', { name: 'looker', scopes: ['viewer'] })).body.token
    })
    afterAll(async () => {
      await sandhook?.close()
      await db?.destroy()
      await drop?.()
    })

    async function call(method: string, path: string, body?: object, token = ADMIN): Promise<Answer> {
      const response = await fetch(sandhook.url + path, {
        method,
        headers: { authorization: `Bearer ${token}`, ...(body && { 'content-type': 'application/json' }) },
        ...(body && { body: JSON.stringify(body) })
      })
      const text = await response.text()
      return { status: response.status, body: text === '' ? null : JSON.parse(text) }
    }

    const entries = (): Promise<{ action: string; actor: string }[]> => db('sandhook_audit').orderBy('id')

    /** Everything that changes could touch, apart from the log itself. */
    async function snapshot(): Promise<string> {
      const tables = [
        'hooks',
        'versions',
        'events',
        'executions',
        'env',
        'tokens',
        'state',
        'sent_messages',
        'dead_messages'
      ]
      return JSON.stringify(await Promise.all(tables.map(table => db(`sandhook_${table}`).orderBy(1))))
    }

    const refuseEntries = () =>
      db.raw(
        engine === 'mysql'
          ? "CREATE TRIGGER refuse BEFORE INSERT ON sandhook_audit FOR EACH ROW SIGNAL SQLSTATE '45000'"
          : "CREATE TRIGGER refuse BEFORE INSERT ON sandhook_audit BEGIN SELECT RAISE(ABORT, 'refused'); END"
      )
    const allowEntries = () => db.raw('DROP TRIGGER refuse')

    const newHook = async () =>
      (await call('POST', '/admin/v1/hooks', hookBody(`/custom/audit-${++made}`, { events: [] }))).body.id as string

    async function seed(count: number, status: Execution['status'], path: string): Promise<string[]> {
      const now = Date.now()
      const events = Array.from({ length: count }, (): HookEvent => {
        const id = `audit-${++made}`
        return {
          ...{ id, eventKey: 'NOBODY', payload: 1, timestamp: now, merId: null, key: null },
          source: 'http',
          depth: 0
        }
      })
      const executions = events.map(event => ({ ...newExecution(event, { id: 'none', path }, now), ...ended(status) }))
      await db.transaction(async trx => {
        await insertEvents(trx, events, now)
        await insertExecutions(
          trx,
          executions.map(execution => ({ execution, lane: null }))
        )
      })
      return executions.map(({ id }) => id)
    }

    async function reported(): Promise<string> {
      const body = { order_code: `M${++made}`, status: 100 }
      const fingerprint = fingerprintOf('order.erpstatus', body)
      const message = { fingerprint, topic: 'order.erpstatus', body: JSON.stringify(body) }
      await createSentMessageStore(db).report([message], Date.now() - 60_000)
      return fingerprint
    }

    async function buried(topic: string): Promise<void> {
      const id = `mq:${++made}:`
      const body = JSON.stringify({ order_code: `D${made}`, status: 100 })
      await createMessageStore(db).bury({ id, topic, reason: 'no row', body, sentAt: null, receivedAt: Date.now() - 1 })
    }

    const CHANGES: Change[] = [
      {
        operation: 'POST /admin/v1/hooks',
        request: async () => ({ path: '/admin/v1/hooks', body: hookBody(`/custom/audit-new-${++made}`) }),
        entry: { action: 'hook.create', before: null, after: { version: 1 } }
      },
      {
        operation: 'PATCH /admin/v1/hooks/{id}',
        request: async () => ({ path: `/admin/v1/hooks/${await newHook()}`, body: { script: `return '${SECRET}'` } }),
        entry: {
          action: 'hook.update',
          before: { version: 1 },
          after: { version: 2, script: { bytes: SECRET.length + 9 } }
        }
      },
      {
        operation: 'DELETE /admin/v1/hooks/{id}',
        request: async () => ({ path: `/admin/v1/hooks/${await newHook()}` }),
        entry: { action: 'hook.delete', before: { version: 1 }, after: null }
      },
      {
        operation: 'POST /admin/v1/hooks/{id}/versions/{n}/publish',
        async request() {
          const id = await newHook()
          await call('PATCH', `/admin/v1/hooks/${id}`, { script: 'return 2' })
          return { path: `/admin/v1/hooks/${id}/versions/1/publish` }
        },
        entry: { action: 'hook.publish', before: { version: 2 }, after: { version: 1 } }
      },
      {
        operation: 'PUT /admin/v1/env/{key}',
        request: async () => ({ path: `/admin/v1/env/KEY_${++made}`, body: { value: SECRET, secret: true } }),
        entry: { action: 'env.put', before: null, after: { secret: true, value: null } }
      },
      {
        operation: 'DELETE /admin/v1/env/{key}',
        async request() {
          const path = `/admin/v1/env/KEY_${++made}`
          await call('PUT', path, { value: SECRET, secret: true })
          return { path }
        },
        entry: { action: 'env.delete', before: { secret: true, value: null }, after: null }
      },
      {
        operation: 'POST /admin/v1/tokens',
        request: async () => ({ path: '/admin/v1/tokens', body: { name: 'audited', scopes: ['viewer'] } }),
        entry: { action: 'token.create', subject: 'audited', before: null, after: { scopes: ['viewer'] } }
      },
      {
        operation: 'DELETE /admin/v1/tokens/{id}',
        async request() {
          const { body } = await call('POST', '/admin/v1/tokens', { name: 'revoked', scopes: ['viewer'] })
          return { path: `/admin/v1/tokens/${body.id}` }
        },
        entry: { action: 'token.delete', subject: 'revoked', before: { name: 'revoked' }, after: null }
      },
      {
        operation: 'POST /admin/v1/executions/{id}/replay',
        request: async () => ({ path: `/admin/v1/executions/${await seed(1, 'dead', '/custom/none')}/replay` }),
        entry: { action: 'execution.replay', before: { status: 'dead' }, after: { status: 'queued' } }
      },
      {
        operation: 'POST /admin/v1/executions/{id}/discard',
        request: async () => ({ path: `/admin/v1/executions/${await seed(1, 'dead', '/custom/none')}/discard` }),
        entry: { action: 'execution.discard', before: { status: 'dead' }, after: { status: 'discarded' } }
      },
      {
        operation: 'POST /admin/v1/executions/replay',
        async request() {
          const hook = `/custom/many-${++made}`
          await seed(MANY, 'dead', hook)
          return { path: '/admin/v1/executions/replay', body: { hook } }
        },
        entry: { action: 'execution.replay', subject: 'many', after: { replayed: MANY } }
      },
      {
        operation: 'POST /admin/v1/monitor/missing/{id}/inject',
        request: async () => ({ path: `/admin/v1/monitor/missing/${await reported()}/inject` }),
        entry: { action: 'monitor.inject', after: { raised: 1 } }
      },
      {
        operation: 'POST /admin/v1/monitor/missing-events/raise',
        async request() {
          const body = { eventKey: 'ORDER_PAY_SUCCESS', payloads: [ORDER] }
          return { path: '/admin/v1/monitor/missing-events/raise', body }
        },
        entry: { action: 'monitor.raise', subject: 'ORDER_PAY_SUCCESS', after: { raised: 1 } }
      },
      {
        operation: 'POST /admin/v1/messages/dead/refeed',
        async request() {
          await db('sandhook_dead_messages').delete()
          for (let i = 0; i < 150; i++) await buried('order.erpstatus')
          return { path: '/admin/v1/messages/dead/refeed', body: { topic: 'order.erpstatus' } }
        },
        entry: { action: 'message.refeed', subject: 'order.erpstatus', after: { read: 150 } }
      }
    ]
    const METHOD = /^\w+/
    const methodOf = ({ operation }: Change) => METHOD.exec(operation)?.[0] ?? ''

    test('is about every operation that changes anything', async () => {
      const { body } = await call('GET', '/openapi.json')
      const changing = Object.entries(body.paths as Record<string, object>).flatMap(([path, methods]) =>
        Object.keys(methods)
          .filter(method => path.startsWith('/admin/v1') && method !== 'get')
          .map(method => `${method.toUpperCase()} ${path}`)
      )
      expect(changing.sort()).toEqual(CHANGES.map(({ operation }) => operation).sort())
    })

    test.each(CHANGES)('when it can not be written, nothing is done: $operation', async change => {
      const { path, body } = await change.request()
      const before = await snapshot()
      await refuseEntries()
      try {
        const posted = Array.from({ length: 5 }, (_, i) =>
          call('POST', '/events', { id: `beside-${made}-${i}`, eventKey: 'BESIDE', payload: 1 })
        )
        const refused = await call(methodOf(change), path, body)
        expect([refused.status, refused.body.code]).toEqual([500, 'INTERNAL'])
        expect((await Promise.all(posted)).map(({ status }) => status)).toEqual(Array(5).fill(202))
        await db('sandhook_events').where('event_key', 'BESIDE').delete()
        expect(await snapshot()).toBe(before)
      } finally {
        await allowEntries()
      }
    })

    test.each(CHANGES)('has one entry for $operation', async change => {
      const { path, body } = await change.request()
      const before = await entries()
      const done = await call(methodOf(change), path, body)
      expect(done.status).toBeLessThan(300)
      const { body: page } = await call('GET', '/admin/v1/audit?limit=1')
      expect((await entries()).length).toBe(before.length + 1)
      expect(page.items).toMatchObject([{ ...change.entry, actor: 'bootstrap (bootstrap)' }])
    })

    test.each(CHANGES)('has none of what was refused: $operation', async change => {
      const path = change.operation.split(' ')[1]?.replace('{id}', 'none').replace('{n}', '7').replace('{key}', 'NONE')
      const before = (await entries()).length
      const wrong = methodOf(change) === 'DELETE' ? undefined : { nonsense: 1 }
      const refusals = [
        await call(methodOf(change), path ?? '', wrong),
        await call(methodOf(change), path ?? '', wrong, viewer),
        await call(methodOf(change), path ?? '', wrong, 'nobody')
      ]
      expect(refusals.map(({ status }) => Math.floor(status / 100))).toEqual([4, 4, 4])
      expect((await entries()).length).toBe(before)
    })

    test('holds no secret, neither tokens nor values nor scripts', async () => {
      const text = JSON.stringify(await entries())
      expect(text).toContain('env.put')
      for (const secret of [SECRET, ADMIN, viewer, 'return ']) expect(text).not.toContain(secret)
      expect(text).not.toMatch(/shk_/)
    })

    test('does not tell what a value was that is a secret from now on', async () => {
      await call('PUT', '/admin/v1/env/TURNED', { value: 'open-for-all' })
      await call('PUT', '/admin/v1/env/TURNED', { value: 'hidden-now', secret: true })
      const { body } = await call('GET', '/admin/v1/audit?limit=1')
      expect(body.items[0]).toMatchObject({ before: { value: null }, after: { value: null, secret: true } })
    })
  })
})
