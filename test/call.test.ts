import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeSqlite, type TestDatabase } from './support/databases.ts'
import { eventually, type SandhookProcess, startSandhookProcess } from './support/sandhook.ts'

let database: TestDatabase
let sandhook: SandhookProcess
/** A partner that takes every request and answers none; and the requests that still wait. */
let silent: Server
const waiting = new Set<IncomingMessage>()
const tokens: Record<string, string> = {}

beforeAll(async () => {
  database = await makeSqlite()
  silent = createServer(request => {
    waiting.add(request)
    request.socket.once('close', () => waiting.delete(request))
  }).listen(0, '127.0.0.1')
  await once(silent, 'listening')
  const partner = `127.0.0.1:${(silent.address() as AddressInfo).port}`
  sandhook = await startSandhookProcess({
    ...{ DATABASE_URL: database.url, SANDHOOK_DEMO: 'off', SANDHOOK_RUNNERS: '1' },
    ...{ SANDHOOK_LOG_LEVEL: 'debug', SANDHOOK_HTTP_ALLOW: partner }
  })
  await sandhook.call('PUT', '/admin/v1/env/SILENT', { value: `http://${partner}/`, secret: false })
  const wanted = { caller: ['hooks:call'], sender: ['events:write'], viewer: ['viewer'] }
  for (const [name, scopes] of Object.entries(wanted)) tokens[name] = await makeToken({ name, scopes })
  tokens.merchant = await makeToken({ name: 'merchant', scopes: ['merchant'], merId: 7 })
  tokens.other = await makeToken({ name: 'other', scopes: ['hooks:call'], merId: 8 })
})
afterAll(async () => {
  await sandhook.end('SIGKILL')
  silent.closeAllConnections()
  silent.close()
  await database.drop()
})

const makeToken = async (body: object): Promise<string> =>
  (await sandhook.call('POST', '/admin/v1/tokens', body)).body.token

/** Publishes a hook; answers its id. */
async function publish(path: string, script: string, more: object = {}): Promise<string> {
  const { status, body } = await sandhook.call('POST', '/admin/v1/hooks', { path, script, ...more })
  expect([status, body.detail]).toEqual([201, undefined])
  return body.id
}

interface Call {
  method?: string
  token?: string | null
  headers?: Record<string, string>
  body?: string
  signal?: AbortSignal
}

async function call(path: string, { method = 'GET', token = tokens.caller, headers = {}, body, signal }: Call = {}) {
  const own = token ? { authorization: `Bearer ${token}` } : {}
  const init = { method, headers: { ...own, ...headers }, ...(body === undefined ? {} : { body }) }
  const response = await fetch(sandhook.url + path, signal ? { ...init, signal } : init)
  const text = await response.text()
  return {
    ...{ status: response.status, headers: response.headers, text },
    // biome-ignore lint/suspicious/noExplicitAny: answers of every script
    body: (text === '' ? null : JSON.parse(text)) as any
  }
}

/** The newest execution of a hook, with its runs. */
async function lastOf(path: string) {
  const { body } = await sandhook.call('GET', `/admin/v1/executions?hook=${encodeURIComponent(path)}&limit=1`)
  return body.items[0] ? (await sandhook.call('GET', `/admin/v1/executions/${body.items[0].id}`)).body : null
}

describe('what a script sees of a call', () => {
  beforeAll(() => publish('/custom/echo/{kind}/{id}', 'return { path, param, body, header, request: payload.request }'))

  test('path variables and query', async () => {
    const { status, body, headers } = await call('/custom/echo/user/%E5%BC%A0%20x?a=1&b=x%20y&b=z')
    expect(status).toBe(200)
    expect(headers.get('content-type')).toBe('application/json; charset=utf-8')
    expect(body.path).toEqual({ kind: 'user', id: '张 x' })
    expect(body.param).toEqual({ a: '1', b: ['x y', 'z'] })
    expect(body.body).toBeNull()
    expect(body.request).toMatchObject({ method: 'GET', path: '/custom/echo/user/张 x', query: { a: '1' }, body: null })
  })

  test('a form, together with the query', async () => {
    const headers = { 'content-type': 'application/x-www-form-urlencoded;charset=UTF-8' }
    const { body } = await call('/custom/echo/a/b?q=1', { method: 'POST', headers, body: 'name=%E5%BC%A0+x&empty=' })
    expect(body.param).toEqual({ q: '1', name: '张 x', empty: '' })
    expect(body.body).toEqual({ name: '张 x', empty: '' })
  })

  test.each([
    ['JSON', 'application/json', '{"no":"订单","n":[1,2.5,null]}', { no: '订单', n: [1, 2.5, null] }],
    ['JSON of another name', 'application/vnd.partner+json', '[1]', [1]],
    ['text', 'text/plain', 'line\nline', 'line\nline'],
    ['XML', 'application/xml', '<a/>', '<a/>']
  ])('a body of %s', async (_, type, body, seen) => {
    const answer = await call('/custom/echo/a/b', { method: 'PUT', headers: { 'content-type': type }, body })
    expect(answer.body.body).toEqual(seen)
    expect(answer.body.request.body).toEqual(seen)
    expect(answer.body.request.method).toBe('PUT')
  })

  test('headers, without those that would let it in elsewhere', async () => {
    const { body } = await call('/custom/echo/a/b', { headers: { 'X-Sign': 'abc', cookie: 'session=1' } })
    expect(body.header['x-sign']).toBe('abc')
    for (const hidden of ['authorization', 'cookie', 'proxy-authorization']) {
      expect(body.header).not.toHaveProperty(hidden)
      expect(body.request.headers).not.toHaveProperty(hidden)
    }
  })
})

describe('what a caller gets', () => {
  test.each<[string, string, number, unknown]>([
    ['the returned value', 'return { ok: 1, list: ["一"] }', 200, { ok: 1, list: ['一'] }],
    ['null for nothing', 'var x = 1', 200, null],
    ['what response.json was given', 'response.json({ code: 0 }); return "unseen"', 200, { code: 0 }],
    ['the status', 'response.status(201).json({ id: 5 })', 201, { id: 5 }],
    [
      'a failure in its own words',
      'return { success: false, message: "no stock" }',
      200,
      { success: false, message: 'no stock' }
    ],
    [
      'exit with a code',
      'exit(403, "not yours", { id: 1 })',
      403,
      { code: 403, message: 'not yours', data: { id: 1 } }
    ],
    ['exit without one', 'exit()', 200, { code: 200, message: '', data: null }],
    ['a status that is none as 500', 'response.status(7).json(1)', 500, 1]
  ])('%s', async (name, script, status, seen) => {
    const path = `/custom/answer/${name.replaceAll(/[^a-z]+/g, '-')}`
    await publish(path, script)
    const { status: got, body } = await call(path)
    expect([got, body]).toEqual([status, seen])
  })

  test('headers that it may set, and none that are ours', async () => {
    const script = `
      response.setHeader('X-Partner', 'yes').setHeader('Set-Cookie', 'a=1').setHeader('Content-Length', '1')
        .setHeader('X-Split', 'a\\r\\nX-Injected: 1').setHeader('bad name', 'x').json({})`
    await publish('/custom/answer/headers', script)
    const { status, headers, text } = await call('/custom/answer/headers')
    expect([status, text, headers.get('x-partner')]).toEqual([200, '{}', 'yes'])
    for (const name of ['set-cookie', 'x-split', 'x-injected']) expect(headers.get(name)).toBeNull()
  })

  test('a problem with line and column for a throw, and the history has it as failed', async () => {
    await publish('/custom/answer/throw', 'var a = 1\n\n  null.x')
    const { status, body, headers } = await call('/custom/answer/throw')
    expect(headers.get('content-type')).toMatch(/^application\/problem\+json/)
    expect(status).toBe(500)
    expect(body).toMatchObject({ code: 'HOOK_THREW', line: 3, column: 8, excerpt: expect.stringContaining('null.x') })
    expect(await lastOf('/custom/answer/throw')).toMatchObject({
      ...{ status: 'failed', eventKey: 'HTTP_CALL', attempts: 1, error: { code: 'HOOK_THREW', line: 3 } }
    })
  })

  test.each([
    ['waits for a partner', 'http.get(env.get("SILENT"), { timeout: 60000 })'],
    ['awaits what nothing settles', 'await new Promise(() => {})'],
    ['reads on and on', 'for (;;) db.selectValue("SELECT 1")']
  ])('504 from a hook that %s, and the next call goes on', async (name, script) => {
    const path = `/custom/hang/${name.replaceAll(' ', '-')}`
    await publish(path, script, { limits: { wallMs: 400, dbCalls: 10_000, cpuMs: 5_000 } })
    const { status, body } = await call(path)
    expect([status, body.code]).toEqual([504, 'HOOK_TIMEOUT'])
    expect(await lastOf(path)).toMatchObject({ status: 'failed', error: { code: 'HOOK_TIMEOUT' } })
    expect((await call('/custom/echo/a/b')).status).toBe(200)
  })
})

describe('who is let in', () => {
  const PATH = '/custom/door'
  beforeAll(() => publish(PATH, 'return "platform"'))

  test('tokens that may call hooks, and no others', async () => {
    const statuses: Record<string, number> = {}
    for (const name of ['caller', 'merchant', 'other', 'sender', 'viewer'])
      statuses[name] = (await call(PATH, { token: tokens[name] as string })).status
    expect(statuses).toEqual({ caller: 200, merchant: 200, other: 200, sender: 403, viewer: 403 })
    expect((await call(PATH, { token: null })).status).toBe(401)
    expect((await call(PATH, { token: 'shk_wrong' })).status).toBe(401)
    expect((await call(PATH, { token: sandhook.token })).status).toBe(200)
  })

  test('anybody, where an admin has made it public', async () => {
    await publish('/custom/open', 'return "open"', { public: true })
    expect((await call('/custom/open', { token: null })).body).toBe('open')
    expect((await call('/custom/open', { token: 'of-the-partner-itself' })).body).toBe('open')
  })

  test('404 for what is unknown, disabled or a library, and nothing of it is in the history', async () => {
    const id = await publish('/custom/off', 'return 1', { enabled: false })
    for (const path of ['/custom/off', '/custom/none', '/custom/', '/custom/../lib/money', '/custom/door/more'])
      expect([path, (await call(path)).status]).toEqual([path, 404])
    expect(await lastOf('/custom/off')).toBeNull()
    await sandhook.call('PATCH', `/admin/v1/hooks/${id}`, { enabled: true })
    expect((await call('/custom/off')).status).toBe(200)
  })

  test("a merchant's own hook comes before the platform's, for its callers only", async () => {
    await publish(PATH, 'return "merchant 7"', { merId: 7 })
    expect((await call(PATH, { token: tokens.merchant as string })).body).toBe('merchant 7')
    expect((await call(PATH, { token: tokens.other as string })).body).toBe('platform')
    expect((await call(PATH)).body).toBe('platform')
  })
})

describe('the history', () => {
  test('has a call as an execution with its logs and calls', async () => {
    await publish('/custom/told', 'log.info("called by {}", param.who); db.selectValue("SELECT 1"); return { n: 1 }')
    await call('/custom/told?who=shop')
    const execution = await lastOf('/custom/told')
    expect(execution).toMatchObject({ status: 'succeeded', attempts: 1, result: { n: 1 }, error: null })
    expect(execution.history).toMatchObject([
      { attempt: 1, logs: [{ level: 'info', message: 'called by shop' }], calls: [{ kind: 'db', summary: 'SELECT 1' }] }
    ])
  })

  test('holds none of the secrets that a call carries', async () => {
    await publish('/custom/discreet', 'return "done"')
    const secrets = ['header-sesame', 'query-sesame', 'body-sesame', 'cookie-sesame']
    await call(`/custom/discreet?token=${secrets[1]}`, {
      method: 'POST',
      headers: { 'x-api-key': 'header-sesame', cookie: 'cookie-sesame', 'content-type': 'application/json' },
      body: JSON.stringify({ password: 'body-sesame' })
    })
    const execution = await lastOf('/custom/discreet')
    const event = (await sandhook.call('GET', `/admin/v1/events/${execution.eventId}`)).body
    expect(event).toMatchObject({ eventKey: 'HTTP_CALL', payload: { method: 'POST', path: '/custom/discreet' } })
    for (const secret of [...secrets, tokens.caller])
      expect(JSON.stringify([execution, event]) + sandhook.output()).not.toContain(secret)
  })
})

test('a caller that hangs up ends the run, what it waited for, and nothing of it stays', async () => {
  await publish('/custom/long', 'http.get(env.get("SILENT"), { timeout: 60000 })')
  const live = async () => (await sandhook.call('GET', '/admin/v1/stats')).body.live.inFlight
  const controller = new AbortController()
  const calling = call('/custom/long', { signal: controller.signal }).catch((error: Error) => error.name)
  await eventually(async () => waiting.size === 1)
  controller.abort()
  expect(await calling).toBe('AbortError')
  await eventually(async () => (await live()) === 0 && waiting.size === 0, 20_000)
  expect(await eventually(async () => lastOf('/custom/long'))).toMatchObject({ status: 'failed' })
  expect((await call('/custom/door')).status).toBe(200)
})
