import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { makeSqlite, type TestDatabase } from '../support/databases.ts'
import { type SandhookProcess, startSandhookProcess } from '../support/sandhook.ts'
import { runs } from './runs.ts'
import { nastyText } from './values.ts'
import { sendRaw } from './wire.ts'

let database: TestDatabase
let sandhook: SandhookProcess

beforeAll(async () => {
  database = await makeSqlite()
  sandhook = await startSandhookProcess({ DATABASE_URL: database.url, SANDHOOK_DEMO: 'off', SANDHOOK_RUNNERS: '1' })
})
afterAll(async () => {
  await sandhook.end('SIGKILL')
  await database.drop()
})

const lines = (...given: string[]): string => [...given, '', ''].join('\r\n')
const HOST = 'Host: sandhook'
const HIDDEN = lines('GET /healthz HTTP/1.1', HOST)
const CHUNKED = 'Transfer-Encoding: chunked'
const post = (...headers: string[]) =>
  lines('POST /events HTTP/1.1', HOST, 'Content-Type: application/json', ...headers)

/** Requests of which two readers could disagree where they end; `HIDDEN` is what would be smuggled. */
const SMUGGLED: [string, string][] = [
  ['length and chunks', `${post('Content-Length: 4', CHUNKED)}0\r\n\r\n${HIDDEN}`],
  ['chunks and length', `${post(CHUNKED, 'Content-Length: 4')}0\r\n\r\n${HIDDEN}`],
  ['two lengths', `${post('Content-Length: 0', `Content-Length: ${HIDDEN.length}`)}${HIDDEN}`],
  ['two lengths in one', `${post(`Content-Length: 0, ${HIDDEN.length}`)}${HIDDEN}`],
  ['a length with a sign', `${post('Content-Length: +0')}${HIDDEN}`],
  ['a length below zero', `${post('Content-Length: -1')}${HIDDEN}`],
  ['a length in hex', `${post('Content-Length: 0x0')}${HIDDEN}`],
  ['a length beyond all', `${post('Content-Length: 99999999999999999999')}${HIDDEN}`],
  ['a blank before the colon', `${post('Content-Length : 0')}${HIDDEN}`],
  ['chunks with a blank before the colon', `${post('Transfer-Encoding : chunked')}0\r\n\r\n${HIDDEN}`],
  ['chunks that are not last', `${post('Transfer-Encoding: chunked, identity')}0\r\n\r\n${HIDDEN}`],
  ['chunks under another name', `${post('Transfer-Encoding: xchunked')}0\r\n\r\n${HIDDEN}`],
  ['chunks twice', `${post(CHUNKED, 'Transfer-Encoding: identity')}0\r\n\r\n${HIDDEN}`],
  ['a vertical tab in the coding', `${post('Transfer-Encoding: \x0bchunked')}0\r\n\r\n${HIDDEN}`],
  ['a folded header', `${post('X: y', ' Content-Length: 0')}${HIDDEN}`],
  ['a chunk size that overflows', `${post(CHUNKED)}fffffffffffffffff\r\n${HIDDEN}`],
  ['a chunk size with a sign', `${post(CHUNKED)}-1\r\n${HIDDEN}`],
  ['a bare line feed in a chunk extension', `${post(CHUNKED)}0;\n\r\n\r\n${HIDDEN}`],
  ['a bare line feed after a header', `POST /events HTTP/1.1\r\n${HOST}\nContent-Length: 0\r\n\r\n${HIDDEN}`],
  ['a bare carriage return in a header', `${post('X: a\rContent-Length: 0')}${HIDDEN}`],
  ['NUL in a header', `${post('X: a\0b')}${HIDDEN}`],
  ['a header without a colon', `${post('nonsense')}${HIDDEN}`],
  ['a line break in the target', `GET /a\r\nX: y HTTP/1.1\r\n${HOST}\r\n\r\n${HIDDEN}`]
]

test.each(SMUGGLED)('with %s a request ends the connection, and nothing after it is heard', async (_, bytes) => {
  const { statuses, text } = await sendRaw(sandhook.url, bytes)
  expect([statuses.length, ...statuses.filter(status => status < 400 || status >= 500)]).toEqual([1])
  expect(text.toLowerCase()).toContain('connection: close')
})

const ODD: [string, string | Buffer, number[]][] = [
  ['nothing at all', '', []],
  ['one byte', '\0', [400]],
  ['the greeting of TLS', Buffer.from('16030100a5010000a10303', 'hex'), [400]],
  ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', [400]],
  ['HTTP/0.9', 'GET /healthz\r\n\r\n', [200]],
  ['HTTP/1.0 without a host', 'GET /healthz HTTP/1.0\r\n\r\n', [200]],
  ['HTTP/9.9', lines('GET /healthz HTTP/9.9', HOST), [400]],
  ['no host', lines('GET /healthz HTTP/1.1'), [400]],
  ['an unknown method', lines('BREW /healthz HTTP/1.1', HOST), [400]],
  ['a method in small letters', lines('get /healthz HTTP/1.1', HOST), [400]],
  ['the asterisk', lines('OPTIONS * HTTP/1.1', HOST), [404]],
  ['an address without a slash', lines('GET healthz HTTP/1.1', HOST), [400]],
  ['an absolute address', lines('GET http://evil.example/healthz HTTP/1.1', HOST), [200]],
  ['a tunnel', lines('CONNECT evil.example:443 HTTP/1.1', HOST), []],
  [
    'an upgrade to a web socket',
    lines('GET /healthz HTTP/1.1', HOST, 'Connection: Upgrade', 'Upgrade: websocket'),
    [200]
  ],
  [
    'an upgrade to HTTP/2',
    lines('GET /healthz HTTP/1.1', HOST, 'Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c'),
    [200]
  ],
  ['an expectation that nobody knows', lines('GET /healthz HTTP/1.1', HOST, 'Expect: tea'), [417]],
  ['20 KB of headers', lines('GET /healthz HTTP/1.1', HOST, `X: ${'x'.repeat(20_000)}`), [431]],
  ['a target of 20 KB', lines(`GET /${'x'.repeat(20_000)} HTTP/1.1`, HOST), [431]],
  ['three requests at once', HIDDEN.repeat(3), [200, 200, 200]]
]

test.each(ODD)('%s is answered as it should be', async (_, bytes, expected) => {
  expect((await sendRaw(sandhook.url, bytes)).statuses).toEqual(expected)
})

test.each(['/docs/', '/docs/static/', '/custom/', '/'])('no way up from %s leads to a file', async folder => {
  const ups = ['..', '%2e%2e', '%2E.', '.%2e', '..%2f..', '..%5c..', '%252e%252e', '....//..', '..;', '%c0%ae%c0%ae']
  for (const up of ups)
    for (const file of ['package.json', 'etc/passwd']) {
      const target = `${folder}${`${up}/`.repeat(6)}${file}`
      const { text, statuses } = await sendRaw(sandhook.url, lines(`GET ${target} HTTP/1.1`, HOST))
      expect([target, /"dependencies"|root:/.test(text)]).toEqual([target, false])
      expect([target, statuses.every(status => status >= 400 && status < 500)]).toEqual([target, true])
    }
})

const part = fc.oneof({ weight: 3, arbitrary: fc.constant('') }, { weight: 1, arbitrary: nastyText })
const headerLine = fc.oneof(
  fc.constantFrom(HOST, CHUNKED, 'Content-Length: 5', 'Content-Length: 0', 'Content-Type: application/json'),
  fc.constantFrom(
    'Connection: close',
    'Connection: keep-alive',
    'Expect: 100-continue',
    'Upgrade: h2c',
    'Host: a, b',
    ': x'
  ),
  fc.tuple(fc.stringMatching(/^[A-Za-z-]{1,12}$/), part).map(([name, value]) => `${name}: ${value}`)
)
const harm = fc.record({
  at: fc.nat({ max: 400 }),
  remove: fc.nat({ max: 8 }),
  insert: fc.oneof(nastyText, fc.constantFrom('\r\n', '\n', '\r', '\0', ' ', '\t', ':', '\x7f', '0\r\n\r\n'))
})
/** A request that could be one, spoiled at up to three places. */
const garbled = fc
  .record({
    method: fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE', 'CONNECT', 'PRI', 'M-SEARCH', ''),
    target: fc.oneof(
      fc.constantFrom(
        '/',
        '/events',
        '/admin/v1/hooks',
        '/healthz',
        '*',
        '//x',
        'http://x/',
        '/%',
        '/a?b#c',
        '/custom/'
      ),
      nastyText
    ),
    version: fc.constantFrom('HTTP/1.1', 'HTTP/1.1', 'HTTP/1.1', 'HTTP/1.0', 'HTTP/2.0', 'HTTP/', ''),
    headers: fc.array(headerLine, { maxLength: 6 }),
    body: fc.constantFrom('', '{}', '[1,2]', '5\r\nhello\r\n0\r\n\r\n', HIDDEN, 'x'.repeat(70_000)),
    harms: fc.array(harm, { maxLength: 3 })
  })
  .map(({ method, target, version, headers, body, harms }) => {
    const whole = `${lines(`${method} ${target} ${version}`, HOST, ...headers)}${body}`
    return harms.reduce((text, { at, remove, insert }) => {
      const from = at % text.length
      return text.slice(0, from) + insert + text.slice(from + remove)
    }, whole)
  })

const TOGETHER = 8

test(
  'whatever bytes come, each connection gets refusals or is closed, and the next request is answered',
  async () => {
    const property = fc.asyncProperty(
      fc.array(garbled, { minLength: 1, maxLength: TOGETHER, size: 'max' }),
      async all => {
        const answers = await Promise.all(all.map(bytes => sendRaw(sandhook.url, bytes)))
        for (const { statuses, text } of answers)
          expect([statuses.filter(status => status >= 500), text.includes('    at ')]).toEqual([[], false])
        expect((await fetch(`${sandhook.url}/healthz`)).status).toBe(200)
      }
    )
    await fc.assert(property, { seed: runs.seed, numRuns: Math.ceil(runs.garbled / (TOGETHER / 2)) })
  },
  runs.timeoutMs
)

test('none of it was worth a word in the log, or cost the process', async () => {
  expect(sandhook.output()).not.toMatch(/A request failed|uncaught|unhandled/i)
  expect((await sandhook.call('GET', '/readyz')).status).toBe(200)
})
