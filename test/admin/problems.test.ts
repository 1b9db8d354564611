import { once } from 'node:events'
import { connect } from 'node:net'
import { Writable } from 'node:stream'
import { pino } from 'pino'
import { Registry } from 'prom-client'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createAuth } from '../../runtime/admin/auth.ts'
import { healthRoutes } from '../../runtime/admin/health.ts'
import { createCounts } from '../../runtime/admin/rates.ts'
import { createServer } from '../../runtime/admin/server.ts'
import type { Fleet } from '../../runtime/runner/fleet.ts'
import { openDatabase } from '../../runtime/store/database.ts'
import { createStateStore } from '../../runtime/store/state.ts'
import { createTokenStore } from '../../runtime/store/tokens.ts'
import { freshSqlite, makeSqlite } from '../support/databases.ts'
import { type Admin, config, openAdmin } from './admin.ts'

let admin: Admin
let drop: () => Promise<void>
let key: string
const logged: string[] = []
const log = pino(
  { level: 'info' },
  new Writable({
    write: (line, _e, done) => {
      logged.push(String(line))
      done()
    }
  })
)
const { callers } = config.limits
const quiet = { logger: log, callers, trustProxy: null }
const check: Fleet['check'] = async () => ({ ok: true, compiled: null })

beforeAll(async () => {
  const database = await makeSqlite()
  drop = database.drop
  admin = await openAdmin(database.url, { check }, { broken: () => Promise.reject(new Error('10.0.0.7 refused')) }, log)
  key = await admin.token(['admin'])
})
afterAll(async () => {
  await admin.close()
  await drop()
})

const post = (payload: string, type = 'application/json', url = '/admin/v1/hooks') =>
  admin.app.inject({
    method: 'POST',
    url,
    headers: { authorization: `Bearer ${key}`, 'content-type': type },
    payload
  })

describe('a refusal is a problem', () => {
  test('malformed JSON is told where', async () => {
    const answer = await post('{"path": "/custom/a",, }')
    expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/)
    expect(answer.json()).toMatchObject({
      type: 'about:blank',
      status: 400,
      title: 'Bad Request',
      code: 'REQUEST_INVALID'
    })
    expect(answer.json().detail).toMatch(/line 1 column 22/)
  })

  test('a poisoned prototype is refused', async () => {
    expect((await post('{"__proto__": {"x": 1}}')).json()).toMatchObject({ status: 400, code: 'REQUEST_INVALID' })
  })

  test('all wrong fields are named with their paths, and nothing is bent to fit', async () => {
    const { status, body } = await admin.call(key, 'POST', '/admin/v1/hooks', {
      ...{ path: 'custom/x', enabled: 'true', limits: { wallMs: '5', hurry: 1 }, merId: {}, colour: 'red' },
      events: ['OK', 'not ok'],
      transaction: 'maybe'
    })
    expect(status).toBe(422)
    expect(body.code).toBe('HOOK_INVALID')
    const byPath = Object.fromEntries(body.errors.map((e: { path: string; message: string }) => [e.path, e.message]))
    expect(byPath).toMatchObject({
      '/script': 'is missing',
      '/colour': 'is no known field',
      '/limits/hurry': 'is no known field',
      '/limits/wallMs': 'must be integer',
      '/enabled': 'must be boolean',
      '/transaction': 'must be one of run, none'
    })
    expect(Object.keys(byPath)).toEqual(expect.arrayContaining(['/path', '/events/1', '/merId']))
  })

  test.each([
    ['an unknown query', '/admin/v1/hooks?colour=red', '/colour'],
    ['a limit that is no number', '/admin/v1/hooks?limit=ten', '/limit'],
    ['a limit past 200', '/admin/v1/hooks?limit=201', '/limit'],
    ['a cursor of nobody', '/admin/v1/hooks?cursor=AAAA', '/cursor'],
    [
      'a cursor of another list',
      `/admin/v1/executions?cursor=${Buffer.from('["a","b"]').toString('base64url')}`,
      '/cursor'
    ],
    ['a status that there is not', '/admin/v1/executions?status=lost', '/status'],
    ['a time that is none', '/admin/v1/executions?from=yesterday', '/from']
  ])('%s is refused', async (_what, url, path) => {
    const { status, body } = await admin.call(key, 'GET', url)
    expect(status).toBe(400)
    expect(body).toMatchObject({ code: 'REQUEST_INVALID', errors: [{ path }] })
  })

  test('of a union, only the alternative that was meant is complained about', async () => {
    const { body } = await admin.call(key, 'PUT', '/admin/v1/env/A', { value: 5 })
    expect(body.errors).toEqual([{ path: '/value', message: 'must be string' }])
  })

  test('a body past the limit is 413 and names it', async () => {
    const answer = await post(JSON.stringify({ path: '/custom/a', script: 'x'.repeat(6 * 1024 * 1024) }))
    expect(answer.json()).toMatchObject({ status: 413, code: 'BODY_TOO_LARGE' })
    expect(answer.json().detail).toContain('5242880')
  })

  test.each(['text/plain', 'application/xml', 'application/x-www-form-urlencoded'])('%s is 415', async type => {
    expect((await post('a=b', type)).json()).toMatchObject({ status: 415, code: 'MEDIA_TYPE_UNSUPPORTED' })
  })

  test('an unknown address is 404', async () => {
    const { status, body } = await admin.call(null, 'GET', '/nowhere?x=1')
    expect([status, body.code]).toEqual([404, 'NOT_FOUND'])
  })

  test.each([
    ['DELETE', '/admin/v1/hooks', ['GET', 'HEAD', 'POST']],
    ['PUT', '/admin/v1/hooks/some-id', ['DELETE', 'GET', 'HEAD', 'PATCH']],
    ['POST', '/healthz', ['GET', 'HEAD']],
    ['POST', '/docs/static/swagger-ui.css', ['GET', 'HEAD']]
  ])('%s %s is 405 and says what is allowed', async (method, url, allowed) => {
    const { status, body, headers } = await admin.call(null, method, url)
    expect([status, body.code]).toEqual([405, 'METHOD_NOT_ALLOWED'])
    expect(String(headers.allow).split(', ').sort()).toEqual(allowed)
  })

  test('an address that can not be decoded is 400', async () => {
    const { status, body, headers } = await admin.call(null, 'GET', '/admin/v1/hooks/%E0%A4%A')
    expect([status, body.code]).toEqual([400, 'REQUEST_INVALID'])
    expect(headers['x-content-type-options']).toBe('nosniff')
  })

  test('a bug says nothing but the id under which the log has its cause, once', async () => {
    logged.length = 0
    const { status, body, text } = await admin.call(null, 'GET', '/test/bug')
    expect([status, body.code]).toEqual([500, 'INTERNAL'])
    expect(text).not.toContain('secret_table')
    expect(logged).toHaveLength(1)
    expect(logged[0]).toContain('secret_table')
    expect(body.detail).toContain(JSON.parse(logged[0] ?? '').reqId)
  })

  test('Retry-After is in seconds, rounded up', async () => {
    const { body, headers } = await admin.call(null, 'GET', '/test/busy')
    expect(body).toMatchObject({ status: 429, code: 'RATE_LIMITED', retryAfterMs: 1500 })
    expect(headers['retry-after']).toBe('2')
  })
})

test('every answer carries the headers that keep browsers out of trouble', async () => {
  for (const url of ['/healthz', '/nowhere', '/docs/', '/openapi.json', '/admin/v1/hooks']) {
    const { headers } = await admin.call(null, 'GET', url)
    expect(headers).toMatchObject({ 'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer' })
    expect(headers['content-security-policy']).toContain("frame-ancestors 'none'")
    expect(headers['cache-control']).toBe('no-store')
  }
})

test('no log line has a token in it, whatever the level', async () => {
  logged.length = 0
  log.level = 'trace'
  await admin.call(key, 'GET', `/admin/v1/hooks?path=${key}`)
  await admin.call(`${key}x`, 'GET', '/admin/v1/hooks')
  log.level = 'info'
  expect(logged.join('')).toContain('/admin/v1/hooks')
  expect(logged.join('')).not.toContain(key)
})

describe('health', () => {
  test('readyz names what does not work, not where it lies', async () => {
    expect((await admin.call(null, 'GET', '/healthz')).body).toEqual({ status: 'ok' })
    const { status, body, text } = await admin.call(null, 'GET', '/readyz')
    expect(status).toBe(503)
    expect(body).toMatchObject({ status: 'unavailable', checks: { database: { ok: true }, broken: { ok: false } } })
    expect(text).not.toContain('10.0.0.7')
  })

  test('readyz waits two seconds for a check that hangs', async () => {
    const hung = await openAdmin(await freshSqlite(), { check }, { shop: () => new Promise(() => {}) })
    await hung.app.ready()
    const began = Date.now()
    const { status, body } = await hung.call(null, 'GET', '/readyz')
    expect(Date.now() - began).toBeLessThan(60_000)
    expect([status, body.checks.shop]).toEqual([503, { ok: false, detail: 'no answer within 2 s' }])
    await hung.close()
  })

  test('a database that is gone is 503 with Retry-After, and not ready', async () => {
    const gone = openDatabase('mysql://root@127.0.0.1:1/gone')
    const app = await createServer(quiet)
    const counts = createCounts(app, callers.rates)
    const { authorize } = createAuth({ tokens: createTokenStore(gone), counts })
    app.get('/', request => authorize(request))
    await app.register(healthRoutes({ checks: { database: createStateStore(gone).ping }, metrics: new Registry() }))
    const answer = await app.inject({ url: '/', headers: { authorization: 'Bearer some-token' } })
    expect(answer.json()).toMatchObject({ status: 503, code: 'STORE_UNAVAILABLE', retryAfterMs: 2000 })
    expect(answer.headers['retry-after']).toBe('2')
    const ready = await app.inject({ url: '/readyz' })
    expect([ready.statusCode, ready.json().checks.database]).toEqual([503, { ok: false, detail: 'STORE_UNAVAILABLE' }])
    await app.close()
    await gone.destroy()
  })

  test('metrics are Prometheus text', async () => {
    const { status, headers } = await admin.call(null, 'GET', '/metrics')
    expect(status).toBe(200)
    expect(headers['content-type']).toMatch(/^text\/plain/)
  })
})

describe('over a real socket', () => {
  const listen = async () => {
    const app = await createServer(quiet)
    const slow = Promise.withResolvers<string>()
    const arrived = Promise.withResolvers<void>()
    app.get('/slow', async () => {
      arrived.resolve()
      return { done: await slow.promise }
    })
    await app.listen({ host: '127.0.0.1', port: 0 })
    const socket = connect((app.server.address() as { port: number }).port, '127.0.0.1')
    const chunks: Buffer[] = []
    socket.on('data', chunk => void chunks.push(Buffer.from(chunk)))
    const read = async () => {
      await once(socket, 'close')
      return Buffer.concat(chunks).toString()
    }
    return { app, slow, arrived, socket, read }
  }

  test('what is no HTTP is answered as a problem', async () => {
    const { app, socket, read } = await listen()
    socket.write('NONSENSE\r\n\r\n')
    expect(await read()).toMatch(/^HTTP\/1\.1 400 Bad Request[\s\S]*application\/problem\+json[\s\S]*REQUEST_INVALID/)
    await app.close()
  })

  test('a close lets what is in flight be finished, and refuses what comes later', async () => {
    const { app, slow, arrived, socket, read } = await listen()
    const request = (path: string) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`
    socket.write(request('/slow'))
    await arrived.promise
    const closed = app.close()
    socket.write(request('/late'))
    setImmediate(slow.resolve, 'finished')
    const text = await read()
    await closed
    expect(text).toMatch(/^HTTP\/1\.1 200 OK[\s\S]*\{"done":"finished"\}/)
    expect(text).toMatch(/HTTP\/1\.1 503 Service Unavailable[\s\S]*SHUTTING_DOWN/)
  })
})
