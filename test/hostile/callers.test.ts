import { once } from 'node:events'
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readConfig } from '../../runtime/config.ts'
import { engines, makeSqlite, type TestDatabase } from '../support/databases.ts'
import { eventually, type SandhookProcess, startSandhookProcess } from '../support/sandhook.ts'

const { maximum } = readConfig({}).limits
const json = { 'content-type': 'application/json' }

let database: TestDatabase
let sandhook: SandhookProcess
beforeAll(async () => {
  database = await makeSqlite()
  sandhook = await startSandhookProcess({
    ...{ DATABASE_URL: database.url, SANDHOOK_DEMO: 'off', SANDHOOK_RUNNERS: '1', SANDHOOK_LOG_LEVEL: 'debug' }
  })
  const hook = { path: '/custom/size', events: ['SIZE'], script: 'return JSON.stringify(payload.event).length' }
  expect((await sandhook.call('POST', '/admin/v1/hooks', hook)).status).toBe(201)
  const own = `response.setHeader('x-frame-options', 'ALLOWALL'); response.setHeader('X-Mine', '1')
    response.setHeader('content-security-policy', "default-src *"); response.setHeader('x-bad', '中'); return 1`
  const open = { path: '/custom/open', script: own, public: true }
  expect((await sandhook.call('POST', '/admin/v1/hooks', open)).status).toBe(201)
})
afterAll(async () => {
  await sandhook.end('SIGKILL')
  await database.drop()
})

const post = async (body: string | Uint8Array<ArrayBuffer>, path = '/events') => {
  const headers = { ...json, authorization: `Bearer ${sandhook.token}` }
  const response = await fetch(sandhook.url + path, { method: 'POST', headers, body })
  // biome-ignore lint/suspicious/noExplicitAny: answers of every route
  return { status: response.status, body: (await response.json()) as any }
}
const alive = async () => expect((await sandhook.call('GET', '/healthz')).status).toBe(200)

describe('what stands for something else is no name (adm-03)', () => {
  const script = 'return 1'
  const NAMES = ['__proto__', 'constructor', 'prototype']
  test.each(
    NAMES.flatMap(name => [
      { name, as: 'a hook', method: 'POST', path: '/hooks', body: { path: '/custom/reserved', name, script } },
      { name, as: 'a path', method: 'POST', path: '/hooks', body: { path: `/custom/${name}`, script } },
      { name, as: 'a path within', method: 'POST', path: '/hooks', body: { path: `/custom/a/${name}/b`, script } },
      { name, as: 'a variable', method: 'POST', path: '/hooks', body: { path: `/custom/{${name}}`, script } },
      { name, as: 'a grant', method: 'POST', path: '/hooks', body: { path: '/custom/reserved', env: [name], script } },
      { name, as: 'an env key', method: 'PUT', path: `/env/${name}`, body: { value: '1' } }
    ])
  )('$name as $as', async ({ method, path, body }) => {
    const refused = await sandhook.call(method, `/admin/v1${path}`, body)
    expect([400, 422]).toContain(refused.status)
    expect(refused.body.errors.length).toBeGreaterThan(0)
    expect((await sandhook.call('GET', '/admin/v1/hooks?path=/custom/reserved')).body.items).toEqual([])
  })

  test.each(['/custom/constructors', '/custom/my.constructor', '/custom/{constructorId}'])('%s is one', async path => {
    const { status, body } = await sandhook.call('POST', '/admin/v1/hooks', { path, script })
    expect(status).toBe(201)
    expect((await sandhook.call('DELETE', `/admin/v1/hooks/${body.id}`)).status).toBe(204)
  })
})

describe('a limit past the maximum is refused (adm-03)', () => {
  const WRONG = [1e12, Number.MAX_SAFE_INTEGER, 0, -1, 1.5, '1000', null]
  const cases = Object.entries(maximum).flatMap(([limit, most]) =>
    [most + 1, ...WRONG].map(value => ({ limit, value }))
  )
  const more = [
    { limit: 'concurrency', value: 1e6 },
    { limit: 'timeoutMs', value: 1e12 },
    { limit: '__proto__', value: 1 }
  ]
  test.each([...cases, ...more])('$limit: $value', async ({ limit, value }) => {
    const body = `{"path":"/custom/limits","script":"return 1","limits":{${JSON.stringify(limit)}:${JSON.stringify(value)}}}`
    const refused = await post(body, '/admin/v1/hooks')
    expect([400, 422]).toContain(refused.status)
    expect(['HOOK_INVALID', 'REQUEST_INVALID']).toContain(refused.body.code)
  })

  test.each([
    { retry: { attempts: 1e6 } },
    { retry: { delaysMs: [1e15] } },
    { retry: { delaysMs: Array(51).fill(1) } },
    { events: Array(101).fill('A') },
    { script: 'x'.repeat(256 * 1024 + 1) },
    { description: 'x'.repeat(4_001) },
    { merId: 'm'.repeat(65) }
  ])('%j', async given => {
    const refused = await sandhook.call('POST', '/admin/v1/hooks', { path: '/custom/limits', script: '1', ...given })
    expect([refused.status, refused.body.code]).toEqual([422, 'HOOK_INVALID'])
  })
})

describe('an event of a size that nobody has (evt-02)', () => {
  const event = (payload: string) => `{"eventKey":"SIZE","payload":${payload}}`
  const nested = (levels: number, open = '[', close = ']') => open.repeat(levels) + close.repeat(levels)
  const object = (levels: number) => `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`
  const keys = (count: number) => `{${Array.from({ length: count }, (_, i) => `"key-${i}":${i}`).join()}}`

  test.each<[string, () => string, number]>([
    ['10 MB', () => event(JSON.stringify('x'.repeat(10_000_000))), 413],
    ['a million keys', () => event(keys(1_000_000)), 413],
    ['10 MB of blanks', () => event(`1${' '.repeat(10_000_000)}`), 413],
    ['a million events', () => `[${Array(1_000_000).fill('{}').join()}]`, 422],
    ['100 000 levels of arrays', () => event(nested(100_000)), 400],
    ['100 000 levels of objects', () => event(object(100_000)), 400],
    ['100 000 levels outside an event', () => nested(100_000), 400],
    ['2 million levels', () => nested(2_000_000), 400],
    ['a million brackets that nobody closes', () => '['.repeat(1_000_000), 400],
    ['200 000 members that nobody knows', () => `{"eventKey":"SIZE",${keys(200_000).slice(1)}`, 422],
    ['a key of a megabyte', () => `{"eventKey":"${'K'.repeat(1_000_000)}","payload":1}`, 422],
    ['an id of a megabyte', () => `{"eventKey":"SIZE","id":"${'i'.repeat(1_000_000)}","payload":1}`, 422]
  ])('%s', async (_what, body, status) => {
    const refused = await post(body())
    expect(refused.status).toBe(status)
    expect(JSON.stringify(refused.body).length).toBeLessThan(20_000)
    await alive()
  })

  test.each<[string, () => string]>([
    ['200 000 keys', () => event(keys(200_000))],
    ['brackets that are text', () => event(JSON.stringify('['.repeat(100_000)))],
    ['quotes and brackets that are text', () => event(JSON.stringify('\\"[{'.repeat(50_000)))],
    ['brackets beside each other', () => event(`[${Array(50_000).fill('[],{}').join()}]`)]
  ])('%s are taken', async (_what, body) => {
    const { status, body: taken } = await post(body())
    expect(status).toBe(202)
    const [id] = taken.events[0].executions
    await eventually(async () => (await sandhook.call('GET', `/admin/v1/executions/${id}`)).body.finishedAt)
    await alive()
  })

  test('a hook that is called so is not run', async () => {
    expect((await post(nested(100_000), '/custom/size')).status).toBe(400)
    expect((await post(JSON.stringify('x'.repeat(10_000_000)), '/custom/size')).status).toBe(413)
    const report = `{"topic":"t","body":${nested(100_000)}}`
    expect((await post(report, '/erp/order/publishRabbitmqSentEvent')).status).toBe(400)
    await alive()
  })
})

describe.each(engines)('the same event 50 times at once (evt-04), on $name', ({ make, missing, engine }) => {
  test.skipIf(missing)('runs once, and everybody is told so', { timeout: 120_000 }, async () => {
    const { url, drop } = await make()
    const env = { DATABASE_URL: url, SANDHOOK_DEMO: 'off', SANDHOOK_RUNNERS: '1' }
    // Nodes share MySQL; a file is one process's.
    const nodes = await Promise.all(Array.from({ length: engine === 'mysql' ? 2 : 1 }, () => startSandhookProcess(env)))
    const [first] = nodes as [SandhookProcess]
    const hook = { path: '/custom/once', events: ['ONCE'], script: 'return payload.event.id' }
    expect((await first.call('POST', '/admin/v1/hooks', hook)).status).toBe(201)
    for (const [i, node] of nodes.entries())
      await eventually(async () => {
        const warm = { eventKey: 'ONCE', id: `warm-${i}-${Math.random()}`, payload: 1 }
        return (await node.call('POST', '/events', warm)).body.events[0].executions.length === 1
      })
    for (const id of ['a', 'b', 'c']) {
      const event = { eventKey: 'ONCE', id, payload: 'WX1' }
      const sent = Array.from({ length: 50 }, (_, i) => nodes[i % nodes.length]?.call('POST', '/events', event))
      const answers = await Promise.all(sent)
      expect(answers.map(answer => [answer?.status, answer?.body.events[0].id])).toEqual(Array(50).fill([202, id]))
      expect(answers.filter(answer => !answer?.body.events[0].duplicate)).toHaveLength(1)
      const found = await eventually(async () => {
        const { executions } = (await first.call('GET', `/admin/v1/events/${id}`)).body
        return executions[0]?.finishedAt && executions
      })
      expect(found).toMatchObject([{ status: 'succeeded', attempts: 1, result: id }])
    }
    await Promise.all(nodes.map(node => node.end('SIGKILL')))
    await drop()
  })
})

describe('an answer', () => {
  const WANTED = {
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
    'referrer-policy': 'no-referrer',
    'cache-control': 'no-store',
    'cross-origin-resource-policy': 'same-origin',
    'cross-origin-opener-policy': 'same-origin'
  }
  test.each([
    ...['/healthz', '/readyz', '/metrics', '/openapi.json', '/docs/', '/docs/static/index.html', '/nowhere'],
    ...['/admin/v1/hooks', '/custom/open', '/custom/none', '/%E0%A4%A', '/admin/v1/hooks?limit=x']
  ])('of %s has the headers that guard browsers, and is for no other origin', async path => {
    for (const [method, origin] of [
      ['GET', 'https://evil.example'],
      ['OPTIONS', 'https://evil.example'],
      ['GET', 'null']
    ] as const) {
      const asked = {
        origin,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization'
      }
      const { headers } = await fetch(sandhook.url + path, { method, headers: asked })
      expect(Object.fromEntries(headers)).toMatchObject(WANTED)
      expect(headers.get('content-security-policy')).toContain("frame-ancestors 'none'")
      expect([...headers.keys()].filter(name => name.startsWith('access-control-'))).toEqual([])
      for (const name of ['server', 'x-powered-by', 'strict-transport-security', 'set-cookie'])
        expect(headers.has(name)).toBe(false)
    }
  })

  test('has a script’s own headers, but for those that guard browsers and those that no header can be', async () => {
    const response = await fetch(`${sandhook.url}/custom/open`)
    expect([response.status, await response.json()]).toEqual([200, 1])
    expect(response.headers.get('x-mine')).toBe('1')
    expect([response.headers.get('x-frame-options'), response.headers.get('x-bad')]).toEqual(['DENY', null])
  })
})

describe('a token', () => {
  test.each([
    ['in the query', () => ({ path: `/admin/v1/hooks?access_token=${sandhook.token}` })],
    ['in a cookie', () => ({ headers: { cookie: `token=${sandhook.token}` } })],
    ['as a password', () => ({ headers: { authorization: `Basic ${btoa(`admin:${sandhook.token}`)}` } })],
    ['in a header of its own', () => ({ headers: { 'x-api-key': sandhook.token } })],
    ['without its scheme', () => ({ headers: { authorization: sandhook.token } })],
    ['with more behind it', () => ({ headers: { authorization: `Bearer ${sandhook.token},x` } })],
    ['in other letters', () => ({ headers: { authorization: `Bearer ${sandhook.token.toUpperCase()}` } })],
    ['without its last letter', () => ({ headers: { authorization: `Bearer ${sandhook.token.slice(0, -1)}` } })]
  ] as [string, () => { path?: string; headers?: Record<string, string> }][])(
    '%s counts for nothing',
    async (_, sent) => {
      const { path = '/admin/v1/hooks', headers = {} } = sent()
      const { status } = await fetch(sandhook.url + path, { headers })
      expect([400, 401]).toContain(status)
    }
  )
})

/** Sends bytes as they are, and waits for the end of the answer. */
async function sendRaw(text: string): Promise<string> {
  const { port, hostname } = new URL(sandhook.url)
  const socket = connect(Number(port), hostname)
  let answer = ''
  socket.setEncoding('latin1').on('data', chunk => {
    answer += chunk
  })
  socket.end(text, 'latin1')
  await once(socket, 'close')
  return answer
}

describe('the log', () => {
  const ESC = '\x1b[2J\x1b]0;owned\x07'
  test('is one line of JSON for each entry, whatever callers send, and has no token in it', async () => {
    const auth = `Authorization: Bearer ${sandhook.token}\r\n`
    const paths = [
      '/nowhere%0a{"level":60,"msg":"forged"}',
      '/nowhere%1b%5b2J',
      `/custom/none\x1b[31m`,
      `/nowhere\u0085{"level":60}`,
      `/admin/v1/hooks/%0d%0aforged?token=${sandhook.token}`,
      `/nowhere/${'x'.repeat(2_000)}`
    ]
    for (const path of paths)
      await sendRaw(
        `GET ${path} HTTP/1.1\r\nHost: x\r\nX-Request-Id: ${ESC}\r\nUser-Agent: a\x85b\r\n${auth}Connection: close\r\n\r\n`
      )
    await sendRaw(`GET / HTTP/1.1\r\nHost: x\r\nX-A: a\nforged: b\r\n${auth}\r\n`)
    await post(JSON.stringify({ eventKey: 'LOG', payload: `${ESC}\n{"level":60,"msg":"forged"}`, id: 'log' }))
    await post('{"eventKey": "\x1b[2J\\n')
    await post(JSON.stringify({ path: '/custom/broken', script: `return (\n${ESC}` }), '/admin/v1/hooks')
    const secret = await sandhook.call('POST', '/admin/v1/tokens', { name: `x\n${ESC}`, scopes: ['viewer'] })
    await sandhook.call('GET', `/admin/v1/hooks?path=${encodeURIComponent(secret.body.token)}`)

    await eventually(async () => sandhook.output().includes('"path":"/admin/v1/tokens"'))
    const lines = sandhook.output().trimEnd().split('\n')
    const logged = lines.slice(lines.findIndex(line => line.startsWith('{')))
    expect(logged.length).toBeGreaterThan(10)
    for (const line of logged) {
      if (/^(Sandhook listens| {2}API doc)/.test(line)) continue
      expect(JSON.parse(line)).toMatchObject({ level: expect.any(Number), time: expect.any(Number) })
      expect(JSON.parse(line).msg ?? '').not.toBe('forged')
    }
    // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for
    expect(sandhook.output()).not.toMatch(/[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]/)
    for (const token of [sandhook.token, secret.body.token]) expect(sandhook.output()).not.toContain(token)
  })
})
