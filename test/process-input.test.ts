import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { engines, type TestDatabase } from './support/databases.ts'
import { eventually, type SandhookProcess, startSandhookProcess } from './support/sandhook.ts'

const MAX_DATE = 8_640_000_000_000_000
const TYPE = 'application/json'
const CLOUD = 'application/cloudevents+json'

/** A body as it is sent: `raw` as it stands, anything else as JSON. */
type Sent = { raw: string | Buffer } | object | unknown[]

const event = (more: object = {}): object => ({ eventKey: 'BAD', payload: '1', ...more })
const cloud = (more: object = {}): object => ({
  ...{ specversion: '1.0', id: 'c', source: '/shop', type: 'BAD', data: '1' },
  ...more
})
const nested = (levels: number, open = '[', close = ']') => ({
  raw: `{"eventKey":"DEEP","payload":${open.repeat(levels)}1${close.repeat(levels)}}`
})
const bytes = (...before: number[]) => ({
  raw: Buffer.concat([Buffer.from('{"eventKey":"BAD","payload":"'), Buffer.from(before), Buffer.from('"}')])
})

const REFUSED: [string, Sent, number, string, string?][] = [
  ['is cut off', { raw: '{"eventKey":' }, 400, 'REQUEST_INVALID'],
  ['has something after its end', { raw: '{"eventKey":"BAD","payload":1} x' }, 400, 'REQUEST_INVALID'],
  ['is empty', { raw: '' }, 422, 'EVENT_INVALID'],
  ['is null', { raw: 'null' }, 422, 'EVENT_INVALID'],
  ['is a string', { raw: '"BAD"' }, 422, 'EVENT_INVALID'],
  ['is cut off, as a CloudEvent', { raw: '{' }, 400, 'REQUEST_INVALID', CLOUD],
  ['is of another kind', { raw: 'BAD' }, 415, 'MEDIA_TYPE_UNSUPPORTED', 'text/plain'],
  ['is not UTF-8', bytes(0xff, 0xfe, 0xc3, 0x28), 400, 'REQUEST_INVALID'],
  ['is GBK', bytes(0xb6, 0xa9, 0xb5, 0xa5), 400, 'REQUEST_INVALID'],
  ['is not UTF-8, as a CloudEvent', bytes(0xff), 400, 'REQUEST_INVALID', CLOUD],
  ['has 10 MB', event({ payload: 'x'.repeat(10_000_000) }), 413, 'BODY_TOO_LARGE'],
  ['is an empty array', [], 422, 'EVENT_INVALID'],
  ['has 1 001 events', Array.from({ length: 1001 }, () => event()), 422, 'EVENT_INVALID'],
  ['has a bad event among good ones', [event(), event({ eventKey: 1 }), event()], 422, 'EVENT_INVALID'],
  ['is an array of arrays', [[event()]], 422, 'EVENT_INVALID'],
  ['lacks its payload', { eventKey: 'BAD' }, 422, 'EVENT_INVALID'],
  ['has a field of its own', event({ priority: 1 }), 422, 'EVENT_INVALID'],
  ['has __proto__', { raw: '{"eventKey":"BAD","payload":{"__proto__":{"admin":true}}}' }, 400, 'REQUEST_INVALID'],
  ['has __proto__ at the top', { raw: '{"eventKey":"BAD","payload":1,"__proto__":{}}' }, 400, 'REQUEST_INVALID'],
  [
    'has constructor.prototype',
    { raw: '{"eventKey":"BAD","payload":{"constructor":{"prototype":{}}}}' },
    400,
    'REQUEST_INVALID'
  ],
  ['has a number for a key', event({ eventKey: 5 }), 422, 'EVENT_INVALID'],
  ['has no key', event({ eventKey: '' }), 422, 'EVENT_INVALID'],
  ['has a key of 101 characters', event({ eventKey: 'K'.repeat(101) }), 422, 'EVENT_INVALID'],
  ['has NUL in its key', event({ eventKey: 'BAD\0' }), 422, 'EVENT_INVALID'],
  ['has an id of 129 characters', event({ id: 'i'.repeat(129) }), 422, 'EVENT_INVALID'],
  ['has a lone surrogate in its id', { raw: '{"eventKey":"BAD","payload":1,"id":"\\ud800"}' }, 422, 'EVENT_INVALID'],
  ['has a blank at the end of its id', event({ id: 'x ' }), 422, 'EVENT_INVALID'],
  ['has a line break in its id', event({ id: 'a\nb' }), 422, 'EVENT_INVALID'],
  ['has a number for an id', event({ id: 1 }), 422, 'EVENT_INVALID'],
  ['has a number beyond 2^53', { raw: '{"eventKey":"BAD","payload":12345678901234567890}' }, 422, 'EVENT_INVALID'],
  [
    'has one deep inside',
    { raw: '{"eventKey":"BAD","payload":{"a":[{"no":-9007199254740993}]}}' },
    422,
    'EVENT_INVALID'
  ],
  ['has a number beyond all', { raw: '{"eventKey":"BAD","payload":{"a":1e999}}' }, 422, 'EVENT_INVALID'],
  ['has a time before 1970', event({ timestamp: -1 }), 422, 'EVENT_INVALID'],
  ['has a time in words', event({ timestamp: '2024-01-01' }), 422, 'EVENT_INVALID'],
  ['has half a millisecond', event({ timestamp: 1.5 }), 422, 'EVENT_INVALID'],
  ['has a time in microseconds', event({ timestamp: 1_700_000_000_000_000 }), 422, 'EVENT_INVALID'],
  ['has a time past all dates', event({ timestamp: MAX_DATE + 1 }), 422, 'EVENT_INVALID'],
  ['has a time past all columns', { raw: '{"eventKey":"BAD","payload":1,"timestamp":1e300}' }, 422, 'EVENT_INVALID'],
  ['has a negative merchant', event({ merId: -1 }), 422, 'EVENT_INVALID'],
  ['has half a merchant', event({ merId: 1.5 }), 422, 'EVENT_INVALID'],
  ['has no name for its merchant', event({ merId: '' }), 422, 'EVENT_INVALID'],
  ['has a merchant beyond 2^53', { raw: '{"eventKey":"BAD","payload":1,"merId":1e300}' }, 422, 'EVENT_INVALID'],
  ['is a CloudEvent of no known time', cloud({ time: 'yesterday' }), 422, 'EVENT_INVALID'],
  ['is a CloudEvent of another version', cloud({ specversion: '0.3' }), 422, 'EVENT_INVALID'],
  ['is a CloudEvent without an id', cloud({ id: undefined }), 422, 'EVENT_INVALID']
]

const ACCEPTED: [string, Sent, string?][] = [
  ['payloads of every type', [null, true, 0, -1.5, '', 'x', [], {}].map(payload => event({ payload }))],
  ['text with NUL, a lone surrogate and an emoji', { raw: '{"eventKey":"BAD","payload":"\\u0000\\ud800😀"}' }],
  ['an id in Chinese', event({ id: '订单 1😀' })],
  ['the last second of the year 9999', event({ timestamp: 253_402_300_799_999 })],
  ['4.9 MB', event({ payload: 'x'.repeat(4_900_000) })],
  ['10 000 levels of arrays', nested(10_000)],
  ['10 000 levels of objects', nested(10_000, '{"a":', '}')],
  ['a byte order mark', { raw: `\ufeff${JSON.stringify(event())}` }],
  ['a leap second', cloud({ id: 'leap', time: '2016-12-31T23:59:60Z' })],
  ['a time before 1970, as a CloudEvent', cloud({ id: 'old', time: '1960-01-01T00:00:00+08:00' })]
]

describe.each(engines)('bad input over HTTP on $name', entry => {
  describe.skipIf(entry.missing)('', () => {
    let database: TestDatabase
    let sandhook: SandhookProcess
    let good = 0

    beforeAll(async () => {
      database = await entry.make()
      const env = { DATABASE_URL: database.url, SANDHOOK_DEMO: 'off', SANDHOOK_RUNNERS: '1' }
      sandhook = await startSandhookProcess(env)
      const scripts = { GOOD: 'return payload.event.payload', DEEP: 'return payload.event.payload' }
      for (const [key, script] of Object.entries(scripts)) {
        const hook = { path: `/custom/${key.toLowerCase()}`, events: [key], script, retry: { attempts: 1 } }
        expect((await sandhook.call('POST', '/admin/v1/hooks', hook)).status).toBe(201)
      }
    })
    afterAll(async () => {
      await sandhook.end('SIGKILL')
      await database.drop()
    })

    async function post(sent: Sent, type = TYPE) {
      const response = await fetch(`${sandhook.url}/events`, {
        method: 'POST',
        headers: { authorization: `Bearer ${sandhook.token}`, 'content-type': type },
        body: 'raw' in sent ? (sent.raw as string) : JSON.stringify(sent)
      })
      // biome-ignore lint/suspicious/noExplicitAny: an answer or a problem
      return { status: response.status, body: (await response.json()) as any }
    }
    const postGood = async () => {
      const id = `good-${++good}`
      return (await post({ id, eventKey: 'GOOD', payload: id })).status
    }
    const found = async (id: string) => (await sandhook.call('GET', `/admin/v1/events/${encodeURIComponent(id)}`)).body

    test.each(REFUSED)('a body that %s is refused, with good ones around it', async (_, sent, status, code, type) => {
      const [before, refused, after] = await Promise.all([postGood(), post(sent, type), postGood()])
      expect([refused.status, refused.body.code]).toEqual([status, code])
      expect(refused.body.detail.length).toBeGreaterThan(10)
      expect([before, after]).toEqual([202, 202])
    })

    test.each(ACCEPTED)('%s: accepted, with good ones around it', async (_, sent, type) => {
      const [before, accepted, after] = await Promise.all([postGood(), post(sent, type), postGood()])
      expect([before, accepted.status, after]).toEqual([202, 202, 202])
    })

    test('an id that is twice in an array is accepted once', async () => {
      const { body } = await post([event({ id: 'twin' }), event({ id: 'twin', payload: '2' })])
      expect(body.events).toMatchObject([
        { id: 'twin', duplicate: false },
        { id: 'twin', duplicate: true }
      ])
      expect(await found('twin')).toMatchObject({ payload: '1' })
    })

    test('a merchant is the same as a number and as a string of digits', async () => {
      await post([event({ id: 'm1', merId: 7 }), event({ id: 'm2', merId: '7' }), event({ id: 'm3', merId: 'shop-a' })])
      const merIds = await Promise.all(['m1', 'm2', 'm3'].map(async id => (await found(id)).merId))
      expect(merIds).toEqual([7, 7, 'shop-a'])
    })

    test('CloudEvents come alone, in arrays and in batches, and are told apart by their source', async () => {
      expect((await post(cloud({ id: '1', subject: 's', traceparent: 'x' }), CLOUD)).status).toBe(202)
      expect((await post(cloud({ id: '2' }), `${CLOUD}; charset=utf-8`)).status).toBe(202)
      expect((await post([cloud({ id: '3' }), event()])).status).toBe(202)
      const batch = [cloud({ id: '4', merid: 7 }), cloud({ id: '4', source: '/other' })]
      const { body } = await post(batch, 'application/cloudevents-batch+json')
      expect(body.events).toMatchObject([{ duplicate: false }, { duplicate: false }])
      expect(await found('/shop#4')).toMatchObject({ eventKey: 'BAD', payload: '1', merId: 7 })
    })

    test('long sources of CloudEvents do not run together', async () => {
      const long = (host: string) => cloud({ id: '1', source: `https://${host}.example/${'x'.repeat(200)}` })
      const { body } = await post([long('a'), long('b'), long('a')])
      expect(body.events.map((one: { duplicate: boolean }) => one.duplicate)).toEqual([false, false, true])
    })

    test('afterwards every good event has been processed, and deep payloads as well', async () => {
      const counts = await eventually(async () => {
        const { body } = await sandhook.call('GET', '/admin/v1/stats')
        const { queued = 0, running = 0, retrying = 0 } = body.executions
        return queued + running + retrying === 0 && body.executions
      })
      const deep = 2
      expect(counts).toMatchObject({ succeeded: good + deep })
      expect(counts.dead ?? 0).toBe(0)
      expect(sandhook.output()).not.toContain('A request failed')
      expect((await sandhook.call('GET', '/readyz')).status).toBe(200)
    })
  })
})
