import { readFile } from 'node:fs/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { engines } from '../support/databases.ts'
import { openTestShop, runHook, type TestShop } from '../support/run-hook.ts'
import { addLines, addOrder } from './fixtures.ts'
import { APP, CHAIN, installQimenTables, qimenLibraries, startGateway, type TopError } from './qimen-gateway.ts'

const libraries = await qimenLibraries()
const hook = await readFile(new URL('../../hooks/qimen/event-produce.js', import.meta.url), 'utf8')

const EVENTS = ['ORDER_PAY_SUCCESS', 'ORDER_AUDITED', 'ORDER_STOCKED', 'ORDER_DELIVERY_ALL']
const [PAID = '', AUDITED = '', STOCKED = '', SHIPPED = ''] = EVENTS
const ADD = 'taobao.qimen.trade.user.add'
const PRODUCE = 'taobao.qimen.event.produce'

describe.each(engines)('the Qimen event hook on $name', engine => {
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

  const run = (eventKey: string, orderNo: string, env: Record<string, string> = {}, attempt = 1) =>
    runHook({
      shop,
      libraries,
      script: attempt === 1 ? hook : `payload.event.attempt = ${attempt}\n${hook}`,
      event: { eventKey, payload: orderNo },
      env: {
        ...{ QIMEN_API_URL: top.url, QIMEN_APP_KEY: APP.key, QIMEN_APP_SECRET: APP.secret },
        ...{ QIMEN_SESSION: APP.session, ...env }
      }
    })
  const order = async (changes: Parameters<typeof addOrder>[1] = {}) => {
    const { orderNo } = await addOrder(shop, { mark: '轻放 ERP:ERP-7', ...changes })
    await addLines(shop, orderNo)
    return orderNo
  }
  const ledger = async (tid: string) =>
    (await shop.sql<{ status: string }>('SELECT status FROM qimen_sent WHERE tid = ?', [tid])).map(row => row.status)
  const lineIds = async (orderNo: string) =>
    (await shop.sql('SELECT id FROM eb_store_order_info WHERE order_no = ? ORDER BY id', [orderNo]))
      .map(row => row.id)
      .join(',')

  test('tells the status of each event, in order, with all parameters', async () => {
    const orderNo = await order({ create_time: '2026-03-09 23:30:00' })
    const env = { QIMEN_NICK: '示例旗舰店', QIMEN_PLATFORM: 'JD', QIMEN_EXT: '{ "rdsName": "123wdx1" }' }
    for (const eventKey of EVENTS) expect((await run(eventKey, orderNo, env)).error).toBeNull()
    expect(top.of(ADD)).toEqual([{ memo: '示例旗舰店' }])
    expect(top.of(PRODUCE)).toEqual(
      CHAIN.map(status => ({
        ...{
          status,
          tid: orderNo,
          platform: 'JD',
          nick: '示例旗舰店',
          create: '20260309',
          ext: '{"rdsName":"123wdx1"}'
        },
        ...{ erp_order_id: 'ERP-7', event_time: '2024-01-01 08:00:00' }, // 1704067200000 on the clock of China
        taobao_sub_order_ids: expect.stringMatching(/^\d+,\d+$/)
      }))
    )
    expect(top.of(PRODUCE)[0]?.taobao_sub_order_ids).toBe(await lineIds(orderNo))
    expect(await ledger(orderNo)).toEqual(expect.arrayContaining(CHAIN))
  })

  test.each(['md5', 'hmac', 'hmac-sha256'])('signs with %s', async method => {
    const result = await run(PAID, await order(), { QIMEN_SIGN_METHOD: method })
    expect(result.result).toEqual({ success: true, sent: ['QIMEN_ERP_TRANSFER'] })
  })

  test('leaves optional parameters away that have no value', async () => {
    const { orderNo } = await addOrder(shop)
    await run(PAID, orderNo)
    expect(top.of(PRODUCE)).toEqual([
      { status: 'QIMEN_ERP_TRANSFER', tid: orderNo, create: '20240101', event_time: '2024-01-01 08:00:00' }
    ])
  })

  test('sends what was never sent before a later status, and nothing of it when its event comes late', async () => {
    const orderNo = await order()
    await run(PAID, orderNo)
    const shipped = await run(SHIPPED, orderNo)
    expect(shipped.result).toEqual({ success: true, sent: CHAIN.slice(1) })
    for (const late of [AUDITED, STOCKED, SHIPPED, PAID])
      expect((await run(late, orderNo)).result).toEqual({ success: true, duplicate: true })
    expect(top.told.get(orderNo)).toEqual(CHAIN)
    expect(top.of(PRODUCE)).toHaveLength(4)
  })

  test('follows another map of events, in its order, and skips events that are not in it', async () => {
    const orderNo = await order()
    const env = { QIMEN_STATUSES: '{"ORDER_AUDITED":"QIMEN_ERP_TRANSFER","ORDER_DELIVERY_PART":"QIMEN_ERP_CHECK"}' }
    expect((await run('ORDER_DELIVERY_PART', orderNo, env)).result).toEqual({ success: true, sent: CHAIN.slice(0, 2) })
    expect((await run(PAID, orderNo, env)).result).toMatchObject({ skipped: expect.stringContaining(PAID) })
    expect((await run('constructor', orderNo, env)).result).toMatchObject({
      success: true,
      skipped: expect.any(String)
    })
  })

  test('keeps what went well, and goes on there after a failure', async () => {
    const orderNo = await order()
    top.refuse = (_, { status }) =>
      status === 'QIMEN_CP_NOTIFY' ? { code: 15, sub_code: 'isp.remote-service-timeout' } : undefined
    const first = await run(SHIPPED, orderNo)
    expect(first.error).toMatchObject({ code: 'HOOK_FAILED', message: expect.stringContaining('isp.remote') })
    expect(await ledger(orderNo)).toHaveLength(2)
    top.refuse = () => undefined
    expect((await run(SHIPPED, orderNo)).result).toEqual({ success: true, sent: CHAIN.slice(2) })
    expect(top.told.get(orderNo)).toEqual(CHAIN)
    expect(new Set(top.calls.map(call => call.idempotencyKey)).size).toBe(5)
  })

  test('takes a status that has flowed back before for success', async () => {
    const orderNo = await order()
    top.told.set(orderNo, CHAIN.slice(0, 2))
    expect((await run(STOCKED, orderNo)).result).toEqual({ success: true, sent: CHAIN.slice(0, 3) })
    const rows = await shop.sql('SELECT status, already FROM qimen_sent WHERE tid = ? AND already = 1', [orderNo])
    expect(rows).toHaveLength(2)
  })

  test('takes is_success as text for success', async () => {
    const body = { qimen_event_produce_response: { is_success: 'true' } }
    top.reply = ({ method }) => (method === PRODUCE ? { body } : undefined)
    expect((await run(PAID, await order())).result).toMatchObject({ success: true })
  })

  test.each([
    ['{"is_success":false}', { body: { qimen_event_produce_response: { is_success: false } } }],
    ['no JSON', { body: '<html>busy</html>' }],
    ['nothing', { body: '' }],
    ['HTTP 502', { status: 502, body: { qimen_event_produce_response: { is_success: true } } }]
  ])('repeats after the answer %s', async (_, body) => {
    top.reply = ({ method }) => (method === PRODUCE ? body : undefined)
    const orderNo = await order()
    expect((await run(PAID, orderNo)).error).toMatchObject({ code: 'HOOK_FAILED' })
    expect(await ledger(orderNo)).toEqual([])
  })

  test('repeats when the gateway cannot be reached', async () => {
    const { error } = await run(PAID, await order(), { QIMEN_API_URL: 'http://127.0.0.1:9/router/rest' })
    expect(error).toMatchObject({ code: 'HOOK_FAILED' })
  })

  const isv = (sub_code: string): TopError => ({ code: 50, sub_code })
  test.each<[string, TopError, string]>([
    ['fields', isv('isv.invalid-message-field: unmatch-topic-meta-info'), '参考消息的定义修改参数'],
    ['permission', isv('isv.topic-limitation: pub'), '在页面中订阅相应的消息'],
    ['JSON, as misspelt', isv('isv.ivalid-message-content: error-json-format'), '修改content为正确的json串'],
    ['JSON, spelt right', isv('isv.invalid-message-content:error-json-format'), '修改content为正确的json串'],
    ['topic', isv('isv.invalid-param: topic-empty'), '输入正确的topic'],
    ['topic in sub_msg', { ...isv('isv.invalid-param'), sub_msg: 'topic-empty' }, '输入正确的topic'],
    ['the sample', { ...isv('isv.invalid-parameter'), sub_msg: '非法参数' }, '非法参数'],
    ['a wrong session', { code: 27, msg: 'Invalid Session', sub_code: 'invalid-sessionkey' }, 'QIMEN_SESSION'],
    ['no permission', { code: 11, sub_code: 'isv.permission-api-package-limit' }, 'permission'],
    ['a wrong app key', { code: 29, msg: 'Invalid App Key' }, 'QIMEN_APP_KEY']
  ])('buries at once, with meaning and remedy: %s', async (_, error, words) => {
    top.refuse = (method, { status }) => (method === PRODUCE && status === 'QIMEN_ERP_CHECK' ? error : undefined)
    const orderNo = await order()
    const report = await run(SHIPPED, orderNo)
    expect(report.error).toMatchObject({ code: 'HOOK_REJECTED', message: expect.stringContaining(words) })
    expect(report.error?.message).toContain(error.sub_code ?? error.msg)
    expect(report.error?.message).toContain(`QIMEN_ERP_CHECK of ${orderNo}`)
    expect(await ledger(orderNo)).toEqual(['QIMEN_ERP_TRANSFER'])
    expect(top.told.get(orderNo)).toEqual(['QIMEN_ERP_TRANSFER'])
  })

  test.each<[string, TopError, number | undefined]>([
    ['a fault of Qimen', { code: 15, sub_code: 'isp.top-remote-connection-timeout' }, undefined],
    ['a service that is down', { code: 10, msg: 'Service Currently Unavailable' }, undefined],
    ['a fault of Qimen under a code of the gateway', { code: 41, sub_code: 'isp.unknown-error' }, undefined],
    ['a code that nobody knows', { code: 999, msg: 'new' }, undefined],
    ['too many calls', { code: 7, msg: 'App Call Limited', sub_msg: 'This ban will last for 2 more seconds' }, 60_000],
    [
      'a longer ban',
      { code: 7, sub_code: 'accesscontrol.limited-by-app-access-count', sub_msg: '300 more seconds' },
      300_000
    ]
  ])('repeats after %s', async (_, error, wait) => {
    top.refuse = method => (method === PRODUCE ? error : undefined)
    const report = await run(PAID, await order())
    expect(report.error).toMatchObject({ code: 'HOOK_FAILED' })
    expect((report.result as { retryAfterMs?: number }).retryAfterMs).toBe(wait)
  })

  test('says what to do about a wrong secret', async () => {
    const { error } = await run(PAID, await order(), { QIMEN_APP_SECRET: 'other' })
    expect(error).toMatchObject({ code: 'HOOK_REJECTED', message: expect.stringContaining('QIMEN_APP_SECRET') })
  })

  test('reads the reason from sub_msg as well', async () => {
    const orderNo = await order()
    top.refuse = method =>
      method === PRODUCE
        ? { code: 15, sub_code: 'isv.invalid-param', sub_msg: 'status has already backflow' }
        : undefined
    expect((await run(PAID, orderNo)).result).toMatchObject({ success: true })
    expect(await ledger(orderNo)).toEqual(['QIMEN_ERP_TRANSFER'])
  })

  test('registers each seller once, also when many orders come at once', async () => {
    const sellers = JSON.stringify({
      1: { nick: 'seller_001', platform: 'MAIN', session: 'session-2' },
      2: { session: 'session-3' }
    })
    const env = { QIMEN_SELLERS: sellers }
    const orders = await Promise.all([1, 1, 1, 2, 2, 3, 3].map(mer_id => order({ mer_id })))
    const runs = await Promise.all(orders.map(orderNo => run(PAID, orderNo, env)))
    expect(runs.map(({ error }) => error)).toEqual(orders.map(() => null))
    expect(top.registered.sort()).toEqual(['session-1', 'session-2', 'session-3'])
    expect(top.of(ADD)).toHaveLength(3)
    const nicks = await shop.sql('SELECT nick FROM qimen_seller ORDER BY nick')
    expect(nicks.map(row => row.nick)).toEqual(['', 'merchant 2', 'seller_001'])
  })

  test('does not send before the seller is registered, and tries that again', async () => {
    const orderNo = await order()
    top.refuse = method => (method === ADD ? { code: 15, sub_code: 'isp.unknown-error' } : undefined)
    expect((await run(PAID, orderNo)).error).toMatchObject({ code: 'HOOK_FAILED' })
    expect(top.of(PRODUCE)).toEqual([])
    top.refuse = () => undefined
    expect((await run(PAID, orderNo)).error).toBeNull()
    expect(top.of(ADD)).toHaveLength(2)
  })

  test('sends nothing about ERP number and sub orders of a merged or split order', async () => {
    const merged = await order({ delivery_id: '9007199254740993001, 9007199254740993002' })
    const split = [await order({ delivery_id: '777' }), await order({ delivery_id: '777' })]
    const env = { QIMEN_COLUMNS: '{"tid":"delivery_id"}' }
    await run(PAID, merged, env)
    for (const orderNo of split) await run(PAID, orderNo, env)
    const common = { status: 'QIMEN_ERP_TRANSFER', create: '20240101', event_time: '2024-01-01 08:00:00' }
    expect(top.of(PRODUCE)).toEqual([
      { ...common, tid: '9007199254740993001' },
      { ...common, tid: '9007199254740993002' },
      { ...common, tid: '777' }
    ])
    await run(PAID, await order({ refund_status: 1 }), { QIMEN_COLUMNS: '{"split_merge":"refund_status"}' })
    expect(top.of(PRODUCE).at(-1)).not.toHaveProperty('erp_order_id')
  })

  test('reads parameters from the columns that are named', async () => {
    const orderNo = await order({ delivery_name: 'N-9', pay_type: 'YHD', delivery_id: 'shop 9' })
    const columns = { erp_order_id: 'delivery_name', platform: 'pay_type', nick: 'delivery_id', create: 'pay_time' }
    const QIMEN_COLUMNS = JSON.stringify({ ...columns, taobao_sub_order_ids: 'product_id' })
    await run(PAID, orderNo, { QIMEN_COLUMNS })
    expect(top.of(PRODUCE)[0]).toMatchObject({
      ...{ erp_order_id: 'N-9', platform: 'YHD', nick: 'shop 9', create: '20240101', taobao_sub_order_ids: '11,12' }
    })
  })

  test('waits for the ERP number where there is an ERP, and then goes without', async () => {
    const orderNo = await order({ mark: null })
    const env = { ERP_API_URL: 'http://127.0.0.1:9' }
    expect((await run(PAID, orderNo, env, 3)).error).toMatchObject({ code: 'HOOK_FAILED' })
    expect(top.calls).toEqual([])
    expect((await run(PAID, orderNo, env, 4)).error).toBeNull()
    expect(top.of(PRODUCE)[0]).not.toHaveProperty('erp_order_id')
  })

  test.each([
    ['a nick without platform', { QIMEN_NICK: 'seller_001' }, 'QIMEN_PLATFORM'],
    ['an unknown platform', { QIMEN_PLATFORM: 'XX' }, 'MAIN, JD'],
    ['ext that is no JSON, as in the document', { QIMEN_EXT: '{"rdsName","123wdx1"}' }, 'QIMEN_EXT'],
    ['statuses that are a list', { QIMEN_STATUSES: '["QIMEN_CP_OUT"]' }, 'QIMEN_STATUSES'],
    ['a status without name', { QIMEN_STATUSES: '{"ORDER_PAY_SUCCESS":1}' }, 'QIMEN_STATUSES'],
    ['a column that is not there', { QIMEN_COLUMNS: '{"tid":"tb_tid"}' }, 'tb_tid'],
    ['SQL for a column', { QIMEN_COLUMNS: '{"tid":"id FROM t --"}' }, 'QIMEN_COLUMNS.tid'],
    ['a parameter that has no column', { QIMEN_COLUMNS: '{"sign":"mark"}' }, 'QIMEN_COLUMNS has sign']
  ])('buries at once, without a call: %s', async (_, env, words) => {
    const { error } = await run(PAID, await order(), env as never)
    expect(error).toMatchObject({ code: 'HOOK_REJECTED', message: expect.stringContaining(words) })
    expect(top.calls).toEqual([])
  })

  test.each(['QIMEN_APP_KEY', 'QIMEN_APP_SECRET', 'QIMEN_SESSION'])('does nothing without %s', async key => {
    const { result, error } = await run(PAID, await order(), { [key]: '' })
    expect(error).toBeNull()
    expect(result).toEqual({ success: true, skipped: `${key} is not set` })
    expect(top.calls).toEqual([])
  })

  test('is retried while the order is not in the database', async () => {
    expect((await run(PAID, 'T-none')).result).toEqual({
      success: false,
      message: 'order T-none is not in the database'
    })
  })
})
