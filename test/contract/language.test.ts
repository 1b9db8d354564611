import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Json } from '../../runtime/model.ts'
import { engines } from '../support/databases.ts'
import { openTestShop, runHook, type TestShop, testFleet } from '../support/run-hook.ts'

let shop: TestShop
const [sqlite] = engines

beforeAll(async () => {
  if (sqlite) shop = await openTestShop(sqlite)
})
afterAll(() => shop.close())

const run = (script: string, more: Partial<Parameters<typeof runHook>[0]> = {}) => runHook({ shop, script, ...more })

describe('the language', () => {
  test.each<[string, string, Json]>([
    ['top-level return', 'return 1', 1],
    ['no return', 'var a = 1', null],
    ['implicit globals', 'total = 1; total += 1; return total', 2],
    ['var at top level', 'var a = 1; var a = 2; return a', 2],
    ['a parameter declared again', 'var payload = payload; return payload.event.payload', '1'],
    [
      'names of globals as its own',
      'const body = 1, path = 2, header = 3, param = 4; return [body, path, header, param]',
      [1, 2, 3, 4]
    ],
    ['missing semicolons', 'var a = 1\nvar b = 2\nreturn a + b', 3],
    ['top-level await', 'const a = await 1; return (await Promise.all([a, 2]))[1]', 2],
    ['await on host calls', 'return await db.selectValue("SELECT 7")', 7],
    ['legacy octals and with', 'var o = { a: 010 }; with (o) { return a }', 8],
    ['a comment at the end', 'return 1 // done', 1],
    [
      'Date, Intl and RegExp',
      'return [new Date(0).toISOString(), new Intl.NumberFormat("en").format(1234), /a(?<b>.)/u.exec("ab").groups.b]',
      ['1970-01-01T00:00:00.000Z', '1,234', 'b']
    ],
    ['a BigInt result', 'return { n: 12345678901234567890n }', { n: '12345678901234567890' }],
    ['a promise as result', 'return new Promise(resolve => resolve({ ok: true }))', { ok: true }],
    ['unicode', 'return "订单😀\\u2028"', '订单😀\u2028']
  ])('%s works', async (_what, script, expected) => {
    const { result, error } = await run(script)
    expect(error).toBeNull()
    expect(result).toEqual(expected)
  })

  test('none of what it lacks is there', async () => {
    const names = [
      'process',
      'module',
      'Buffer',
      'setTimeout',
      'fetch',
      'WebAssembly',
      'SharedArrayBuffer',
      'Atomics',
      'console'
    ]
    const { result } = await run(`return [${names.map(name => `typeof ${name}`).join(', ')}]`)
    expect(result).toEqual(names.map(() => 'undefined'))
  })

  test('one run sees nothing of another', async () => {
    await run('globalThis.left = 1; Array.prototype.left = 2; JSON.parse = () => 3; env.get = () => 4')
    const { result } = await run('return [typeof left, [].left, JSON.parse("5"), env.get("A")]')
    expect(result).toEqual(['undefined', null, 5, null])
  })

  test('TypeScript runs without its types', async () => {
    const script =
      'interface Order { id: string }\nconst order: Order = { id: payload.event.payload as string }\nreturn order!.id'
    const checked = await testFleet().check(script)
    expect(checked).toMatchObject({ ok: true })
    const { result } = await run(checked.ok ? (checked.compiled ?? '') : '')
    expect(result).toBe('1')
  })

  test.each([
    ['const a = 1\nconst a = 2', 2, 7],
    ['const a: number = \nreturn', 1, 7],
    ['return 1 }); (function () {', 1, 1],
    ["const s = 'open", 1, 11]
  ])('%j does not compile, and the place is named', async (script, line, column) => {
    expect(await testFleet().check(script)).toMatchObject({ ok: false, line, column })
  })

  test('an error names the line and column of the script and shows the line', async () => {
    const { error } = await run('const order = null\n\n  order.id.x()\n')
    expect(error).toMatchObject({
      code: 'HOOK_THREW',
      message: "TypeError: Cannot read properties of null (reading 'id')",
      line: 3,
      column: 9,
      excerpt: '  order.id.x()\n        ^'
    })
  })

  test('an error of a host call names the script’s line, and nothing of ours', async () => {
    const { error } = await run(
      'const a = 1\nfunction read() {\n  return db.select("SELECT nope FROM eb_user")\n}\nread()'
    )
    expect(error).toMatchObject({ line: 3, column: 13 })
    expect(error?.stack).toMatch(/at read \(script:3:13\)\n.*script:5:1/)
    expect(JSON.stringify(error)).not.toMatch(/sandhook|facade|node_modules|file:/)
  })

  test.each<[string, string]>([
    ['throw "text"', 'Error: text'],
    ['throw { a: 1 }', 'Error: {"a":1}'],
    ['throw undefined', 'Error: undefined'],
    ['class E extends Error { get name() { throw 1 } }; throw new E("x")', 'Error: (the thrown value cannot be shown)'],
    ['Promise.reject(new Error("floating")); return 1', 'Error: floating']
  ])('%j ends as HOOK_THREW', async (script, message) => {
    const { error } = await run(script)
    expect(error).toMatchObject({ code: 'HOOK_THREW', message })
  })
})

describe('log', () => {
  test.each<[string, string]>([
    ["'no {} args'", 'no {} args'],
    ["'a={} b={}', 1, '二'", 'a=1 b=二'],
    ["'{} {}', 1", '1 {}'],
    ["'{}', 1, 2, 3", '1'],
    ["'{}', { a: [1, null] }", '{"a":[1,null]}'],
    ["'{} {}', null, undefined", 'null undefined'],
    ["'\\\\{} {}', 1", '{} 1'],
    ["{ plain: 'object' }", '{"plain":"object"}'],
    ["'{}', 10n", '10']
  ])('log.info(%s) writes %s', async (args, line) => {
    const { logs } = await run(`log.info(${args})`)
    expect(logs).toEqual([{ level: 'info', message: line }])
  })

  test('a last Error prints its stack', async () => {
    const { logs } = await run("log.error('failed: {}', 'x', new TypeError('boom'))")
    expect(logs[0]?.message).toMatch(/^failed: x\nTypeError: boom\n +at .*hook:script/)
  })

  test('lines before an endless loop are kept', async () => {
    const { logs, error } = await run("log.info('here'); for (;;);", { hook: { limits: { cpuMs: 100 } } })
    expect(error?.code).toBe('HOOK_CPU_LIMIT')
    expect(logs).toEqual([{ level: 'info', message: 'here' }])
  })

  test('lines past the limit are cut, and counted', async () => {
    const { report, logs } = await run('for (let i = 0; i < 1500; i++) log.info("{}", i)')
    expect(logs).toHaveLength(1000)
    expect(report.attempt.logsCut).toBe(500)
  })
})

describe('env, crypto, require', () => {
  test('env shows what is granted and nothing else', async () => {
    const { result } = await run(
      "return [env.get('A'), env.get('B'), env.get('B', 'b'), env.has('A'), env.has('toString'), env.get('__proto__')]",
      { env: { A: 'a' } }
    )
    expect(result).toEqual(['a', null, 'b', true, false, null])
  })

  test('secrets are masked wherever they come out', async () => {
    const secret = 'very-secret "key"/1'
    const script = `
      log.info('{}', env.get('K')); log.info(JSON.stringify({ k: env.get('K') })); log.info(crypto.base64Encode(env.get('K')))
      try { http.get('http://localhost:1/' + encodeURIComponent(env.get('K'))) } catch (e) { log.info(e.message) }
      return { said: env.get('K') }`
    const { report } = await run(script, { env: { K: secret }, secrets: [secret] })
    const shown = JSON.stringify(report.attempt)
    for (const form of [secret, encodeURIComponent(secret), Buffer.from(secret).toString('base64'), 'very-secret'])
      expect(shown).not.toContain(form)
    const thrown = await run(`throw new Error('bad ' + env.get('K'))`, { env: { K: secret }, secrets: [secret] })
    expect(thrown.error?.message).toBe('Error: bad ***')
    expect(JSON.stringify(thrown.error)).not.toContain('very-secret')
  })

  test.each<[string, string]>([
    ["md5('abc')", '900150983cd24fb0d6963f7d28e17f72'],
    ["sha1('abc')", 'a9993e364706816aba3e25717850c26c9cd0d89d'],
    ["sha256('订单', 'base64')", 'PVQ26iPS6aI+zuz0Hq8V3oC1HBLGSaBwZOAjc9Lt9ho='],
    [
      "hmacSha256('key', 'The quick brown fox jumps over the lazy dog')",
      'f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8'
    ],
    ["hmacMd5('key', 'The quick brown fox jumps over the lazy dog')", '80070713463e7749b90c2dc24911e275'],
    ["hmacSha1('key', 'The quick brown fox jumps over the lazy dog')", 'de7c9b85b8b78aa6bc8a7a36f70a90701c9db4d9'],
    ["base64Encode('订')", '6K6i'],
    ["base64Decode('6K6i')", '订']
  ])('crypto.%s', async (call, expected) => {
    const { result, error } = await run(`return crypto.${call}`)
    expect(error).toBeNull()
    expect(result).toBe(expected)
  })

  test('crypto makes uuids and random bytes, and refuses what it does not know', async () => {
    const { result } = await run(
      "try { crypto.md5('a', 'latin9') } catch (e) { return [e.code, crypto.uuid().length, crypto.randomHex(8).length] }"
    )
    expect(result).toEqual(['ARGUMENT_INVALID', 36, 16])
  })

  test('a library is loaded once, with the same globals', async () => {
    const libraries = {
      '/lib/count': "let n = 0; exports.next = () => ++n; exports.env = env.get('A')",
      '/lib/uses': "module.exports = { next: require('/lib/count').next }"
    }
    const script =
      "const a = require('/lib/count'), b = require('/lib/uses'); return [a.next(), b.next(), require('/lib/count').next(), a.env]"
    const { result } = await run(script, { libraries, env: { A: 'x' } })
    expect(result).toEqual([1, 2, 3, 'x'])
  })

  test.each(['/lib/none', 'fs', '/custom/test', '../x'])('require(%j) finds nothing', async name => {
    const { error } = await run(`require(${JSON.stringify(name)})`)
    expect(error?.message).toContain('LIBRARY_MISSING')
  })
})

describe('what a run comes to', () => {
  test.each<[string, string, string]>([
    ['for (;;);', 'HOOK_CPU_LIMIT', 'endless loop'],
    ['await 1; for (;;);', 'HOOK_CPU_LIMIT', 'endless loop'],
    ['await new Promise(() => {})', 'HOOK_TIMEOUT', 'nothing can settle'],
    ['const a = []; for (;;) a.push(new Array(1000).fill({}))', 'HOOK_MEMORY_LIMIT', '32 MB'],
    ["return 'x'.repeat(300000)", 'HOOK_RESULT_LIMIT', '256000'],
    ["return { success: false, message: 'later' }", 'HOOK_FAILED', 'later'],
    ["return { success: false, retry: false, message: 'never' }", 'HOOK_REJECTED', 'never'],
    ["exit(404, 'no such user')", 'HOOK_EXITED', 'exit(404): no such user'],
    ['const f = () => f(); f()', 'HOOK_THREW', 'Maximum call stack'],
    ['return circular = {}, circular.self = circular, circular', 'HOOK_THREW', 'circular']
  ])('%s ends as %s', async (script, code, message) => {
    const { error } = await run(script, { hook: { limits: { cpuMs: code === 'HOOK_CPU_LIMIT' ? 200 : 20_000 } } })
    expect(error).toMatchObject({ code, message: expect.stringContaining(message) })
  })

  test('a run that waits longer than its wall clock ends, and so does its statement', async () => {
    const started = performance.now()
    const { error } = await run(
      'for (let i = 0; i < 100; i++) http.get("http://127.0.0.1:1/", { throwOnError: false })',
      {
        hook: { limits: { wallMs: 1 } }
      }
    )
    expect(error?.code).toBe('HOOK_TIMEOUT')
    expect(performance.now() - started).toBeLessThan(5_000)
  })

  test('exit below 400 is a success with its message', async () => {
    const { result, error } = await run("exit(200, 'fine', { a: 1 })")
    expect(error).toBeNull()
    expect(result).toEqual({ code: 200, message: 'fine', data: { a: 1 } })
  })

  test('an HTTP call’s globals are there, and what it answers is kept', async () => {
    const globals = { path: { id: '7' }, param: { q: 'x' }, body: { a: 1 }, header: { 'x-a': 'b' } }
    const script =
      "response.status(201).setHeader('x-b', 'c'); response.json({ path, param, body, header, m: payload.request.method })"
    const { report } = await run(script, { request: { request: { method: 'POST' }, globals } })
    expect(report.response).toEqual({ status: 201, headers: { 'x-b': 'c' }, body: { ...globals, m: 'POST' } })
  })
})
