import { createHash, createHmac } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Json } from '../../runtime/model.ts'
import { engines } from '../support/databases.ts'
import { openTestShop, type PartnerRequest, runHook, startPartner } from '../support/run-hook.ts'
import { addOrder, addUser } from './fixtures.ts'

type Shop = Awaited<ReturnType<typeof openTestShop>>
type Partner = Awaited<ReturnType<typeof startPartner>>
type Answer = { status?: number; body: unknown }

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')
const hmac = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text).digest()

/** What Aliyun finds wrong with a call, by its description of signature version 3; empty: nothing. */
function aliyunFault({ method, path, headers, body }: PartnerRequest, secret: string): string {
  const url = new URL(path, 'http://aliyun')
  const shape = /^ACS3-HMAC-SHA256 Credential=([^,]+),SignedHeaders=([^,]+),Signature=([0-9a-f]{64})$/
  const [, id, names = '', signature] = shape.exec(String(headers.authorization)) ?? []
  if (id !== 'key-id') return 'InvalidAccessKeyId.NotFound'
  const rfc3986 = (text: string) =>
    encodeURIComponent(text).replace(/[!'()*]/g, sign => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`)
  const query = [...url.searchParams].map(([name, value]) => `${rfc3986(name)}=${rfc3986(value)}`).sort()
  const lines = names.split(';').map(name => `${name}:${String(headers[name])}\n`)
  const hash = sha256(String(body))
  const canonical = [method, url.pathname, query.join('&'), lines.join(''), names, hash].join('\n')
  const expected = hmac(secret, `ACS3-HMAC-SHA256\n${sha256(canonical)}`).toString('hex')
  const age = Math.abs(Date.now() - Date.parse(String(headers['x-acs-date'])))
  if (hash !== headers['x-acs-content-sha256'] || expected !== signature) return 'SignatureDoesNotMatch'
  if (!/^host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version$/.test(names))
    return names
  return age > 900_000 ? 'InvalidTimeStamp.Expired' : ''
}

/** The same for Tencent Cloud's TC3. */
function tencentFault({ path, headers, body }: PartnerRequest, secret: string): string {
  const shape =
    /^TC3-HMAC-SHA256 Credential=key-id\/(\d{4}-\d\d-\d\d)\/sms\/tc3_request, SignedHeaders=([^,]+), Signature=(\w+)$/
  const [, day = '', names = '', signature] = shape.exec(String(headers.authorization)) ?? []
  const at = Number(headers['x-tc-timestamp'])
  const lines = names.split(';').map(name => `${name}:${String(headers[name]).toLowerCase()}\n`)
  const canonical = ['POST', path, '', lines.join(''), names, sha256(JSON.stringify(body))].join('\n')
  const text = `TC3-HMAC-SHA256\n${at}\n${day}/sms/tc3_request\n${sha256(canonical)}`
  const key = hmac(hmac(hmac(`TC3${secret}`, day), 'sms'), 'tc3_request')
  if (hmac(key, text).toString('hex') !== signature) return 'AuthFailure.SignatureFailure'
  if (day !== new Date(at * 1000).toISOString().slice(0, 10)) return 'AuthFailure.InvalidAuthorization'
  return Math.abs(Date.now() / 1000 - at) > 300 ? 'AuthFailure.SignatureExpire' : ''
}

let taken = 0
const later = (restMs: number) => ({ success: false, retryAfterMs: restMs, message: expect.any(String) })
const again = { success: false, message: expect.any(String) }
const dead = { success: false, retry: false, message: expect.any(String) }

for (const engine of engines)
  describe.skipIf(engine.missing)(`SMS on ${engine.name}`, () => {
    let shop: Shop
    let partner: Partner
    let answer: (request: PartnerRequest) => Answer

    beforeAll(async () => {
      shop = await openTestShop(engine)
    })
    afterAll(() => shop.close())
    beforeEach(async () => {
      partner = await startPartner(request => answer(request))
    })
    afterEach(() => partner.close())

    /** Runs the shipping hook for an event of its own, unless `more` names one. */
    const ship = async (
      env: Record<string, string>,
      more: { eventId?: string; orderNo?: string; phone?: string } = {}
    ) => {
      const { eventId: id = `sms-${++taken}` } = more
      const uid = await addUser(shop, { phone: more.phone ?? '13800007001' })
      const payload = more.orderNo ?? (await addOrder(shop, { uid })).orderNo
      const event = { id, eventKey: 'ORDER_DELIVERY_ALL', payload }
      return runHook({ shop, file: 'notify/shipping.js', event, env, hook: { transaction: 'none' } })
    }
    const records = () =>
      shop.sql<Record<string, Json>>('SELECT * FROM sms_record ORDER BY created_at DESC, message_key')
    const script = (text: string, env: Record<string, string> = {}) => runHook({ shop, script: text, env })

    describe('by Aliyun', () => {
      const env = () => ({
        SMS_VENDOR: 'aliyun',
        SMS_API_URL: partner.url,
        SMS_KEY_ID: 'key-id',
        SMS_KEY_SECRET: 'key-secret',
        SMS_SIGN_NAME: '试用(签名)',
        SMS_TEMPLATE_SHIPPED: 'SMS_42'
      })
      const refusing = (Code: string, Message = '') => {
        answer = () => ({ body: { Code, Message, RequestId: 'r' } })
        return ship(env())
      }
      beforeEach(() => {
        answer = request => {
          const fault = aliyunFault(request, 'key-secret')
          return fault
            ? { status: 400, body: { Code: fault } }
            : { body: { Code: 'OK', Message: 'OK', BizId: 'biz-1' } }
        }
      })

      test('the official vector of signature version 3', async () => {
        const { result } = await script(`
        const acs3 = require('/lib/sign/acs3')
        const query = acs3.encode({
          RegionId: 'cn-shanghai', ImageId: 'win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd'
        })
        return acs3.headers(
          { method: 'POST', host: 'ecs.cn-shanghai.aliyuncs.com', path: '/', query, body: '',
            action: 'RunInstances', version: '2014-05-26' },
          { id: 'YourAccessKeyId', secret: 'YourAccessKeySecret' },
          { date: '2023-10-26T10:22:32Z', nonce: '3156853299f313e23d1673dc12e1703d' }
        )`)
        expect(result).toMatchObject({
          Authorization:
            'ACS3-HMAC-SHA256 Credential=YourAccessKeyId,' +
            'SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version,' +
            'Signature=06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0'
        })
      })

      test("a merchant's hook sends it too, once, and the record is the merchant's", async () => {
        const uid = await addUser(shop)
        const { orderNo } = await addOrder(shop, { uid, mer_id: 7 })
        const event = { id: `sms-${++taken}`, eventKey: 'ORDER_DELIVERY_ALL', payload: orderNo, merId: 7 }
        const hook = { merId: 7, transaction: 'none' as const }
        const run = () => runHook({ shop, file: 'notify/shipping.js', event, env: env(), hook })
        expect((await run()).result).toEqual({ success: true })
        expect((await run()).result).toMatchObject({ success: true, skipped: expect.any(String) })
        expect(partner.requests).toHaveLength(1)
        expect(await records()).toContainEqual(expect.objectContaining({ mer_id: 7, status: 'sent' }))
      })

      test('sends SendSms, signed, with named parameters as JSON', async () => {
        const uid = await addUser(shop)
        const { orderNo } = await addOrder(shop, { uid, delivery_name: "顺 丰*(快)!'" })
        expect((await ship(env(), { orderNo })).result).toEqual({ success: true })
        const [request] = partner.requests
        expect(request).toMatchObject({
          method: 'POST',
          headers: { 'x-acs-action': 'SendSms', 'x-acs-version': '2017-05-25' }
        })
        const query = Object.fromEntries(new URL(request?.path ?? '', 'http://aliyun').searchParams)
        expect(query).toEqual({
          PhoneNumbers: '13800007001',
          SignName: '试用(签名)',
          TemplateCode: 'SMS_42',
          TemplateParam: JSON.stringify({ orderNo, expressName: "顺 丰*(快)!'", expressNo: 'SF0001' }),
          OutId: expect.stringMatching(/^[0-9a-f]{64}$/)
        })
        const [record] = await shop.sql('SELECT * FROM sms_record WHERE message_key = ?', [query.OutId as string])
        expect(record).toMatchObject({ phone: '13800007001', template: 'SMS_42', status: 'sent', answer: 'biz-1' })
      })

      test('a wrong secret is refused by the stand-in, and dead at once', async () => {
        const { result } = await ship({ ...env(), SMS_KEY_SECRET: 'other' })
        expect(result).toEqual({ ...dead, message: 'Aliyun SignatureDoesNotMatch: ' })
      })

      test.each([
        ['isv.BUSINESS_LIMIT_CONTROL', '触发分钟级流控Permits:1', 60_000],
        ['isv.BUSINESS_LIMIT_CONTROL', '触发小时级流控Permits:5', 3_600_000],
        ['isv.BUSINESS_LIMIT_CONTROL', '触发天级流控Permits:10', 21_600_000],
        ['isv.DAY_LIMIT_CONTROL', '', 21_600_000],
        ['Throttling.User', '', 60_000],
        ['Throttling', '', 60_000]
      ])('%s (%s) is retried after %i ms', async (code, text, restMs) => {
        expect((await refusing(code, text)).result).toEqual(later(restMs))
      })

      test.each([
        'isv.MOBILE_NUMBER_ILLEGAL',
        'isv.TEMPLATE_MISSING_PARAMETERS',
        'isv.SMS_TEMPLATE_ILLEGAL',
        'isv.SMS_SIGNATURE_SCENE_ILLEGAL',
        'isv.SMS_SIGN_ILLEGAL',
        'isv.SIGN_STATE_ILLEGAL',
        'isv.MONTH_LIMIT_CONTROL',
        'isv.OUT_OF_SERVICE',
        'isv.SMS_CONTENT_ILLEGAL',
        'isv.DENY_IP_RANGE',
        'isp.RAM_PERMISSION_DENY',
        'InvalidAccessKeyId.NotFound'
      ])('%s is dead at once', async code => {
        expect((await refusing(code, 'why')).result).toEqual({ ...dead, message: `Aliyun ${code}: why` })
        expect((await records()).some(({ answer }) => answer === `Aliyun ${code}: why`)).toBe(true)
      })

      test.each([
        'isp.SYSTEM_ERROR',
        'InvalidTimeStamp.Expired',
        'SignatureNonceUsed',
        'ServiceUnavailable',
        'Unheard.Of'
      ])('%s is retried', async code => {
        expect((await refusing(code)).result).toEqual(again)
      })

      test('an answer without a code is not repeated: nobody knows what became of it', async () => {
        answer = () => ({ body: '<html>' })
        expect((await ship(env())).result).toEqual({ ...dead, message: expect.stringContaining('is unknown') })
      })

      test('is skipped while one of its keys is missing', async () => {
        for (const key of ['SMS_KEY_ID', 'SMS_KEY_SECRET', 'SMS_SIGN_NAME']) {
          const { result } = await ship({ ...env(), [key]: '' })
          expect(result).toEqual({ success: true, skipped: `${key} is not set` })
        }
        expect(partner.requests).toHaveLength(0)
      })
    })

    describe('by Tencent Cloud', () => {
      const env = () => ({
        SMS_VENDOR: 'tencent',
        SMS_API_URL: partner.url,
        SMS_KEY_ID: 'key-id',
        SMS_KEY_SECRET: 'key-secret',
        SMS_SIGN_NAME: '试用签名',
        SMS_APP_ID: '1400006666',
        SMS_TEMPLATE_SHIPPED: '449739',
        SMS_ORDER_449739: 'expressName, expressNo,orderNo'
      })
      const said = (Code: string, Message = '') => ({
        body: { Response: { SendStatusSet: [{ SerialNo: 'serial-1', Code, Message }], RequestId: 'r' } }
      })
      beforeEach(() => {
        answer = request => {
          const fault = tencentFault(request, 'key-secret')
          return fault ? { body: { Response: { Error: { Code: fault, Message: '' } } } } : said('Ok')
        }
      })

      test('the published example of TC3', async () => {
        const { result } = await script(
          `const tc3 = require('/lib/sign/tc3')
         const body = '{"Limit": 1, "Filters": [{"Values": ["\\\\u672a\\\\u547d\\\\u540d"], "Name": "instance-name"}]}'
         const request = { service: 'cvm', host: 'cvm.tencentcloudapi.com', path: '/', body,
                           action: 'DescribeInstances', version: '2017-03-12', region: 'ap-guangzhou' }
         return tc3.headers(request, { id: env.get('STARS'), secret: env.get('STARS') }, 1551113065)`,
          { STARS: '*'.repeat(32) }
        )
        expect(result).toEqual({
          Authorization:
            `TC3-HMAC-SHA256 Credential=${'*'.repeat(32)}/2019-02-25/cvm/tc3_request, ` +
            'SignedHeaders=content-type;host;x-tc-action, ' +
            'Signature=10b1a37a7301a02ca19a647ad722d5e43b4b3cff309d421d85b46093f6ab6c4f',
          'Content-Type': 'application/json; charset=utf-8',
          'X-TC-Action': 'DescribeInstances',
          'X-TC-Version': '2017-03-12',
          'X-TC-Timestamp': '1551113065',
          'X-TC-Region': 'ap-guangzhou'
        })
      })

      test('sends SendSms, signed, with the parameters in the order of the template', async () => {
        const { orderNo } = await addOrder(shop)
        expect((await ship(env(), { orderNo })).result).toEqual({ success: true })
        expect(partner.requests[0]).toMatchObject({
          path: '/',
          headers: { 'x-tc-action': 'SendSms', 'x-tc-version': '2021-01-11', 'x-tc-region': 'ap-guangzhou' },
          body: {
            PhoneNumberSet: ['+8613800007001'],
            SmsSdkAppId: '1400006666',
            SignName: '试用签名',
            TemplateId: '449739',
            TemplateParamSet: ['试用快递', 'SF0001', orderNo],
            SessionContext: expect.stringMatching(/^[0-9a-f]{64}$/)
          }
        })
      })

      test.each([
        ['138 0000-7001', '+8613800007001'],
        ['8613800007001', '+8613800007001'],
        ['+4915112345678', '+4915112345678'],
        ['004915112345678', '+4915112345678']
      ])('writes the number %s as %s', async (phone, written) => {
        await ship(env(), { phone })
        expect(partner.requests[0]?.body).toMatchObject({ PhoneNumberSet: [written] })
      })

      test('a template whose order is not set, or names what there is not, is dead without a call', async () => {
        const { SMS_ORDER_449739: _, ...without } = env()
        const { result } = await ship(without)
        expect(result).toMatchObject({ ...dead, message: expect.stringContaining('orderNo,expressName,expressNo') })
        const wrong = await ship({ ...env(), SMS_ORDER_449739: 'orderNo,colour' })
        expect(wrong.result).toMatchObject({ ...dead, message: expect.stringContaining('colour') })
        expect(partner.requests).toHaveLength(0)
      })

      test('a template without parameters has an empty order', async () => {
        await ship({ ...env(), SMS_ORDER_449739: '' })
        expect(partner.requests[0]?.body).toMatchObject({ TemplateParamSet: [] })
      })

      test.each([
        ['LimitExceeded.PhoneNumberThirtySecondLimit', 60_000],
        ['LimitExceeded.DeliveryFrequencyLimit', 60_000],
        ['LimitExceeded.PhoneNumberOneHourLimit', 3_600_000],
        ['LimitExceeded.PhoneNumberDailyLimit', 21_600_000],
        ['LimitExceeded.PhoneNumberSameContentDailyLimit', 21_600_000]
      ])('%s is retried after %i ms', async (code, restMs) => {
        answer = () => said(code)
        expect((await ship(env())).result).toEqual(later(restMs))
      })

      test.each([
        'InvalidParameterValue.IncorrectPhoneNumber',
        'FailedOperation.TemplateIncorrectOrUnapproved',
        'FailedOperation.SignatureIncorrectOrUnapproved',
        'FailedOperation.PhoneNumberInBlacklist',
        'FailedOperation.ContainSensitiveWord',
        'FailedOperation.InsufficientBalanceInSmsPackage'
      ])('%s is dead at once', async code => {
        answer = () => said(code, 'why')
        expect((await ship(env())).result).toEqual({ ...dead, message: `Tencent ${code}: why` })
      })

      test.each([
        ['RequestLimitExceeded', later(60_000)],
        ['InternalError.Timeout', again],
        ['AuthFailure.SignatureExpire', again],
        ['AuthFailure.SecretIdNotFound', dead],
        ['UnauthorizedOperation.SmsSdkAppIdVerifyFail', dead],
        ['Unheard.Of', again]
      ])('%s for the whole call is judged by its code', async (Code, verdict) => {
        answer = () => ({ body: { Response: { Error: { Code, Message: '' }, RequestId: 'r' } } })
        expect((await ship(env())).result).toEqual(verdict)
      })

      test('a wrong secret is refused by the stand-in, and dead at once', async () => {
        expect((await ship({ ...env(), SMS_KEY_SECRET: 'other' })).result).toEqual(dead)
      })
    })

    describe('one message for one event', () => {
      const env = () => ({ SMS_API_URL: partner.url, SMS_API_KEY: 'key' })
      const before = { success: true, skipped: 'this SMS was sent before' }
      beforeEach(() => {
        answer = () => ({ body: { code: 0, data: { messageId: 'm-1' } } })
      })
      const statusOf = async (phone: string) =>
        (await shop.sql('SELECT status FROM sms_record WHERE phone = ?', [phone])).map(({ status }) => status)
      const orderFor = async (phone: string) => {
        const uid = await addUser(shop, { phone })
        return (await addOrder(shop, { uid })).orderNo
      }

      test('a repeated event, a replay too, sends nothing more', async () => {
        const orderNo = await orderFor('13900000001')
        const same = { eventId: 'once-1', orderNo }
        expect((await ship(env(), same)).result).toEqual({ success: true })
        expect((await ship(env(), same)).result).toEqual(before)
        expect(partner.requests).toHaveLength(1)
        await ship(env(), { ...same, eventId: 'once-2' })
        await ship({ ...env(), SMS_TEMPLATE_SHIPPED: 'other' }, same)
        expect(partner.requests).toHaveLength(3)
      })

      test('a message that was refused is sent by the next attempt', async () => {
        const orderNo = await orderFor('13900000002')
        answer = () => ({ status: 429, body: '' })
        expect((await ship(env(), { eventId: 'refused-1', orderNo })).result).toEqual(later(60_000))
        answer = () => ({ status: 500, body: '' })
        expect((await ship(env(), { eventId: 'refused-1', orderNo })).error).toMatchObject({ code: 'HOOK_THREW' })
        expect(await statusOf('13900000002')).toEqual(['refused'])
        answer = () => ({ body: { code: 0 } })
        expect((await ship(env(), { eventId: 'refused-1', orderNo })).result).toEqual({ success: true })
        expect(await statusOf('13900000002')).toEqual(['sent'])
      })

      test('a service that cannot be reached has sent nothing', async () => {
        const orderNo = await orderFor('13900000003')
        const gone = { ...env(), SMS_API_URL: 'http://127.0.0.1:9' }
        expect((await ship(gone, { eventId: 'gone-1', orderNo })).error).toMatchObject({ code: 'HOOK_THREW' })
        expect((await ship(env(), { eventId: 'gone-1', orderNo })).result).toEqual({ success: true })
      })

      test('an answer that got lost is never repeated', async () => {
        const server = createServer(request => request.socket.destroy()).listen(0, '127.0.0.1')
        await once(server, 'listening')
        const lost = { ...env(), SMS_API_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
        const orderNo = await orderFor('13900000004')
        const unknown = { ...dead, message: expect.stringMatching(/unknown.*sms_record/) }
        expect((await ship(lost, { eventId: 'lost-1', orderNo })).result).toEqual(unknown)
        server.close()
        await shop.sql("UPDATE sms_record SET updated_at = updated_at - 300000 WHERE phone = '13900000004'")
        expect((await ship(env(), { eventId: 'lost-1', orderNo })).result).toEqual(unknown)
        expect(partner.requests).toHaveLength(0)
        await shop.sql("DELETE FROM sms_record WHERE phone = '13900000004'")
        expect((await ship(env(), { eventId: 'lost-1', orderNo })).result).toEqual({ success: true })
      })

      test.each([502, 504])('HTTP %i leaves it unknown whether it was sent', async status => {
        answer = () => ({ status, body: '' })
        expect((await ship(env())).result).toEqual({ ...dead, message: expect.stringContaining('unknown') })
      })

      test('what a run that is gone had begun waits, then a person decides', async () => {
        const orderNo = await orderFor('13900000005')
        await ship(env(), { eventId: 'crash-1', orderNo })
        const set = (age: number) =>
          shop.sql("UPDATE sms_record SET status = 'sending', updated_at = ? WHERE phone = '13900000005'", [
            Date.now() - age
          ])
        await set(1_000)
        expect((await ship(env(), { eventId: 'crash-1', orderNo })).result).toEqual(later(300_000))
        await set(301_000)
        expect((await ship(env(), { eventId: 'crash-1', orderNo })).result).toEqual(dead)
        expect(partner.requests).toHaveLength(1)
      })

      test('eight runs at once send one message', async () => {
        const orderNo = await orderFor('13900000006')
        const runs = await Promise.all(
          Array.from({ length: 8 }, () => ship(env(), { eventId: 'at-once', orderNo }).then(({ result }) => result))
        )
        expect(partner.requests).toHaveLength(1)
        expect(runs).toContainEqual({ success: true })
        expect(await statusOf('13900000006')).toEqual(['sent'])
      })

      test('with the transaction of a run, a run that lost its writes finds the answer in the journal', async () => {
        const orderNo = await orderFor('13900000007')
        const kept: { callNo: number; fingerprint: string; answer: Json }[] = []
        const journal = {
          journal: async (_id: string, _attempt: number, entry: (typeof kept)[number]) => void kept.push(entry),
          journaled: async () => kept
        } as unknown as NonNullable<Parameters<typeof runHook>[0]['journal']>
        const event = { id: 'journal-1', eventKey: 'ORDER_DELIVERY_ALL', payload: orderNo }
        const executionId = 'sms-journal'
        const run = () => runHook({ shop, file: 'notify/shipping.js', event, env: env(), executionId, journal })
        await run()
        await shop.sql("DELETE FROM sms_record WHERE phone = '13900000007'")
        await shop.sql('DELETE FROM hook_effects WHERE execution_id = ?', [executionId])
        expect((await run()).result).toEqual({ success: true })
        expect(partner.requests).toHaveLength(1)
        expect(await statusOf('13900000007')).toEqual(['sent'])
      })

      test('codes of the plain service that no repetition can help are a setting', async () => {
        answer = () => ({ body: { code: 1002, message: 'phone is not a mobile number' } })
        const { result } = await ship({ ...env(), SMS_FINAL_CODES: '1001, 1002' })
        expect(result).toEqual({ ...dead, message: 'SMS service: 1002 phone is not a mobile number' })
      })

      test('an unknown sender is dead at once, by name', async () => {
        const { result } = await ship({ SMS_VENDOR: 'pigeon' })
        expect(result).toEqual({ ...dead, message: 'SMS_VENDOR is "pigeon": use generic, aliyun or tencent' })
      })
    })
  })
