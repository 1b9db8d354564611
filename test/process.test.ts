import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Launched, launch } from './support/launch.ts'
import { type PartnerRequest, startPartner } from './support/run-hook.ts'
import { eventually } from './support/sandhook.ts'

const TOKEN = 'test-admin-token-0123456789'

let folder: string
let launched: Launched[]

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sandhook-process-'))
  launched = []
})
afterEach(async () => {
  for (const sandhook of launched) sandhook.kill('SIGKILL')
  await Promise.all(launched.map(({ ended }) => ended))
  rmSync(folder, { recursive: true, force: true })
})

function start(env: Record<string, string> = {}): Launched {
  const sandhook = launch({ PORT: '0', SANDHOOK_LOG_LEVEL: 'error', ...env }, folder)
  launched.push(sandhook)
  return sandhook
}

/** A request as JSON with a token; answers status and parsed body. */
async function call(sandhook: Launched, token: string, method: string, path: string, body?: unknown) {
  const headers = { authorization: `Bearer ${token}`, ...(body ? { 'content-type': 'application/json' } : {}) }
  const init = { method, headers, ...(body ? { body: JSON.stringify(body) } : {}) }
  const response = await fetch((await sandhook.url) + path, init)
  // biome-ignore lint/suspicious/noExplicitAny: answers of every route
  return { status: response.status, body: (await response.json()) as any }
}

const ADDRESS = /http:\/\/127\.0\.0\.1:\d+/
const tokenIn = (text: string) => /shk_[\w-]+/.exec(text)?.[0]

describe('the embedded default, started in an empty folder', () => {
  test('prints address, documentation and token once, and keeps everything for the second start', async () => {
    const first = start()
    const url = await first.url
    expect(url).toMatch(ADDRESS)
    expect(first.stdout()).toContain(`${url}/docs`)
    expect((await fetch(`${url}/docs`)).status).toBe(200)
    const token = tokenIn(first.stdout()) as string
    expect(first.stdout().split(token)).toHaveLength(2)
    expect(first.stderr()).toBe('')
    expect(statSync(join(folder, 'data', 'secret.key')).mode & 0o777).toBe(0o600)
    const hook = { path: '/custom/kept', events: ['KEPT'], script: 'return env.get("SECRET")' }
    expect((await call(first, token, 'POST', '/admin/v1/hooks', hook)).status).toBe(201)
    await call(first, token, 'PUT', '/admin/v1/env/SECRET', { value: 'of the first start', secret: true })
    const posted = await call(first, token, 'POST', '/events', { id: 'kept-1', eventKey: 'KEPT', payload: '1' })
    expect(posted.body.events).toEqual([{ id: 'kept-1', duplicate: false, executions: [expect.any(String)] }])
    first.kill('SIGTERM')
    expect(await first.ended).toBe(0)

    const second = start()
    await second.url
    expect(tokenIn(second.stdout())).toBeUndefined()
    const hooks = await call(second, token, 'GET', '/admin/v1/hooks?path=/custom/kept')
    expect(hooks.body.items).toMatchObject([{ path: '/custom/kept', events: ['KEPT'] }])
    const again = await call(second, token, 'POST', '/events', { id: 'kept-1', eventKey: 'KEPT', payload: '1' })
    expect(again.body.events).toEqual([{ id: 'kept-1', duplicate: true, executions: [] }])
    await call(second, token, 'POST', '/events', { id: 'kept-2', eventKey: 'KEPT', payload: '1' })
    const done = await eventually(async () => {
      const { body } = await call(second, token, 'GET', '/admin/v1/events/kept-2')
      return body.executions[0]?.status === 'succeeded' && body.executions[0]
    })
    expect(done.result).toBe('***')
  })

  test('refuses a second process on the same file in one line, and the first goes on', async () => {
    const first = start()
    await first.url
    const second = start()
    expect(await second.ended).toBe(1)
    expect(second.stderr()).toMatch(/^DATABASE_URL: another Sandhook is using .*sandhook\.db; .*\n$/)
    expect(second.stdout()).toBe('')
    expect((await fetch(`${await first.url}/readyz`)).status).toBe(200)
  })
})

describe('a start that cannot succeed ends with exit code 1 and one line', () => {
  test('when the port is in use', async () => {
    const first = start({ SANDHOOK_DEMO: 'off' })
    const { port } = new URL(await first.url)
    const second = start({ PORT: port, DATABASE_URL: 'sqlite:other/sandhook.db', SANDHOOK_DEMO: 'off' })
    expect(await second.ended).toBe(1)
    expect(second.stderr()).toMatch(new RegExp(`^PORT [^\\n]*${port}[^\\n]*in use[^\\n]*example: PORT=\\d+\\n$`))
  })

  test.each([
    ['HOST is none of this machine', { HOST: '203.0.113.7' }, /^HOST /],
    ['a setting is wrong', { PORT: 'http' }, /^PORT must be /],
    ['an allowed network is none', { SANDHOOK_HTTP_ALLOW: '10.0.0.0/33' }, /^SANDHOOK_HTTP_ALLOW /],
    ['the key is another one', { SANDHOOK_SECRET_KEY: 'ab'.repeat(32) }, /^SANDHOOK_SECRET_KEY: .*another key/]
  ])('when %s', async (_, env, line) => {
    if ('SANDHOOK_SECRET_KEY' in env) {
      const first = start({ SANDHOOK_DEMO: 'off' })
      await first.url
      first.kill('SIGTERM')
      await first.ended
    }
    const sandhook = start({ SANDHOOK_DEMO: 'off', ...env })
    expect(await sandhook.ended).toBe(1)
    expect(sandhook.stderr()).toMatch(line)
    expect(sandhook.stderr().trimEnd().split('\n')).toHaveLength(1)
  })
})

describe('SIGTERM while runs wait for a slow partner', () => {
  const SCRIPT = `
    var fast = http.post(env.get('PARTNER') + '/order', { order: payload.event.payload })
    var slow = http.post(env.get('PARTNER') + '/' + payload.event.payload, { after: fast.no })
    return { no: fast.no, slow: slow.done, attempt: payload.event.attempt }`
  const KEY = 'idempotency-key'

  test('prc-03: exits 0 within ten seconds; what was broken off goes on at the next start where it stood', async () => {
    const held: (() => void)[] = []
    const partner = await startPartner(async ({ path }) => {
      if (path === '/order') return { body: { no: partner.requests.length } }
      const first = partner.requests.filter(request => request.path === path).length === 1
      if (path === '/five-seconds') await new Promise(resolve => setTimeout(resolve, 5_000))
      if (path === '/for-ever' && first) await new Promise<void>(resolve => held.push(resolve))
      return { body: { done: true } }
    })
    const env = {
      SANDHOOK_ADMIN_TOKEN: TOKEN,
      SANDHOOK_DEMO: 'off',
      SANDHOOK_HTTP_ALLOW: partner.url.replace('http://', '')
    }
    const first = start(env)
    await call(first, TOKEN, 'PUT', '/admin/v1/env/PARTNER', { value: partner.url, secret: false })
    const hook = { path: '/custom/slow', events: ['SLOW'], script: SCRIPT }
    expect((await call(first, TOKEN, 'POST', '/admin/v1/hooks', hook)).status).toBe(201)
    const ids = ['five-seconds', 'for-ever']
    const events = ids.map(id => ({ id, eventKey: 'SLOW', payload: id }))
    expect((await call(first, TOKEN, 'POST', '/events', events)).status).toBe(202)
    await eventually(async () => partner.requests.length === 4)

    const asked = Date.now()
    first.kill('SIGTERM')
    expect(await first.ended).toBe(0)
    expect(Date.now() - asked).toBeLessThan(10_000)
    const before = partner.requests.length

    const second = start(env)
    const done = await eventually(async () => {
      const seen = await Promise.all(ids.map(id => call(second, TOKEN, 'GET', `/admin/v1/events/${id}`)))
      const executions = seen.flatMap(({ body }) => body.executions)
      return executions.every(({ status }) => status === 'succeeded') && executions
    })
    expect(done.map(({ attempts }) => attempts)).toEqual([1, 1])
    expect(done.map(({ result }) => result)).toEqual([
      { no: expect.any(Number), slow: true, attempt: 1 },
      { no: expect.any(Number), slow: true, attempt: 1 }
    ])
    const requests = (path: string): PartnerRequest[] => partner.requests.filter(request => request.path === path)
    expect(requests('/order')).toHaveLength(2)
    expect(requests('/five-seconds')).toHaveLength(1)
    const repeated = requests('/for-ever')
    expect(repeated).toHaveLength(2)
    expect(repeated[0]?.headers[KEY]).toBe(`${done[1].id}:2`)
    expect(repeated[1]?.headers[KEY]).toBe(`${done[1].id}:2`)
    expect(repeated[1]?.body).toEqual(repeated[0]?.body)
    expect(partner.requests.length - before).toBe(1)
    const one = await call(second, TOKEN, 'GET', `/admin/v1/executions/${done[1].id}`)
    expect(one.body.history.map((run: { error: { code: string } | null }) => run.error?.code)).toEqual([
      'SHUTTING_DOWN',
      undefined
    ])
    for (const release of held) release()
    await partner.close()
  }, 60_000)
})
