import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Attempt } from '../../runtime/model.ts'
import { insertAttempts } from '../../runtime/store/attempts.ts'
import { engines } from '../support/databases.ts'
import { type Admin, ended, openAdmin } from './admin.ts'

const check = async () => ({ ok: true as const, compiled: null })

describe.each(engines)('on $name', ({ make, missing }) => {
  describe.skipIf(missing)('executions', () => {
    let admin: Admin
    let drop: () => Promise<void>
    let key: string

    beforeAll(async () => {
      const database = await make()
      drop = database.drop
      admin = await openAdmin(database.url, { check })
      key = await admin.token(['admin'])
    })
    afterAll(async () => {
      await admin?.close()
      await drop?.()
    })

    const call = (method: string, path: string, body?: unknown) => admin.call(key, method, `/admin/v1${path}`, body)
    const ids = (body: { items: { id: string }[] }) => body.items.map(item => item.id)

    test('one shows its runs with logs, calls and the place of the error', async () => {
      const at = Date.UTC(2026, 0, 2, 3, 4, 5)
      const { event, execution } = await admin.seed({ data: { original: 1 } }, ended('dead', at))
      const attempt: Attempt = {
        ...{ attempt: 1, run: 1, version: 3, startedAt: at, durationMs: 45, cpuMs: 2.5, result: null, logsCut: 1 },
        error: { code: 'HOOK_THREW', message: 'Error: no', line: 3, column: 7, excerpt: 'x\n^', stack: 'Error: no' },
        logs: [{ at, level: 'warn', message: 'careful' }],
        calls: [
          { kind: 'db', summary: 'SELECT 1', at, durationMs: 1.5, rows: 1 },
          { kind: 'http', summary: 'POST https://erp.example', at, durationMs: 9, status: 502, error: 'HTTP 502' }
        ]
      }
      await admin.db.transaction(trx => insertAttempts(trx, [{ execution, attempt }]))
      const { body } = await call('GET', `/executions/${execution.id}`)
      const time = '2026-01-02T03:04:05.000Z'
      expect(body).toEqual({
        ...{
          id: execution.id,
          eventId: event.id,
          eventKey: 'ORDER_PAY_SUCCESS',
          hook: '/custom/test',
          hookId: 'hook-1'
        },
        ...{ merId: null, status: 'dead', attempts: 8, runs: 8, crashes: 0, result: null, nextAttemptAt: null },
        ...{
          createdAt: time,
          startedAt: '2026-01-02T03:04:05.005Z',
          finishedAt: '2026-01-02T03:04:05.050Z',
          durationMs: 45
        },
        error: { code: 'HOOK_THREW', message: 'Error: no', line: 3, column: 7 },
        history: [
          {
            ...attempt,
            startedAt: time,
            cpuMs: expect.any(Number),
            logs: [{ at: time, level: 'warn', message: 'careful' }],
            calls: attempt.calls.map(made => ({ ...made, at: time }))
          }
        ]
      })
      const { history: _history, ...listed } = body
      const found = (await call('GET', `/events/${event.id}`)).body
      expect(found).toMatchObject({
        id: event.id,
        payload: event.payload,
        timestamp: event.timestamp,
        data: { original: 1 }
      })
      expect(found.executions).toEqual([listed])
    })

    test('filters narrow the lists', async () => {
      const [early, late] = [Date.UTC(2025, 0, 1), Date.UTC(2025, 6, 1)]
      const a = await admin.seed(
        { eventKey: 'ORDER_CANCEL', key: 'WX-A' },
        { ...ended('dead', early), hookPath: '/custom/a', hookId: 'a' }
      )
      const b = await admin.seed(
        { key: 'WX-B', merId: 9 },
        { ...ended('succeeded', late), hookPath: '/custom/b', hookId: 'b' }
      )
      const executions = async (query: string) => ids((await call('GET', `/executions?${query}`)).body)
      expect(await executions('hook=/custom/a')).toEqual([a.execution.id])
      expect(await executions('hook=b')).toEqual([b.execution.id])
      expect(await executions(`eventId=${a.event.id}`)).toEqual([a.execution.id])
      expect(await executions('from=2024-12-31T00:00:00Z&to=2025-02-01T00:00:00%2B01:00')).toEqual([a.execution.id])
      expect(await executions('merId=9&status=succeeded')).toEqual([b.execution.id])
      expect(await executions('merId=9&status=dead')).toEqual([])
      const events = async (query: string) => ids((await call('GET', `/events?${query}`)).body)
      expect(await events('eventKey=ORDER_CANCEL')).toEqual([a.event.id])
      expect(await events('key=WX-B')).toEqual([b.event.id])
    })

    test('an event id may have any characters', async () => {
      const id = `订单/1?x=#${'é'.repeat(118)}`
      await admin.seed({ id })
      expect((await call('GET', `/events/${encodeURIComponent(id)}`)).body.id).toBe(id)
    })

    test('a dead letter is replayed under its own id, a success as a further execution', async () => {
      const dead = await admin.seed({}, ended('dead'))
      const done = await admin.seed({}, ended('succeeded'))
      const before = admin.nudges()
      const again = await call('POST', `/executions/${dead.execution.id}/replay`)
      expect(again.body).toMatchObject({ id: dead.execution.id, status: 'queued', attempts: 0, error: null })
      const anew = await call('POST', `/executions/${done.execution.id}/replay`)
      expect(anew.body).toMatchObject({ eventId: done.event.id, status: 'queued' })
      expect(anew.body.id).not.toBe(done.execution.id)
      expect(admin.nudges() - before).toBe(2)
      const unfinished = await call('POST', `/executions/${dead.execution.id}/replay`)
      expect([unfinished.status, unfinished.body.code]).toEqual([409, 'CONFLICT'])
      const { body } = await call('GET', '/audit?limit=1')
      expect(body.items[0]).toMatchObject({
        action: 'execution.replay',
        subject: done.execution.id,
        after: { id: anew.body.id }
      })
    })

    test('a dead letter can be discarded, and nothing else', async () => {
      const dead = await admin.seed({}, ended('dead'))
      const url = `/executions/${dead.execution.id}/discard`
      expect((await call('POST', url)).body.status).toBe('discarded')
      expect([(await call('POST', url)).status, (await call('POST', '/executions/none/discard')).status]).toEqual([
        409, 404
      ])
    })

    test('a bulk replay meets each one once, whatever its number and however fast they succeed', async () => {
      const hook = { hookId: 'bulk', hookPath: '/custom/bulk' }
      for (let i = 0; i < 620; i++) await admin.seed({}, { ...ended(i % 2 ? 'succeeded' : 'dead'), ...hook })
      await admin.seed({}, hook)
      const { body } = await call('POST', '/executions/replay', { hook: '/custom/bulk' })
      expect(body).toEqual({ replayed: 620 })
      const counts = (await call('GET', '/stats')).body.hooks.find(
        (row: { hook: string }) => row.hook === hook.hookPath
      )
      expect(counts.executions).toEqual({ queued: 621, succeeded: 310 })
      expect((await call('POST', '/executions/replay', { hook: '/custom/bulk', limit: 7 })).body).toEqual({
        replayed: 7
      })
      const old = { hook: '/custom/bulk', to: '2020-01-01T00:00:00Z' }
      expect((await call('POST', '/executions/replay', old)).body).toEqual({ replayed: 0 })
      expect((await call('POST', '/executions/replay', { limit: 10_001 })).status).toBe(400)
    })

    test('the stats count, and tell how long things take and wait', async () => {
      const { body } = await call('GET', '/stats')
      expect(Object.values(body.executions as Record<string, number>).reduce((a, b) => a + b)).toBeGreaterThan(900)
      expect(body.latency).toMatchObject({
        sample: 200,
        waitMs: { p50: 5, p95: 5, max: 5 },
        durationMs: { p50: 45, max: 45 }
      })
      expect(Date.parse(body.oldestWaitingAt)).toBeLessThanOrEqual(Date.now())
      expect(body.live).toEqual({ inFlight: 0, runnersUp: 1 })
      expect((await call('GET', '/stats?merId=12345')).body).toMatchObject({
        ...{ executions: {}, hooks: [], oldestWaitingAt: null },
        latency: { sample: 0, waitMs: { p50: null, p95: null, max: null } }
      })
    })
  })
})
