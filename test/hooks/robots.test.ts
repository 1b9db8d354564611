import { createHmac } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Json } from '../../runtime/model.ts'
import { engines } from '../support/databases.ts'
import { openTestShop, runHook, startPartner } from '../support/run-hook.ts'
import { addOrder } from './fixtures.ts'

type Shop = Awaited<ReturnType<typeof openTestShop>>
type Partner = Awaited<ReturnType<typeof startPartner>>

const TEXT = `return require('/lib/notify').sendText(['一行', '二行'])`
const MARKDOWN = `return require('/lib/notify').sendMarkdown('标题', '**粗** <font color="info">绿</font>')`
const withWho = (script: string, who: object) => script.replace(/\)$/, `, ${JSON.stringify(who)})`)

for (const engine of engines)
  describe.skipIf(engine.missing)(`group robots on ${engine.name}`, () => {
    let shop: Shop
    let partner: Partner
    let answer: () => { status?: number; body: unknown }

    beforeAll(async () => {
      shop = await openTestShop(engine)
    })
    afterAll(() => shop.close())
    beforeEach(async () => {
      answer = () => ({ body: { errcode: 0, code: 0 } })
      partner = await startPartner(() => answer())
    })
    afterEach(() => partner.close())

    const vendors = {
      dingtalk: () => ({ DINGTALK_WEBHOOK: `${partner.url}/robot/send?access_token=t1` }),
      wecom: () => ({ ROBOT_VENDOR: 'wecom', WECOM_WEBHOOK: `${partner.url}/cgi-bin/webhook/send?key=k1` }),
      feishu: () => ({ ROBOT_VENDOR: 'feishu', FEISHU_WEBHOOK: `${partner.url}/open-apis/bot/v2/hook/h1` })
    }
    type Vendor = keyof typeof vendors
    const run = (vendor: Vendor, script: string, env: object = {}) =>
      runHook({ shop, script, env: { ...vendors[vendor](), ...env } })
    const sent = async (vendor: Vendor, script: string, env: object = {}) => {
      expect((await run(vendor, script, env)).result).toEqual({ success: true })
      expect(partner.requests).toHaveLength(1)
      return partner.requests[0] as (typeof partner.requests)[0] & { body: Record<string, Json> }
    }
    const refused = async (vendor: Vendor, body: unknown, status = 200) => {
      answer = () => ({ status, body })
      return (await run(vendor, TEXT)).result
    }

    describe('DingTalk', () => {
      test('text and Markdown', async () => {
        expect((await sent('dingtalk', TEXT)).body).toEqual({ msgtype: 'text', text: { content: '一行\n二行' } })
        partner.requests.length = 0
        expect((await sent('dingtalk', MARKDOWN)).body).toEqual({
          msgtype: 'markdown',
          markdown: { title: '标题', text: '**粗** <font color="info">绿</font>' }
        })
      })

      test('mentions by phone, in the text too', async () => {
        const who = { mobiles: ['13800007001', 13800007002] }
        const { body } = await sent('dingtalk', withWho(TEXT, who))
        expect(body.text).toEqual({ content: '一行\n二行\n@13800007001 @13800007002' })
        expect(body.at).toEqual({ atMobiles: ['13800007001', '13800007002'], atUserIds: [], isAtAll: false })
        partner.requests.length = 0
        expect((await sent('dingtalk', withWho(MARKDOWN, { all: true }))).body.at).toMatchObject({ isAtAll: true })
      })

      test('the signature of a fixed moment', async () => {
        const { path } = await sent('dingtalk', `Date.now = () => 1577836800000; ${TEXT}`, {
          DINGTALK_SECRET: 'SECtest'
        })
        const signed = 'timestamp=1577836800000&sign=drlICLmsjUfpSZSa7%2BmhIyTLZHQVqxb4vc20sB3aqQU%3D'
        expect(path).toBe(`/robot/send?access_token=t1&${signed}`)
      })

      test.each([
        ['keywords not in content'],
        ['description:机器人发送签名不匹配;solution:请确认签名和生成签名的时间戳必须都放在调用的网址中; sign not match']
      ])('an unknown code is judged by its text: %s', async errmsg => {
        expect(await refused('dingtalk', { errcode: 1, errmsg })).toMatchObject({ success: false, retry: false })
      })
    })

    describe('WeCom', () => {
      test('text, mentioned phones, everybody', async () => {
        expect((await sent('wecom', TEXT)).body).toEqual({ msgtype: 'text', text: { content: '一行\n二行' } })
        partner.requests.length = 0
        const { body, path } = await sent('wecom', withWho(TEXT, { mobiles: ['13800007001'], all: true }))
        expect(path).toBe('/cgi-bin/webhook/send?key=k1')
        expect(body.text).toEqual({ content: '一行\n二行', mentioned_mobile_list: ['13800007001', '@all'] })
      })

      test('Markdown; with mobiles it goes as text, which can mention', async () => {
        expect((await sent('wecom', MARKDOWN)).body).toEqual({
          msgtype: 'markdown',
          markdown: { content: '### 标题\n**粗** <font color="info">绿</font>' }
        })
        partner.requests.length = 0
        expect((await sent('wecom', withWho(MARKDOWN, { mobiles: ['13800007001'] }))).body).toEqual({
          msgtype: 'text',
          text: { content: '标题\n粗 绿', mentioned_mobile_list: ['13800007001'] }
        })
      })

      test.each([
        [`return require('/lib/notify').sendText('汉'.repeat(1000))`, 'text', 2048],
        [`return require('/lib/notify').sendMarkdown('t', '😀'.repeat(2000))`, 'markdown', 4096]
      ])('%s is cut to what %s takes: %i bytes, no half characters', async (script, type, bytes) => {
        const { content } = (await sent('wecom', script)).body[type] as { content: string }
        const size = Buffer.byteLength(content)
        expect(size).toBeLessThanOrEqual(bytes)
        expect(size).toBeGreaterThan(bytes - 8)
        expect(content.endsWith('…')).toBe(true)
        expect(content.isWellFormed()).toBe(true)
      })

      test('a text of exactly the limit stays whole', async () => {
        const { text } = (await sent('wecom', `return require('/lib/notify').sendText('a'.repeat(2048))`)).body
        expect(text).toEqual({ content: 'a'.repeat(2048) })
      })

      test.each([
        [45_009, 'api freq out of limit', { success: false, retryAfterMs: 60_000 }],
        [1, 'api freq out of limit', { success: false, retryAfterMs: 60_000 }],
        [93_000, 'invalid webhook url', { success: false, retry: false }],
        [40_008, 'invalid message type', { success: false, retry: false }],
        [45_002, 'content size out of limit', { success: false, retry: false }],
        [-1, 'system busy', { success: false }],
        [99, 'who knows', { success: false }]
      ])('errcode %i (%s)', async (errcode, errmsg, verdict) => {
        const message = `WeCom ${errcode}: ${errmsg}`
        expect(await refused('wecom', { errcode, errmsg })).toEqual({ ...verdict, message })
      })
    })

    describe('Feishu', () => {
      test('text, signed like the published example', async () => {
        const script = `Date.now = () => 1599360473000; ${TEXT}`
        expect((await sent('feishu', script, { FEISHU_SECRET: 'demo' })).body).toEqual({
          timestamp: '1599360473',
          sign: 'l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8=',
          msg_type: 'text',
          content: { text: '一行\n二行' }
        })
      })

      test('signs with the time of now, in seconds', async () => {
        const { body } = await sent('feishu', TEXT, { FEISHU_SECRET: 'abc' })
        expect(Math.abs(Date.now() / 1000 - Number(body.timestamp))).toBeLessThan(60)
        expect(body.sign).toBe(createHmac('sha256', `${body.timestamp}\nabc`).update('').digest('base64'))
      })

      test('Markdown as a card; mentions by open_id where there is one', async () => {
        const env = { FEISHU_OPEN_IDS: '13800007001=ou_1, 13800007002 = ou_2' }
        const who = { mobiles: ['13800007002', '13800007003'], all: true }
        const { body } = await sent('feishu', withWho(TEXT, who), env)
        const marks = '<at user_id="ou_2"></at> @13800007003 <at user_id="all"></at>'
        expect(body.content).toEqual({ text: `一行\n二行\n${marks}` })
        partner.requests.length = 0
        expect((await sent('feishu', withWho(MARKDOWN, { mobiles: ['13800007001'] }), env)).body).toEqual({
          msg_type: 'interactive',
          card: {
            header: { title: { tag: 'plain_text', content: '标题' } },
            elements: [{ tag: 'markdown', content: '**粗** <font color="info">绿</font>\n<at id=ou_1></at>' }]
          }
        })
      })

      test.each([
        { StatusCode: 0, StatusMessage: 'success' },
        { code: 0, msg: 'success' }
      ])('takes %j for sent', async body => {
        expect(await refused('feishu', body)).toEqual({ success: true })
      })

      test.each([
        [19_021, 'sign match fail or timestamp is not within one hour from current time', { retry: false }],
        [19_022, 'Ip Not Allowed', { retry: false }],
        [19_024, 'Key Words Not Found', { retry: false }],
        [19_001, 'param invalid: incoming webhook access token invalid', { retry: false }],
        [9_499, 'Bad Request', { retry: false }],
        [9_499, 'too many request', { retryAfterMs: 60_000 }],
        [11_232, 'frequency limited psm', { retryAfterMs: 60_000 }],
        [2_200, 'internal error', {}]
      ])('code %i (%s), with HTTP 200 and with 400', async (code, msg, verdict) => {
        const expected = { success: false, ...verdict, message: `Feishu ${code}: ${msg}` }
        expect(await refused('feishu', { code, msg })).toEqual(expected)
        expect(await refused('feishu', { code, msg }, 400)).toEqual(expected)
      })
    })

    describe('whichever it is', () => {
      test.each(Object.keys(vendors) as Vendor[])(
        '%s: HTTP 429 rests a minute (DingTalk ten), 502 throws and is retried',
        async vendor => {
          const retryAfterMs = vendor === 'dingtalk' ? 600_000 : 60_000
          expect(await refused(vendor, '', 429)).toMatchObject({ success: false, retryAfterMs })
          answer = () => ({ status: 502, body: '' })
          expect((await run(vendor, TEXT)).error).toMatchObject({ code: 'HOOK_THREW' })
        }
      )

      test.each(Object.keys(vendors) as Vendor[])('%s: without an address the notices are skipped', async vendor => {
        const [key] = Object.keys(vendors[vendor]()).filter(name => name.endsWith('_WEBHOOK'))
        const { orderNo } = await addOrder(shop)
        const event = { eventKey: 'ORDER_CREATE_SUCCESS', payload: orderNo }
        const env = { ...vendors[vendor](), [String(key)]: '' }
        const { result } = await runHook({ shop, file: 'event/order-create.js', event, env })
        expect(result).toEqual({ success: true, skipped: `${key} is not set` })
      })

      test.each(Object.keys(vendors) as Vendor[])('%s: the notice of a new order arrives', async vendor => {
        const { orderNo } = await addOrder(shop)
        const event = { eventKey: 'ORDER_CREATE_SUCCESS', payload: orderNo }
        const { result } = await runHook({ shop, file: 'event/order-create.js', event, env: vendors[vendor]() })
        expect(result).toEqual({ success: true })
        expect(JSON.stringify(partner.requests[0]?.body)).toContain(`订单号:${orderNo}`)
      })

      test('an unknown robot is dead at once, by name', async () => {
        const { result } = await run('dingtalk', TEXT, { ROBOT_VENDOR: 'pigeon' })
        const message = 'ROBOT_VENDOR is "pigeon": use dingtalk, wecom or feishu'
        expect(result).toEqual({ success: false, retry: false, message })
      })
    })
  })
