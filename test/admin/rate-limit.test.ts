import { request } from 'node:http'
import type { FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { createAuth } from '../../runtime/admin/auth.ts'
import { healthRoutes } from '../../runtime/admin/health.ts'
import { createCounts, type Rates } from '../../runtime/admin/rates.ts'
import { createServer } from '../../runtime/admin/server.ts'
import type { Token } from '../../runtime/store/tokens.ts'
import { config } from './admin.ts'

const logger = pino({ level: 'silent' })
const PLENTY = { requests: 1_000, seconds: 60 }
const tokenOf = (id: string): Token => ({
  ...{ id, name: id, scopes: ['viewer'], merId: null, createdAt: 0, expiresAt: null }
})

interface Answer {
  status: number
  headers: Record<string, unknown>
  code: string | undefined
}

interface Ask {
  token?: string
  from?: string
  headers?: Record<string, string>
}

/** A server with these rates that knows the tokens `one`, `two` and `three`; `find` is asked for each. */
async function serve(rates: Partial<Rates>, trustProxy: string | null = null) {
  const known = new Map(['one', 'two', 'three'].map(name => [name, tokenOf(name)]))
  const find = vi.fn(async (secret: string) => known.get(secret) ?? null)
  const all = { address: PLENTY, token: PLENTY, failures: PLENTY, ...rates }
  const app = await createServer({ logger, callers: { ...config.limits.callers, rates: all }, trustProxy })
  onTestFinished(() => app.close())
  const auth = createAuth({ tokens: { find }, counts: createCounts(app, all) })
  app.get('/free', async () => ({ ok: true }))
  app.get('/guarded', async asked => ({ id: (await auth.authorize(asked, 'viewer')).id }))
  app.get('/public', async asked => ({ id: (await auth.recognise(asked, 'viewer'))?.id ?? null }))
  await app.register(
    healthRoutes({ checks: {}, metrics: { contentType: 'text/plain', metrics: async () => '' } as never })
  )
  await app.listen({ host: '::', port: 0 })
  return { app, known, find, ask: asker(app) }
}

const asker =
  (app: FastifyInstance) =>
  (path: string, { token, from = '127.0.0.1', headers = {} }: Ask = {}): Promise<Answer> => {
    const { port } = app.server.address() as { port: number }
    const host = from.includes(':') ? '::1' : '127.0.0.1'
    const bearer = token === undefined ? {} : { authorization: `Bearer ${token}` }
    return new Promise((resolve, reject) => {
      const options = { host, port, path, localAddress: from, agent: false, headers: { ...headers, ...bearer } }
      const sent = request(options, answer => {
        let text = ''
        answer.setEncoding('utf8').on('data', chunk => {
          text += chunk
        })
        answer.on('end', () => {
          const code = answer.statusCode === 200 ? undefined : JSON.parse(text).code
          resolve({ status: answer.statusCode ?? 0, headers: answer.headers, code })
        })
      })
      sent.on('error', reject).end()
    })
  }

const times = async <T>(count: number, work: (i: number) => Promise<T>): Promise<T[]> => {
  const results: T[] = []
  for (let i = 0; i < count; i++) results.push(await work(i))
  return results
}

const statuses = (answers: Answer[]) => answers.map(({ status }) => status)

describe('an address', () => {
  const address = { requests: 3, seconds: 60 }

  test('has so many requests in its window, and is told how many are left', async () => {
    const { ask } = await serve({ address })
    const answers = await times(4, () => ask('/free'))
    expect(statuses(answers)).toEqual([200, 200, 200, 429])
    expect(answers.map(({ headers }) => headers['ratelimit-remaining'])).toEqual(['2', '1', '0', '0'])
    const last = answers[3] as Answer
    expect([last.code, last.headers['ratelimit-limit']]).toEqual(['RATE_LIMITED', '3'])
    for (const name of ['retry-after', 'ratelimit-reset']) {
      expect(Number(last.headers[name])).toBeGreaterThan(0)
      expect(Number(last.headers[name])).toBeLessThanOrEqual(60)
    }
    expect(last.headers['content-type']).toMatch(/problem\+json/)
    expect(last.headers['x-content-type-options']).toBe('nosniff')
  })

  test.each([
    ['what there is not', '/nowhere'],
    ['what needs a token', '/guarded'],
    ['the same with another query', '/free?x=1']
  ])('is counted for %s, too', async (_what, path) => {
    const { ask } = await serve({ address })
    await times(3, () => ask(path))
    expect(statuses([await ask('/free'), await ask(path)])).toEqual([429, 429])
  })

  test('is refused before the store is asked, and takes nothing from others', async () => {
    const { ask, find } = await serve({ address })
    await times(3, () => ask('/free'))
    find.mockClear()
    expect(statuses(await times(5, () => ask('/guarded', { token: 'one' })))).toEqual(Array(5).fill(429))
    expect(find).not.toHaveBeenCalled()
    expect(statuses([await ask('/guarded', { token: 'one', from: '127.0.0.2' })])).toEqual([200])
    expect(statuses([await ask('/free', { from: '::1' })])).toEqual([200])
  })

  test('is told alive and ready all the same', async () => {
    const { ask } = await serve({ address })
    await times(4, () => ask('/free'))
    expect(statuses(await times(3, i => ask(['/healthz', '/readyz', '/metrics'][i] ?? '')))).toEqual([200, 200, 200])
    // They are counted apart, each by itself.
    await times(3, () => ask('/readyz'))
    expect(statuses([await ask('/readyz'), await ask('/healthz')])).toEqual([429, 200])
  })

  test('begins anew with the next window', async () => {
    const { ask } = await serve({ address: { requests: 2, seconds: 1 } })
    await times(2, () => ask('/free'))
    await expect.poll(async () => (await ask('/free')).status, { timeout: 10_000 }).toBe(429)
    await expect.poll(async () => (await ask('/free')).status, { timeout: 10_000, interval: 200 }).toBe(200)
  })
})

describe('a token', () => {
  const token = { requests: 3, seconds: 60 }

  test('has its own rate, from wherever it comes', async () => {
    const { ask } = await serve({ token })
    const answers = await times(4, i => ask('/guarded', { token: 'one', from: `127.0.0.${i + 1}` }))
    expect(statuses(answers)).toEqual([200, 200, 200, 429])
    expect(answers[3]).toMatchObject({ code: 'RATE_LIMITED', headers: { 'ratelimit-limit': '3' } })
    expect(Number(answers[3]?.headers['retry-after'])).toBeGreaterThan(0)
    expect((await ask('/guarded', { token: 'two' })).status).toBe(200)
  })

  test('that is past its rate is no stranger at a public address', async () => {
    const { ask } = await serve({ token })
    expect(statuses(await times(4, () => ask('/public', { token: 'one' })))).toEqual([200, 200, 200, 429])
    expect(statuses([await ask('/public'), await ask('/public', { token: 'of a partner' })])).toEqual([200, 200])
  })
})

describe('an address that guesses tokens', () => {
  const failures = { requests: 3, seconds: 60 }
  const guess = (ask: ReturnType<typeof asker>, from = '127.0.0.1') =>
    times(4, i => ask('/guarded', { token: `guess-${i}`, from }))

  test('is refused before the store is asked, even with a token that it has found', async () => {
    const { ask, find } = await serve({ failures })
    expect(statuses(await guess(ask))).toEqual([401, 401, 401, 401])
    find.mockClear()
    const answers = await times(3, i => ask('/guarded', { token: ['guess', 'guess-1', 'one'][i] ?? '' }))
    expect(statuses(answers)).toEqual([429, 429, 429])
    expect(answers[0]?.code).toBe('RATE_LIMITED')
    expect(Number(answers[0]?.headers['retry-after'])).toBeGreaterThan(0)
    expect(find).not.toHaveBeenCalled()
    expect((await ask('/guarded', { token: 'one', from: '127.0.0.2' })).status).toBe(200)
  })

  test('does not shut out who was there before with a token that holds', async () => {
    const { ask, known } = await serve({ failures })
    await ask('/guarded', { token: 'one' })
    await guess(ask)
    expect(statuses(await times(5, () => ask('/guarded', { token: 'one' })))).toEqual(Array(5).fill(200))
    known.delete('one')
    expect(statuses([await ask('/guarded', { token: 'one' })])).toEqual([401])
    expect(statuses([await ask('/guarded', { token: 'one' })])).toEqual([429])
  })

  test('has not guessed when it showed no token', async () => {
    const { ask } = await serve({ failures })
    expect(statuses(await times(9, () => ask('/guarded')))).toEqual(Array(9).fill(401))
    expect((await ask('/guarded', { token: 'one' })).status).toBe(200)
  })

  test('learns nothing at a public address, and is served there', async () => {
    const { ask, find } = await serve({ failures })
    expect(statuses(await times(9, i => ask('/public', { token: `guess-${i}` })))).toEqual(Array(9).fill(200))
    expect(find).toHaveBeenCalledTimes(4)
    expect((await ask('/guarded', { token: 'two' })).status).toBe(429)
  })
})

describe('behind a proxy', () => {
  const address = { requests: 2, seconds: 60 }
  const via = (forwarded: string, from = '127.0.0.1') => ({ from, headers: { 'x-forwarded-for': forwarded } })

  test('that is trusted, the caller is who it says', async () => {
    const { ask } = await serve({ address }, '127.0.0.1')
    expect(statuses(await times(3, () => ask('/free', via('203.0.113.7'))))).toEqual([200, 200, 429])
    // What a caller wrote there itself stands further left.
    expect((await ask('/free', via('10.1.1.1, 203.0.113.7'))).status).toBe(429)
    expect((await ask('/free', via('203.0.113.8'))).status).toBe(200)
  })

  test('that is not trusted, the caller is the proxy', async () => {
    const { ask } = await serve({ address }, '127.0.0.1')
    expect(statuses(await times(3, i => ask('/free', via(`203.0.113.${i}`, '127.0.0.9'))))).toEqual([200, 200, 429])
    const trustful = await serve({ address })
    expect(statuses(await times(3, i => trustful.ask('/free', via(`203.0.113.${i}`))))).toEqual([200, 200, 429])
  })

  test.each([
    ['one network of IPv6', '2001:db8:1:2::1', '2001:db8:1:2:ffff::9', 429],
    ['two networks of IPv6', '2001:db8:1:2::1', '2001:db8:1:3::1', 200],
    ['an address and its mapped form', '198.51.100.1', '::ffff:198.51.100.1', 429],
    ['what is no address', 'nonsense', '198.51.100.1', 200]
  ])('%s', async (_what, first, second, status) => {
    const { ask } = await serve({ address }, '127.0.0.1')
    await times(2, () => ask('/free', via(first)))
    expect((await ask('/free', via(second))).status).toBe(status)
  })

  test('more callers than anybody has are counted in bounded memory', async () => {
    const { app } = await serve({ address }, '127.0.0.1')
    const from = (i: number) => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`
    const send = (i: number) => app.inject({ url: '/free', headers: { 'x-forwarded-for': from(i) } })
    await times(2, () => send(1))
    expect((await send(1)).statusCode).toBe(429)
    for (let i = 2; i < 10_002; i += 500) await Promise.all(Array.from({ length: 500 }, (_, n) => send(i + n)))
    expect((await send(1)).statusCode).toBe(200)
  })
})

test('the rates that ship are no burden to a shop, and one to who guesses', () => {
  const { address, token, failures } = config.limits.callers.rates
  for (const { requests, seconds } of [address, token]) expect(requests / seconds).toBeGreaterThanOrEqual(1_000)
  expect(failures.requests / failures.seconds).toBeLessThanOrEqual(1)
})
