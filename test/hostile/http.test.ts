import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { isIP } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { createAddressGuard } from '../../runtime/host/address-guard.ts'
import { createHttpClient, type Resolve } from '../../runtime/host/http-client.ts'
import { engines } from '../support/databases.ts'
import { type HookRun, type HookRunResult, openTestShop, runHook, type TestShop } from '../support/run-hook.ts'
import { FORBIDDEN_IPV4, FORBIDDEN_IPV6, formsOf, LYING_NAMES } from './addresses.ts'
import { type Outside, startOutside } from './outside.ts'

/** A certificate that nobody trusts; null where there is no openssl. */
function selfSigned(): { key: string; cert: string } | null {
  const folder = mkdtempSync(join(tmpdir(), 'sandhook-hostile-'))
  try {
    const names = ['-subj', '/CN=srv.test', '-addext', 'subjectAltName=DNS:srv.test']
    const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
    const files = ['-keyout', join(folder, 'key.pem'), '-out', join(folder, 'cert.pem')]
    execFileSync('openssl', ['req', ...kind, ...names, ...files], { stdio: 'ignore' })
    return { key: readFileSync(join(folder, 'key.pem'), 'utf8'), cert: readFileSync(join(folder, 'cert.pem'), 'utf8') }
  } catch {
    return null
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const [sqlite] = engines
const tls = selfSigned()
let shop: TestShop
let outside: Outside

beforeAll(async () => {
  shop = await openTestShop(sqlite as (typeof engines)[number])
  outside = await startOutside(tls)
})
afterAll(async () => {
  await shop.close()
  await outside.close()
})
afterEach(() => void outside.requests.splice(0))

/** `rebind.test` is public when it is asked first, and this machine ever after. */
function openResolver(): Resolve {
  let asked = 0
  return async name => {
    const known = LYING_NAMES[name.replace(/\.$/, '')]
    if (known) return known.map(address => ({ address, family: isIP(address) || 4 }))
    if (name === 'srv.test') return [{ address: '127.0.0.1', family: 4 }]
    if (name === 'rebind.test') return [{ address: asked++ === 0 ? '127.0.0.3' : '127.0.0.1', family: 4 }]
    throw Object.assign(new Error(`getaddrinfo ENOTFOUND ${name}`), { code: 'ENOTFOUND' })
  }
}

/** Runs a script as a hook that may reach the partner, and 127.0.0.3 in place of the public internet. */
function run(script: string, more: Partial<HookRun> = {}): Promise<HookRunResult> {
  const guard = createAddressGuard(['srv.test', '127.0.0.3'])
  const text = `const event = payload.event;${script.replaceAll('__SRV__', `http://${outside.host}`)}`
  const http = createHttpClient({ guard, resolve: openResolver() })
  return runHook({ shop, script: text, http, ...more })
}

/** What becomes of each address when a script calls it: `reached`, or the error's code. */
async function tryAll(urls: string[]): Promise<{ url: string; code: string }[]> {
  const script = `return payload.event.payload.map(url => {
    try { http.get(url, { timeout: 3000 }); return { url, code: 'reached' } } catch (e) { return { url, code: e.code } }
  })`
  const event = { eventKey: 'TEST', payload: urls }
  const { result, error } = await run(script, { event, hook: { limits: { httpCalls: 10_000, cpuMs: 10_000 } } })
  expect(error).toBeNull()
  return result as { url: string; code: string }[]
}

const notDenied = (results: { url: string; code: string }[]) => results.filter(({ code }) => code !== 'HTTP_DENIED')

/** The run failed, by this code of the call's error. */
function expectCode({ error }: HookRunResult, code: string, message: RegExp = /./): void {
  expect(error?.message).toMatch(message)
  expect(`${error?.code} ${error?.message}`).toContain(code)
}

describe('addresses that are not public (http-ssrf)', () => {
  const CORPUS = [
    ['ssrf-01', `await http.get("http://127.0.0.1:3306/");return 'reached';`],
    ['ssrf-02', `await http.get("http://localhost:15672/api/overview");return 'reached';`],
    ['ssrf-05', `await http.get("http://2130706433/");return 'reached';`],
    ['ssrf-06', `await http.get("http://0x7f000001/");return 'reached';`],
    ['ssrf-09', `await http.get("http://[::1]/");return 'reached';`],
    ['ssrf-10', `await http.get("http://[::]/");return 'reached';`],
    ['ssrf-12', `await http.get("http://[::127.0.0.1]/");return 'reached';`],
    ['ssrf-13', `await http.get("http://[64:ff9b::a9fe:a9fe]/");return 'reached';`],
    ['ssrf-14', `await http.get("http://[2002:7f00:1::]/");return 'reached';`],
    ['ssrf-17', `await http.get("http://169.254.169.254/latest/meta-data/iam/");return 'reached';`],
    ['ssrf-18', `await http.get("http://0xA9FEA9FE/");return 'reached';`],
    ['ssrf-19', `await http.get("http://metadata.google.internal/computeMetadata/v1/");return 'reached';`],
    ['ssrf-21', `await http.get("http://172.31.255.255/");return 'reached';`],
    ['ssrf-22', `await http.get("http://192.168.1.1/");return 'reached';`],
    ['ssrf-23', `await http.get("http://100.64.0.1/");return 'reached';`],
    ['ssrf-24', `await http.get("http://198.18.0.1/");return 'reached';`],
    ['ssrf-28', `await http.get("http://allowed.example@127.0.0.1/");return 'reached';`],
    ['ssrf-31', `await http.get("http://169.254.169.254.nip.io/");return 'reached';`],
    ['ssrf-33', `await http.get("http://mixed.test/");return 'reached';`],
    ['ssrf-34', `await http.get("http://cname-to-localhost.test/");return 'reached';`],
    ['ssrf-35', `await http.get('__SRV__/redirect?to=http://169.254.169.254/');return 'read';`],
    [
      'ssrf-36',
      `await http.get('__SRV__/redirect?to=http://localhost:15672/&code=307',{method:'POST',headers:{authorization:'Bearer s'},body:'x'});return 'read';`
    ],
    ['ssrf-40', `await http.get('http://93.184.215.14:22/');return 'read';`]
  ]
  test.each(CORPUS)('%s is refused', async (_id, script) => {
    const before = outside.reached()
    expectCode(await run(script), 'HTTP_DENIED')
    expect(outside.reached()).toBe(before)
  })

  test('ssrf-30: a backslash ends the host, so the address behind it is only a path', async () => {
    const { error } = await run(`await http.get("http://allowed.example\\\\@127.0.0.1/");return 'reached';`)
    expect(error?.message).toMatch(/allowed\.example: its name cannot be resolved/)
    expect(outside.reached()).toBe(0)
  })

  test('every spelling of every forbidden IPv4 address is refused, and none of IPv6 is reached', async () => {
    const hosts = [...FORBIDDEN_IPV4.flatMap(formsOf), ...FORBIDDEN_IPV6.map(address => `[${address}]`)]
    const urls = hosts.map(host => `http://${host}:${outside.canaryPort}/`)
    expect(urls.length).toBeGreaterThan(700)
    expect(notDenied(await tryAll(urls))).toEqual([])
    expect(outside.reached()).toBe(0)
  })

  test('names that resolve to them are refused, with a dot at the end, in capitals, and on https too', async () => {
    const names = [...Object.keys(LYING_NAMES), ...FORBIDDEN_IPV4.slice(0, 3).map(address => `${address}.nip.io`)]
    const urls = Object.keys(LYING_NAMES).flatMap(name => [
      ...[`http://${name}:${outside.canaryPort}/`, `http://${name}.:${outside.canaryPort}/`],
      ...[`http://${name.toUpperCase()}:${outside.canaryPort}/`, `https://${name}:${outside.canaryPort}/`]
    ])
    expect(names.length).toBeGreaterThan(20)
    expect(notDenied(await tryAll(urls))).toEqual([])
    expect(outside.reached()).toBe(0)
  })

  test('nor does a redirect lead to them, in any spelling, after any number of steps', async () => {
    const base = `http://${outside.host}/redirect`
    const isAscii = (text: string) => /^[\x20-\x7e]*$/.test(text)
    const forms = ['127.0.0.1', '169.254.169.254', '10.0.0.1'].flatMap(formsOf).filter(isAscii)
    const targets = [
      ...forms.map(host => `http://${host}:${outside.canaryPort}/`),
      ...Object.keys(LYING_NAMES).map(name => `http://${name}:${outside.canaryPort}/`),
      ...[`//127.0.0.1:${outside.canaryPort}/`, `\\\\127.0.0.1:${outside.canaryPort}\\`],
      ...[`http://user@127.0.0.1:${outside.canaryPort}/`, 'file:///etc/passwd', 'gopher://127.0.0.1:1/x', 'ftp://a/']
    ]
    const once = targets.map(to => `${base}?to=${encodeURIComponent(to)}`)
    const twice = once.slice(0, 20).map(to => `${base}?code=307&to=${encodeURIComponent(to)}`)
    expect(notDenied(await tryAll([...once, ...twice]))).toEqual([])
    expect(outside.reached()).toBe(0)
  })

  test('a name that changes its address meanwhile is looked up again, and refused', async () => {
    const script = `const codes = []
      for (let i = 0; i < 5; i++)
        try { http.get('http://rebind.test:${outside.canaryPort}/'); codes.push('reached') } catch (e) { codes.push(e.code) }
      return codes`
    const { result } = await run(script)
    // The first answer is 127.0.0.3, the stand-in for a public address: the canary behind it hangs up.
    expect(result).toEqual(['HTTP_ERROR', ...Array(4).fill('HTTP_DENIED')])
  })

  test.each([
    ...['file:///etc/passwd', 'ftp://93.184.215.14/', 'gopher://93.184.215.14/', 'data:text/plain,x', 'ws://a.test/'],
    ...['javascript:1', 'blob:http://a/b', 'about:blank', 'unix:/run/docker.sock', 'http+unix://%2Frun%2Fdocker.sock/'],
    ...[
      'jar:http://a!/',
      'dict://127.0.0.1:11211/',
      'ldap://127.0.0.1/',
      'HTTP://user:pass@a.test/',
      'http://@:x@a.test/'
    ]
  ])('%s is no address for scripts', async url => {
    expect(notDenied(await tryAll([url]))).toEqual([])
  })

  test('ports of other services are refused even on public addresses', async () => {
    const ports = [
      1, 7, 21, 22, 23, 25, 53, 110, 111, 135, 139, 143, 389, 445, 465, 587, 636, 873, 993, 1433, 1521, 2049
    ]
    const more = [2181, 2375, 2379, 3306, 3389, 5432, 5672, 6000, 6379, 6667, 9042, 9092, 10250, 11211, 27017]
    const urls = [...ports, ...more].flatMap(port => [`http://93.184.215.14:${port}/`, `https://srv2.test:${port}/`])
    const results = await tryAll(urls.filter(url => url.includes('93.')))
    expect(notDenied(results)).toEqual([])
    expectCode(await run(`http.get('http://93.184.215.14:6379/')`), 'HTTP_DENIED', /port 6379 is not one for HTTP/)
  })
})

describe('requests that are more than one, or not what they seem (http-injection)', () => {
  test.each([
    ['hin-01', `await http.get('__SRV__/echo',{headers:{'x-a':'1\\r\\nx-evil: 2'}});`, 'ARGUMENT_INVALID'],
    ['hin-02', `await http.get('__SRV__/echo',{headers:{'x a\\n':'1'}});`, 'ARGUMENT_INVALID'],
    ['hin-04', `await http.request({url:'__SRV__/echo',method:'GET /x HTTP/1.1\\r\\nA: b'});`, 'HTTP_DENIED'],
    [
      'hin-06',
      `await http.request({url:'__SRV__/echo',method:'CONNECT'});await http.request({url:'__SRV__/echo',method:'TRACE'});`,
      'HTTP_DENIED'
    ],
    [
      'hin-07',
      `await http.get('__SRV__/echo',{headers:Object.fromEntries(Array.from({length:5000},(_, i)=>['x'+i,'v'.repeat(100)]))});`,
      'ARGUMENT_INVALID'
    ]
  ])('%s is refused before anything is sent', async (_id, script, code) => {
    expectCode(await run(script), code)
    expect(outside.requests).toEqual([])
  })

  test('hin-03: line breaks in an address come to one request', async () => {
    expect((await run(`await http.get('__SRV__/a b\\r\\nX: 1');`)).error).toBeNull()
    expect(outside.requests).toMatchObject([{ method: 'GET', url: '/a%20bX:%201' }])
    expect(outside.requests[0]?.headers).not.toHaveProperty('x')
  })

  test('hin-05: how a message is framed is not the script’s to say', async () => {
    await run(
      `await http.post('__SRV__/echo',{headers:[['content-length','5'],['Content-Length','7']],body:'hello world'});`
    )
    for (const { headers, body } of outside.requests)
      expect([headers['content-length'], body]).toEqual(['11', 'hello world'])
    const framing = ['content-length', 'Transfer-Encoding', 'connection', 'Upgrade', 'expect', 'te', 'trailer', 'host']
    const names = [...framing, 'keep-alive', 'Proxy-Authorization', 'proxy-connection', 'CONTENT-LENGTH', 'Host']
    for (const name of names) {
      const result = await run(`http.post('__SRV__/echo', { headers: { '${name}': '1' }, body: 'x' })`)
      expectCode(result, 'HTTP_DENIED', /is set by the runtime/)
    }
    expect(outside.requests.length).toBeLessThanOrEqual(1)
  })

  test.each([
    ...['1\\nb: 2', '1\\rb: 2', '1\\u0000', '1\\u2028', '\\u560d\\u560a: x', '1\\u0001', '\\u007f', '订单'].map(
      value => [`a header's value ${value}`, `http.get('__SRV__/echo', { headers: { 'x-a': '${value}' } })`]
    ),
    ...[
      'x:a',
      'x\\r\\ny',
      'x\\u0000',
      '',
      ' ',
      'x y',
      '(x)',
      'x\\u00e9',
      'x,y',
      'x;y',
      'x/y',
      '[x]',
      '{x}',
      'x=1',
      '"x"'
    ].map(name => [`a header called ${name}`, `http.get('__SRV__/echo', { headers: { '${name}': '1' } })`]),
    ...[
      'get ',
      ' GET',
      'GET\\t',
      'TRACK',
      'DEBUG',
      'PROPFIND',
      'LINK',
      '',
      'G\\u0000T',
      'GET\\r\\nHost: x',
      'PRI',
      'constructor'
    ].map(method => [`the method ${method}`, `http.request({ url: '__SRV__/echo', method: '${method}' })`])
  ])('%s is refused before anything is sent', async (_what, script) => {
    const { error } = await run(script)
    expect(error?.message).toMatch(/ARGUMENT_INVALID|HTTP_DENIED/)
    expect(outside.requests).toEqual([])
  })

  test('a header whose text changes between two looks is sent as it was seen first', async () => {
    const script = `let looks = 0
      const value = { toString: () => (looks++ === 0 ? 'fine' : 'x\\r\\nx-evil: 1') }
      http.get('__SRV__/echo', { headers: { 'x-a': value, get 'x-b'() { return looks > 5 ? '1\\r\\n' : 'y' } } })`
    const { error } = await run(script)
    expect(outside.requests.every(({ headers }) => !('x-evil' in headers))).toBe(true)
    expect(error === null || /ARGUMENT_INVALID/.test(error.message)).toBe(true)
  })

  test('a request is one request: what follows a body, or an answer, is nobody else’s', async () => {
    const script = `
      http.post('__SRV__/echo', { body: 'a\\r\\n\\r\\nGET /smuggled HTTP/1.1\\r\\nHost: srv.test\\r\\n\\r\\n', headers: { 'content-type': 'text/plain' } })
      const first = http.get('__SRV__/second-answer', { throwOnError: false, responseType: 'text' })
      const second = http.get('__SRV__/ok')
      return [first, second]`
    const { result } = await run(script)
    expect(result).toEqual(['ok', 'ok'])
    expect(outside.requests.map(({ url }) => url)).not.toContain('/smuggled')
  })

  test('query and form values are encoded, whatever they hold', async () => {
    const script = `
      http.get('__SRV__/q', { query: { 'a&b': 'c=d&e\\r\\nX: 1', list: ['1', '2#3'] } })
      http.post('__SRV__/f', { form: { 'a&b': 'c=d\\r\\n\\u0000' } })`
    expect((await run(script)).error).toBeNull()
    const [get, post] = outside.requests
    expect(get?.url).toBe('/q?a%26b=c%3Dd%26e%0D%0AX%3A%201&list=1&list=2%233')
    expect(post?.body).toBe('a%26b=c%3Dd%0D%0A%00')
  })
})

describe('answers that are meant to harm (http-dos)', () => {
  test.each([
    ['hdo-02', `await http.get('__SRV__/brotli-bomb');return 'read';`, 'HOOK_HTTP_LIMIT'],
    ['hdo-03', `await http.get('__SRV__/many-encodings');return 'read';`, 'HTTP_ERROR'],
    ['hdo-04', `await http.get('__SRV__/endless');return 'read';`, 'HOOK_HTTP_LIMIT'],
    ['hdo-06', `await http.get('__SRV__/never-headers', { timeout: 300 });return 'read';`, 'HTTP_TIMEOUT'],
    ['hdo-07', `await http.get('__SRV__/header-flood?kb=20');return 'read';`, 'HTTP_ERROR'],
    ['hdo-12', `await http.get('__SRV__/reset-midway');return 'read';`, 'HTTP_ERROR'],
    ['a gzip bomb', `http.get('__SRV__/gzip-bomb')`, 'HOOK_HTTP_LIMIT'],
    ['a bomb behind a redirect', `http.get('__SRV__/redirect?to=/gzip-bomb')`, 'HOOK_HTTP_LIMIT'],
    ['a dripping answer', `http.get('__SRV__/drip?every=20', { timeout: 300 })`, 'HTTP_TIMEOUT'],
    ['half of a head', `http.get('__SRV__/half-headers', { timeout: 300 })`, 'HTTP_TIMEOUT'],
    ['hints without an answer', `http.get('__SRV__/early-hints', { timeout: 300 })`, 'HTTP_'],
    ['redirects without end', `http.get('__SRV__/redirect-loop')`, 'HTTP_ERROR'],
    ['a flood of headers', `http.get('__SRV__/header-flood?kb=10000')`, 'HTTP_ERROR'],
    ['five thousand headers', `http.get('__SRV__/header-count?n=5000')`, 'HTTP_ERROR'],
    ['a chunk whose size does not end', `http.get('__SRV__/endless-chunks', { timeout: 300 })`, 'HTTP_'],
    ['a length that nobody can send', `http.get('__SRV__/huge-length', { timeout: 300 })`, 'HTTP_'],
    ['two lengths', `http.get('__SRV__/two-lengths')`, 'HTTP_ERROR'],
    ['a length and chunks', `http.get('__SRV__/smuggle')`, 'HTTP_ERROR'],
    ['a reset at once', `http.get('__SRV__/reset-at-once')`, 'HTTP_ERROR'],
    ['an endless timeout', `http.get('__SRV__/never-headers', { timeout: 1e300 })`, 'HOOK_TIMEOUT'],
    ['a huge body of its own', `http.post('__SRV__/sink', { body: 'x'.repeat(1_200_000) })`, 'HOOK_HTTP_LIMIT']
  ])('%s: the call fails by name, and its connection is closed', async (_what, script, code) => {
    const result = await run(script, { hook: { limits: { wallMs: 1_500, cpuMs: 1_000 } } })
    expectCode(result, code)
    expect(result.report.attempt.durationMs).toBeLessThan(3_000 + 250)
    await expect.poll(outside.open).toBe(0)
  })

  test('hdo-10: nothing is polluted by an answer, here or in the script', async () => {
    const script = `const r=await http.get('__SRV__/json?body={"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":2}}}');
      const j=typeof r.json==='function'?r.json():r;
      return [String(({}).polluted),String(Object.assign({},j).polluted), Object.keys(j)];`
    expect((await run(script)).result).toEqual(['undefined', 'undefined', ['constructor']])
    expect(Object.hasOwn(Object.prototype, 'polluted')).toBe(false)
  })

  test.skipIf(!tls)('hdo-11: a certificate that nobody trusts is refused, whatever the script asks for', async () => {
    expectCode(
      await run(`await http.get('__SRV__/bad-cert');return 'read';`),
      'HTTP_ERROR',
      /certificate is not trusted/
    )
    const wishes = `{ rejectUnauthorized: false, agent: { rejectUnauthorized: false }, insecure: true, strictSSL: false,
      dispatcher: {}, connect: { rejectUnauthorized: false }, lookup: () => {}, maxRedirections: 99, tls: { rejectUnauthorized: false } }`
    const result = await run(`http.request({ url: '__SRV__/bad-cert', method: 'GET', ...${wishes} })`)
    expectCode(result, 'HTTP_ERROR', /certificate is not trusted/)
  })

  test('hdo-12: whether a lost call took effect is unknown, and nothing sends it again', async () => {
    for (const method of ['post', 'put', 'delete', 'patch']) {
      const { error } = await run(`http.${method}('__SRV__/reset-midway', { body: { order: 1 } })`)
      expect(error?.message).toMatch(/whether it took effect is unknown/)
    }
    expect(outside.requests).toHaveLength(4)
  })

  test('hdo-14: bytes that are no text do no harm', async () => {
    const script = `const a = await http.get('__SRV__/invalid-utf8');const b = await http.get('__SRV__/nul-bytes');
      const c = http.get('__SRV__/invalid-utf8', { responseType: 'base64' }); http.get('__SRV__/bad-header-bytes')
      return [a, b, c];`
    const { result, error } = await run(script)
    expect(error).toBeNull()
    expect(result).toEqual(['ok\ufffd\ufffd\ufffd(', '\0\u0001\u0002\0ok', 'b2v//sMo'])
  })

  test('JSON of any depth is parsed or refused, and the node goes on', async () => {
    const { error } = await run(`const deep = http.get('__SRV__/json-deep?depth=200000'); return typeof deep`)
    expect(error === null || /HOOK_|HttpError|RangeError/.test(`${error.code} ${error.message}`)).toBe(true)
    expect((await run(`return http.get('__SRV__/ok')`)).result).toBe('ok')
  })

  test('thousand hosts that do not exist leave nothing behind, and calls beyond the limit are none', async () => {
    const urls = Array.from({ length: 1_000 }, (_, i) => `http://nowhere-${i}.test/`)
    expect((await tryAll(urls)).every(({ code }) => code === 'HTTP_ERROR')).toBe(true)
    const { error } = await run(`for (let i = 0; i < 60; i++) http.get('__SRV__/ok')`)
    expect(error?.code).toBe('HOOK_HTTP_LIMIT')
    expect(outside.requests).toHaveLength(50)
  })

  test('calls that nobody waits for go out one at a time', async () => {
    const script = `await Promise.all(Array.from({ length: 20 }, async () => http.get('__SRV__/ok'))); return 1`
    expect((await run(script)).result).toBe(1)
    expect(outside.open()).toBeLessThanOrEqual(1)
  })
})

describe('a value of env that is bound to hosts (env-06)', () => {
  const value = 'k-7f3+A/9=secret value'
  const bound = () => [{ key: 'API_KEY', value, hosts: ['erp.example.com', 'erp.example.com:8443'] }]
  const env = { API_KEY: value }
  const attempts = [
    ['env-06', `await http.get('__SRV__/x?k='+env.get('API_KEY'));return 1;`],
    ['in a query option', `http.get('__SRV__/x', { query: { k: env.get('API_KEY') } })`],
    ['in the path', `http.get('__SRV__/' + encodeURIComponent(env.get('API_KEY')))`],
    ['in a header', `http.get('__SRV__/x', { headers: { authorization: 'Bearer ' + env.get('API_KEY') } })`],
    [
      'in a cookie among others',
      `http.get('__SRV__/x', { headers: { cookie: 'a=1; k=' + env.get('API_KEY') + '; b=2' } })`
    ],
    ['in JSON', `http.post('__SRV__/x', { body: { deep: [{ key: env.get('API_KEY') }] } })`],
    ['in a form', `http.post('__SRV__/x', { form: { k: env.get('API_KEY') } })`],
    [
      'in a plus-encoded form',
      `http.post('__SRV__/x', { body: 'k=' + encodeURIComponent(env.get('API_KEY')).replaceAll('%20', '+') })`
    ],
    ['in text', `http.put('__SRV__/x', { body: 'the key is ' + env.get('API_KEY') + '.' })`],
    ['in Base64', `http.post('__SRV__/x', { body: crypto.base64Encode(env.get('API_KEY')) })`],
    [
      'as a password',
      `http.get('__SRV__/x', { headers: { authorization: 'Basic ' + crypto.base64Encode('u:' + env.get('API_KEY')) } })`
    ],
    [
      'as a user',
      `http.get('__SRV__/x', { headers: { authorization: 'Basic ' + crypto.base64Encode('me' + env.get('API_KEY') + ':x') } })`
    ],
    [
      'in other percent signs',
      `http.get('__SRV__/x?k=' + [...env.get('API_KEY')].map(c => '%' + c.charCodeAt(0).toString(16)).join(''))`
    ],
    [
      'behind a redirect',
      `http.post('__SRV__/redirect?code=307&to=http://srv.test:1/', { body: 'k=' + env.get('API_KEY') })`
    ]
  ]
  test.each(attempts)('%s: is not sent to another host', async (_where, script) => {
    const result = await run(script, { env, bound: bound(), secrets: [value] })
    expectCode(result, 'HTTP_DENIED', /env API_KEY may not be sent to this host/)
    expect(JSON.stringify(result.report.attempt)).not.toContain(value)
    expect(outside.requests).toEqual([])
  })

  test('is sent to its own hosts, and a redirect away from them is refused', async () => {
    const own = [{ key: 'API_KEY', value, hosts: [outside.host.toUpperCase()] }]
    const sent = await run(`return http.post('__SRV__/ok', { body: env.get('API_KEY') })`, { env, bound: own })
    expect([sent.error, outside.requests[0]?.body]).toEqual([null, value])
    const away = `http.post('__SRV__/redirect?code=307&to=http://127.0.0.3:${outside.canaryPort}/', { body: env.get('API_KEY') })`
    const before = outside.reached()
    expectCode(await run(away, { env, bound: own }), 'HTTP_DENIED', /127\.0\.0\.3.*may not be sent to this host/)
    expect(outside.reached()).toBe(before)
  })

  test('does not stand in the way of requests without it', async () => {
    const { error } = await run(`http.post('__SRV__/ok', { body: { order: 'k-7f3' } })`, { env, bound: bound() })
    expect(error).toBeNull()
  })
})
