import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readConfig } from '../../runtime/config.ts'
import { type Sandhook, startSandhook } from '../../runtime/main.ts'
import { type Partner, startPartner } from '../support/run-hook.ts'
import { eventually } from '../support/sandhook.ts'

const TOKEN = 'deferral-test-token'
let folder: string
let sandhook: Sandhook
let erp: Partner
let release: () => void
let held: Promise<void>

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sandhook-deferral-'))
  erp = await startPartner(async ({ path }) => {
    if (path === '/slow') await held
    return path === '/down' ? { status: 503, body: { message: 'down' } } : { body: { ok: true } }
  })
  const { host } = new URL(erp.url)
  const config = readConfig({
    DATABASE_URL: `sqlite:${join(folder, 'sandhook.db')}`,
    PORT: '0',
    SANDHOOK_ADMIN_TOKEN: TOKEN,
    SANDHOOK_DEMO: 'off',
    SANDHOOK_HTTP_ALLOW: host,
    SANDHOOK_RUNNERS: '1'
  })
  const targets = [{ host, parallel: 1, full: 'queue' as const, breaker: { failures: 2, openMs: 60_000 } }]
  sandhook = await startSandhook({ ...config, targets }, pino({ level: 'silent' }))
})
afterAll(async () => {
  await sandhook.close()
  await erp.close()
  rmSync(folder, { recursive: true, force: true })
})

// biome-ignore lint/suspicious/noExplicitAny: answers of every route
async function call(method: string, path: string, body?: unknown): Promise<any> {
  const answer = await fetch(sandhook.url + path, {
    method,
    headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) })
  })
  return answer.json()
}

const execution = (id: string) => call('GET', `/admin/v1/executions/${id}`)

async function hookFor(eventKey: string, script: string): Promise<(payload: string) => Promise<string>> {
  await call('POST', '/admin/v1/hooks', { path: `/custom/${eventKey}`, events: [eventKey], script })
  return async payload => (await call('POST', '/events', { eventKey, payload })).events[0].executions[0]
}

describe('a run that meets a full target', () => {
  test('is put off without using up an attempt, and what it had sent before is not sent again', async () => {
    ;({ promise: held, resolve: release } = Promise.withResolvers<void>())
    const send = await hookFor(
      'DEFER',
      `http.post('${erp.url}/first', { body: {} }); http.post('${erp.url}/slow', { body: {} }); return payload.event.payload`
    )
    const one = await send('one')
    await eventually(async () => erp.requests.some(({ path }) => path === '/slow'))
    const two = await send('two')
    const waiting = await eventually(async () => {
      const seen = await execution(two)
      return seen.error?.code === 'HTTP_DEFERRED' && seen
    })
    expect(waiting).toMatchObject({ status: 'queued', attempts: 0 })
    release()
    for (const id of [one, two]) await eventually(async () => (await execution(id)).status === 'succeeded')
    expect(await execution(two)).toMatchObject({ result: 'two', attempts: 1 })
    expect(erp.requests.filter(({ path }) => path === '/first')).toHaveLength(2)
  })

  test('is told by HTTP_FULL where it asks for that', async () => {
    ;({ promise: held, resolve: release } = Promise.withResolvers<void>())
    const slow = await (await hookFor('HOLD', `http.post('${erp.url}/slow')`))('x')
    await eventually(async () => erp.requests.filter(({ path }) => path === '/slow').length === 3)
    const send = await hookFor(
      'TOLD',
      `try { http.post('${erp.url}/now', { whenFull: 'throw' }) } catch (e) { return [e.name, e.code, e.retryAfterMs > 0] }`
    )
    const told = await send('x')
    await eventually(async () => (await execution(told)).status === 'succeeded')
    expect((await execution(told)).result).toEqual(['HttpError', 'HTTP_FULL', true])
    release()
    await eventually(async () => (await execution(slow)).status === 'succeeded')
  })

  test('finds the breaker open after failures in a row', async () => {
    const send = await hookFor('DOWN', `http.post('${erp.url}/down')`)
    for (const payload of ['a', 'b']) {
      const id = await send(payload)
      await eventually(async () => (await execution(id)).attempts === 1)
    }
    const before = erp.requests.length
    const id = await send('c')
    const put = await eventually(async () => {
      const seen = await execution(id)
      return seen.error?.code === 'HTTP_DEFERRED' && seen
    })
    expect(put.error.message).toContain('has failed repeatedly')
    expect(put.attempts).toBe(0)
    expect(erp.requests.length).toBe(before)
  })
})
