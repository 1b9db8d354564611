import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Json } from '../../runtime/model.ts'
import { engines } from '../support/databases.ts'
import { openTestShop, runHook, type TestShop } from '../support/run-hook.ts'
import { addOrder } from './fixtures.ts'
import { APP, CHAIN, installQimenTables, qimenLibraries, startGateway } from './qimen-gateway.ts'

const libraries = await qimenLibraries()
const PRODUCE = 'taobao.qimen.events.produce'

describe.each(engines)('the Qimen batch hook on $name', engine => {
  let shop: TestShop
  let top: Awaited<ReturnType<typeof startGateway>>

  beforeAll(async () => {
    if (engine.missing) return
    shop = await openTestShop(engine)
    await installQimenTables(shop)
  })
  afterAll(() => shop?.close())
  beforeEach(async context => {
    context.skip(engine.missing)
    await shop.sql('DELETE FROM qimen_seller')
    await shop.sql('DELETE FROM qimen_sent')
    top = await startGateway()
  })
  afterEach(async () => {
    await top?.close()
    expect(top?.faults ?? []).toEqual([])
  })

  const run = (payload: Json, env: Record<string, string> = {}, more: Partial<Parameters<typeof runHook>[0]> = {}) =>
    runHook({
      shop,
      libraries,
      file: 'qimen/events-produce.js',
      event: { eventKey: 'QIMEN_BACKFILL', payload },
      env: {
        ...{ QIMEN_API_URL: top.url, QIMEN_APP_KEY: APP.key, QIMEN_APP_SECRET: APP.secret },
        ...{ QIMEN_SESSION: APP.session, ...env }
      },
      ...more
    })
  const orders = async (count: number, changes = {}) => {
    const numbers: string[] = []
    for (let at = 0; at < count; at++) numbers.push((await addOrder(shop, { uid: 1, ...changes })).orderNo)
    return numbers
  }
  const batches = () => top.of(PRODUCE).map(({ messages }) => JSON.parse(String(messages)) as { event: Json }[])

  test('sends one status after the other, 50 messages a call', async () => {
    const orderNos = await orders(120)
    const { result, error } = await run({ orderNos, status: 'QIMEN_ERP_CHECK', eventTime: '2026-01-01 12:00:00' })
    expect(error).toBeNull()
    expect(result).toEqual({ success: true, sent: 240, already: 0 })
    expect(batches().map(batch => batch.length)).toEqual([50, 50, 20, 50, 50, 20])
    expect(batches()[0]?.[0]).toEqual({
      event: {
        ...{ status: 'QIMEN_ERP_TRANSFER', tid: orderNos[0], create: 20240101, event_time: '2026-01-01 12:00:00' }
      }
    })
    expect([...top.told.values()]).toEqual(orderNos.map(() => CHAIN.slice(0, 2)))
    expect((await run({ orderNos, status: 'QIMEN_ERP_CHECK' })).result).toEqual({ success: true, sent: 0, already: 0 })
    expect(batches()).toHaveLength(6)
    expect(top.registered).toEqual([APP.session])
  })

  test('sends only the failed ones again, and no later status after a failed one', async () => {
    const orderNos = await orders(3)
    const [, second = ''] = orderNos
    top.refuse = (_, { tid }) => (tid === second ? { code: 0, sub_code: 'isp.service-busy' } : undefined)
    const first = await run({ orderNos, status: 'QIMEN_CP_OUT' })
    expect(first.error).toMatchObject({ code: 'HOOK_FAILED', message: expect.stringContaining('isp.service-busy') })
    expect(first.result).toMatchObject({ sent: 8, failed: [second] })
    expect(top.told.has(second)).toBe(false)
    top.refuse = () => undefined
    const before = batches().length
    expect((await run({ orderNos, status: 'QIMEN_CP_OUT' })).result).toEqual({ success: true, sent: 4, already: 0 })
    expect(batches().slice(before).flat()).toHaveLength(4)
    expect(top.told.get(second)).toEqual(CHAIN)
  })

  test('takes what has flowed back before for success', async () => {
    const [orderNo = ''] = await orders(1)
    top.told.set(orderNo, CHAIN.slice(0, 3))
    expect((await run({ orderNos: [orderNo], status: 'QIMEN_CP_OUT' })).result).toEqual({
      ...{ success: true, sent: 1, already: 3 }
    })
  })

  test.each([
    ['isv.invalid-message-field: unmatch-topic-meta-info', '参考消息的定义修改参数'],
    ['isv.topic-limitation: pub', '在页面中订阅相应的消息'],
    ['isv.ivalid-message-content: error-json-format', '修改content为正确的json串'],
    ['isv.invalid-param: topic-empty', '输入正确的topic'],
    ['isv.invalid-paramter', 'isv.invalid-paramter']
  ])('buries the event when all that is left was refused with %s', async (sub_code, words) => {
    const orderNos = await orders(2)
    top.refuse = (_, { tid }) => (tid === orderNos[1] ? { code: 0, sub_code } : undefined)
    const { error, result } = await run({ orderNos, status: 'QIMEN_ERP_TRANSFER' })
    expect(error).toMatchObject({ code: 'HOOK_REJECTED', message: expect.stringContaining(words) })
    expect(result).toMatchObject({ sent: 1, failed: [orderNos[1]] })
  })

  test('names an order that is not there, and tells the others', async () => {
    const [orderNo = ''] = await orders(1)
    const { error } = await run({ orderNos: [orderNo, 'T-none', orderNo], status: 'QIMEN_CP_OUT' })
    expect(error).toMatchObject({ code: 'HOOK_REJECTED', message: expect.stringContaining('T-none') })
    expect(top.told.get(orderNo)).toEqual(CHAIN)
  })

  test.each([
    ['the whole call', { body: { error_response: { code: 7, msg: 'App Call Limited' } } }, 'HOOK_FAILED', 60_000],
    ['a wrong session', { body: { error_response: { code: 27, msg: 'Invalid Session' } } }, 'HOOK_REJECTED', undefined],
    ['too few results', { body: answerOf({ is_all_success: false, results: {} }) }, 'HOOK_FAILED', undefined],
    ['no JSON', { status: 503, body: 'busy' }, 'HOOK_FAILED', undefined]
  ])('notes nothing when Qimen refuses %s', async (_, answer, code, wait) => {
    top.reply = ({ method }) => (method === PRODUCE ? answer : undefined)
    const { error, result } = await run({ orderNos: await orders(2), status: 'QIMEN_CP_OUT' })
    expect(error).toMatchObject({ code })
    expect((result as { retryAfterMs?: number }).retryAfterMs).toBe(wait)
    expect(await shop.sql('SELECT 1 FROM qimen_sent')).toEqual([])
    expect(batches()).toHaveLength(1)
  })

  test('believes is_all_success without results, as text too', async () => {
    top.reply = ({ method }) => (method === PRODUCE ? { body: answerOf({ is_all_success: 'true' }) } : undefined)
    const { result } = await run({ orderNos: await orders(2), status: 'QIMEN_ERP_TRANSFER' })
    expect(result).toEqual({ success: true, sent: 2, already: 0 })
  })

  test('makes a call for each seller with its own session', async () => {
    const orderNos = [...(await orders(2, { mer_id: 1 })), ...(await orders(1, { mer_id: 2 }))]
    const QIMEN_SELLERS = '{"2":{"nick":"seller_002","platform":"JD","session":"session-2"}}'
    expect((await run({ orderNos, status: 'QIMEN_ERP_TRANSFER' }, { QIMEN_SELLERS })).error).toBeNull()
    expect(batches().map(batch => batch.length)).toEqual([2, 1])
    expect(top.registered).toEqual([APP.session, 'session-2'])
    expect(batches()[1]?.[0]?.event).toMatchObject({ nick: 'seller_002', platform: 'JD' })
  })

  test('tells a tid that two orders share once', async () => {
    const orderNos = await orders(2, { delivery_id: '778' })
    const { result } = await run({ orderNos, status: 'QIMEN_CP_OUT' }, { QIMEN_COLUMNS: '{"tid":"delivery_id"}' })
    expect(result).toEqual({ success: true, sent: 4, already: 0 })
    expect(top.told).toEqual(new Map([['778', CHAIN]]))
  })

  test('stays within the calls of one run, and goes on in the next', async () => {
    const orderNos: string[] = []
    for (let merId = 101; merId <= 130; merId++) orderNos.push(...(await orders(1, { mer_id: merId })))
    const sellers = Array.from({ length: 30 }, (_, at) => [at + 101, { session: `session-${at + 101}` }])
    const env = { QIMEN_SELLERS: JSON.stringify(Object.fromEntries(sellers)) }
    const first = await run({ orderNos, status: 'QIMEN_ERP_CHECK' }, env)
    expect(first.error).toMatchObject({ code: 'HOOK_FAILED', message: expect.stringContaining('next run') })
    expect(top.calls.length).toBeLessThanOrEqual(50)
    expect((await run({ orderNos, status: 'QIMEN_ERP_CHECK' }, env)).error).toMatchObject({ code: 'HOOK_FAILED' })
    expect((await run({ orderNos, status: 'QIMEN_ERP_CHECK' }, env)).error).toBeNull()
    expect([...top.told.values()]).toEqual(orderNos.map(() => CHAIN.slice(0, 2)))
  })

  test('takes 500 orders in one run', async () => {
    const orderNos = await orders(500)
    expect((await run({ orderNos, status: 'QIMEN_CP_OUT' })).result).toEqual({ success: true, sent: 2000, already: 0 })
    expect(top.told.size).toBe(500)
  })

  test('answers a call over HTTP', async () => {
    const orderNos = await orders(1)
    const body = { orderNos, status: 'QIMEN_ERP_TRANSFER' }
    const asked = { method: 'POST', path: '/custom/qimen/events-produce', query: {}, headers: {}, body }
    const request = { request: asked, globals: { path: {}, param: {}, body, header: {} } }
    const { result } = await run(null, {}, { request })
    expect(result).toEqual({ success: true, sent: 1, already: 0 })
  })

  test.each([
    ['no list', { orderNos: 'A1', status: 'QIMEN_CP_OUT' }, 'orderNos'],
    ['nothing', null, 'orderNos'],
    ['an empty list', { orderNos: [], status: 'QIMEN_CP_OUT' }, 'orderNos'],
    ['too many', { orderNos: Array.from({ length: 501 }, (_, at) => `A${at}`), status: 'QIMEN_CP_OUT' }, '500'],
    ['an unknown status', { orderNos: ['A1'], status: 'QIMEN_CP_IN' }, 'QIMEN_ERP_TRANSFER'],
    ['a time of another form', { orderNos: ['A1'], status: 'QIMEN_CP_OUT', eventTime: '2026-01-01' }, 'eventTime']
  ])('buries at once, without a call: %s', async (_, payload, words) => {
    const { error } = await run(payload as Json)
    expect(error).toMatchObject({ code: 'HOOK_REJECTED', message: expect.stringContaining(words) })
    expect(top.calls).toEqual([])
  })

  test('does nothing without an app', async () => {
    const { result } = await run({ orderNos: ['A1'], status: 'QIMEN_CP_OUT' }, { QIMEN_APP_KEY: '' })
    expect(result).toEqual({ success: true, skipped: 'QIMEN_APP_KEY is not set' })
  })
})

function answerOf(data: object) {
  return { qimen_events_produce_response: data }
}
