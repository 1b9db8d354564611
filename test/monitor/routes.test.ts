import { pino } from 'pino'
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { monitorRoutes, SentMessage } from '../../runtime/admin/monitor.ts'
import { createServer } from '../../runtime/admin/server.ts'
import { readConfig } from '../../runtime/config.ts'
import { RuntimeError } from '../../runtime/errors.ts'
import { fingerprintOf } from '../../runtime/events/canonical-json.ts'
import { reportRoutes } from '../../runtime/events/ingress-monitor.ts'
import type { Json } from '../../runtime/model.ts'
import type { SentMessage as Sent } from '../../runtime/store/sent-messages.ts'
import type { Token } from '../../runtime/store/tokens.ts'

const logger = pino({ level: 'silent' })
const { callers } = readConfig({}).limits
const ADDRESS = '/erp/order/publishRabbitmqSentEvent'
const OK = { code: 200, message: 'ok' }

describe('the reporting address', () => {
  const report = vi.fn<(topic: string, body: Json) => void>()
  const onLost = vi.fn()
  beforeEach(() => {
    vi.resetAllMocks()
  })

  async function serve(authorize: () => Promise<Token>, open: boolean) {
    const app = await createServer({ logger, callers, trustProxy: null })
    onTestFinished(() => app.close())
    await app.register(reportRoutes({ report, authorize, open, onLost }))
    return async (payload: string | object, type = 'application/json') => {
      const answer = await app.inject({ method: 'POST', url: ADDRESS, headers: { 'content-type': type }, payload })
      return { status: answer.statusCode, body: answer.json() }
    }
  }
  const refuse = (code: 'UNAUTHENTICATED' | 'STORE_UNAVAILABLE') => async () => {
    throw new RuntimeError(code, 'no')
  }

  test.each<[string, string, string, Json]>([
    ['a text', '{"topic":"a","body":"{\\"x\\":1}"}', 'application/json', '{"x":1}'],
    ['an object', '{"topic":"a","body":{"x":1}}', 'application/json', { x: 1 }],
    ['a list', '{"topic":"a","body":[{"x":1}]}', 'application/json; charset=utf-8', [{ x: 1 }]],
    [
      'numbers that are exact',
      '{"topic":"a","body":{"x":12345678901234567890}}',
      'application/json',
      { x: '12345678901234567890' }
    ],
    ['a form', 'topic=a&body=%7B%22x%22%3A1%7D', 'application/x-www-form-urlencoded', '{"x":1}'],
    ['more members than these', '{"topic":"a","body":"b","sender":"erp"}', 'application/json', 'b']
  ])('takes %s', async (_what, payload, type, body) => {
    const post = await serve(refuse('UNAUTHENTICATED'), true)
    expect(await post(payload, type)).toEqual({ status: 200, body: OK })
    expect(report.mock.calls).toEqual([['a', body]])
  })

  test.each<[string, string, number, string]>([
    ['no topic', '{"body":"x"}', 400, 'REQUEST_INVALID'],
    ['no body', '{"topic":"x"}', 400, 'REQUEST_INVALID'],
    ['broken JSON', '{"topic"', 400, 'REQUEST_INVALID'],
    ['a long topic', JSON.stringify({ topic: 'x'.repeat(256), body: 1 }), 400, 'REQUEST_INVALID'],
    ['a large body', JSON.stringify({ topic: 'x', body: 'x'.repeat(262_144) }), 413, 'BODY_TOO_LARGE']
  ])('says what is wrong with %s', async (_what, payload, status, code) => {
    const post = await serve(refuse('UNAUTHENTICATED'), true)
    expect(await post(payload)).toMatchObject({ status, body: { code } })
    expect(report).not.toHaveBeenCalled()
  })

  test('needs a token when it is closed, but does not fail a caller because our store is down', async () => {
    const message = { topic: 'a', body: 'b' }
    expect(await (await serve(refuse('UNAUTHENTICATED'), false))(message)).toMatchObject({ status: 401 })
    expect(onLost).not.toHaveBeenCalled()
    expect(await (await serve(refuse('STORE_UNAVAILABLE'), false))(message)).toEqual({ status: 200, body: OK })
    expect(onLost.mock.calls).toEqual([[1, 'unauthenticated']])
    expect(report).not.toHaveBeenCalled()
    expect(await (await serve(async () => ({}) as Token, false))(message)).toEqual({ status: 200, body: OK })
    expect(report.mock.calls).toEqual([['a', 'b']])
  })
})

describe('the monitor’s addresses', () => {
  const message: Sent = {
    ...{ fingerprint: fingerprintOf('a', 1), topic: 'a', body: 'x'.repeat(3_000), reportedAt: 1_000, receivedAt: null },
    ...{ missingSince: 1_000, eventIds: null }
  }
  const trail = vi.fn((_token: Token, _action: string) => async () => {})
  const raised = [{ id: 'e1', duplicate: false, executions: [] }]
  const missing = (count: number) =>
    Array.from({ length: count }, (_, i) => ({ payload: `P${i}`, merId: i % 2 ? i : null }))

  async function serve(token: Partial<Token> = { scopes: ['admin'], merId: null }) {
    const app = await createServer({ logger, callers, trustProxy: null })
    onTestFinished(() => app.close())
    app.addSchema(SentMessage)
    app.addHook('onRequest', async request => {
      request.token = { id: 't', name: 'test', ...token } as Token
    })
    const monitor = {
      missing: async () => ({ items: [message], nextCursor: JSON.stringify([1_000, message.fingerprint]) }),
      countMissing: async () => [{ topic: 'a', count: 9 }],
      get: async () => message,
      inject: async () => raised
    }
    const missingEvents = {
      compare: async () => [
        { eventKey: 'A', from: 0, expected: 9, missing: missing(3) },
        { eventKey: 'B', from: 0, expected: 2, missing: missing(2) }
      ],
      raise: async () => ({ events: raised, left: 4 })
    }
    await app.register(monitorRoutes({ monitor, missingEvents, trail }), { prefix: '/monitor' })
    return async (method: 'GET' | 'POST', url: string, payload?: object) => {
      const answer = await app.inject({ method, url: `/monitor${url}`, ...(payload ? { payload } : {}) })
      return { status: answer.statusCode, body: answer.json() }
    }
  }

  test('list what is missing with counts, bodies cut; one has its whole body', async () => {
    const call = await serve()
    const { body } = await call('GET', '/missing?topic=a&limit=1')
    expect(body.items).toEqual([
      {
        ...{ id: message.fingerprint, topic: 'a', body: 'x'.repeat(2_000), reportedAt: '1970-01-01T00:00:01.000Z' },
        ...{ receivedAt: null, missingSince: '1970-01-01T00:00:01.000Z', eventIds: null }
      }
    ])
    expect(body.topics).toEqual([{ topic: 'a', missing: 9 }])
    expect((await call('GET', `/missing?cursor=${body.nextCursor}`)).status).toBe(200)
    expect((await call('GET', '/missing?cursor=x')).status).toBe(400)
    expect((await call('GET', `/missing/${message.fingerprint}`)).body.body).toHaveLength(3_000)
  })

  test('inject and raise, and leave a trail', async () => {
    const call = await serve()
    expect((await call('POST', '/missing/x/inject')).body).toEqual({ events: raised })
    expect((await call('POST', '/missing-events/raise', { eventKey: 'A', payloads: ['P1', 2] })).body).toEqual({
      ...{ events: raised, left: 4 }
    })
    expect((await call('POST', '/missing-events/raise', { eventKey: 'A', payloads: [{}] })).status).toBe(400)
    expect(trail.mock.calls.map(([, action]) => action)).toEqual([...['monitor.inject', 'monitor.raise']])
  })

  test('page through missing events', async () => {
    const call = await serve()
    const first = (await call('GET', '/missing-events?limit=4')).body
    expect(
      first.items.map(({ eventKey, payload }: { eventKey: string; payload: string }) => eventKey + payload)
    ).toEqual([...['AP0', 'AP1', 'AP2', 'BP0']])
    expect(first.checks).toEqual([
      { eventKey: 'A', from: '1970-01-01T00:00:00.000Z', expected: 9, missing: 3 },
      { eventKey: 'B', from: '1970-01-01T00:00:00.000Z', expected: 2, missing: 2 }
    ])
    const second = (await call('GET', `/missing-events?limit=4&cursor=${first.nextCursor}`)).body
    expect(second).toMatchObject({ items: [{ eventKey: 'B', payload: 'P1', merId: 1 }], nextCursor: null })
  })

  test('are not for a token that is bound to a merchant', async () => {
    const call = await serve({ scopes: ['viewer'], merId: 7 })
    expect(await call('GET', '/missing')).toMatchObject({ status: 403, body: { code: 'FORBIDDEN' } })
  })
})
