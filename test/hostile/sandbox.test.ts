import { describe, expect, test } from 'vitest'
import type { Json } from '../../runtime/model.ts'
import { testFleet } from '../support/run-hook.ts'
import { CONSTRUCTOR_CASES, ESCAPES } from './cases/escapes.ts'
import { LEFTOVERS } from './cases/leftovers.ts'
import { BEFORE, PATCHES, POISON_ALL, PROBE, WALK } from './cases/poison.ts'
import { expectCase, hostileShop } from './hostile.ts'

const site = hostileShop()

describe('escapes', () => {
  test.each([...ESCAPES, ...CONSTRUCTOR_CASES].map(each => [each.id, each] as const))('%s', (_id, each) =>
    expectCase(site, each)
  )

  test('esc-04: no object, function, error or path of ours is in reach, at any moment of a call', async () => {
    const { result, error } = await site.run(WALK, { hook: { limits: { cpuMs: 5_000, dbCalls: 100_000 } } })
    expect(error).toBeNull()
    const [found, looked, sites] = result as [Json[], number, number]
    expect(found).toEqual([])
    expect(looked).toBeGreaterThan(500)
    expect(sites).toBeGreaterThan(10)
  })

  test('esc-06: call sites show nothing but the realm’s own', async () => {
    const { result } = await site.run(
      "Error.prepareStackTrace=(e,cs)=>cs.map(c=>[typeof c.getThis(),typeof c.getFunction(),c.getFileName()]);const r=[];try{db.select()}catch(e){r.push(e.stack)}try{await db.select('bad sql')}catch(e){r.push(e.stack)}try{null.x}catch(e){r.push(e.stack)}return r;"
    )
    const frames = (result as Json[][][]).flat()
    for (const [receiver, , file] of frames) {
      expect(['undefined', 'object']).toContain(receiver)
      expect([null, 'hook:script', 'facade']).toContain(file)
    }
    expect(frames.filter(([, own, file]) => file === 'facade' && own !== 'undefined')).toEqual([])
  })
})

describe('a text that does not compile', () => {
  test.each([
    ['cmp-02', 'return 1 } /*'],
    ['closes the function', 'return 1 }); globalThis.broke = 1; (async () => {'],
    ['closes it in a comment', 'return 1 // }\n})\n//'],
    ['opens one more', 'async function f() {'],
    ['starts a regular expression', 'return /'],
    ['has an import', "import fs from 'fs'\nreturn 1"],
    ['has an export', 'export default 1'],
    ['has a private name of nobody', 'return #error in {}'],
    ['has types only', 'interface A { b: string'],
    ['declares twice', 'let a = 1\nlet a = 2']
  ])('%s, and its place is one of the author’s own lines', async (_id, script) => {
    const checked = await testFleet().check(script)
    expect(checked.ok).toBe(false)
    if (checked.ok) return
    expect(checked.line).toBeGreaterThanOrEqual(1)
    expect(checked.line).toBeLessThanOrEqual(script.split('\n').length)
    expect(checked.message).not.toMatch(/node_modules|file:|facade/)
  })
})

describe('what decides anything runs on nothing that a script can change', () => {
  const probe = (patch: string) =>
    site.run(`${BEFORE}\n${patch}\n${PROBE}`, {
      env: { BASE: site.partner.url, COLOR: 'red' },
      hook: { limits: { cpuMs: 5_000 } },
      request: { request: {}, globals: {} }
    })
  const seen = ({ report, logs, announced, calls }: Awaited<ReturnType<typeof probe>>) => ({
    response: report.response,
    logs,
    announced: announced.map(({ id: _random, ...rest }) => rest),
    calls: calls.map(({ kind, summary, status, rows }) => ({ kind, summary, status, rows }))
  })

  test('not when every function of the language is replaced and every name is inherited', async () => {
    const plain = await probe("let touched = ''")
    expect(plain.error).toBeNull()
    const poisoned = await probe(POISON_ALL)
    expect(poisoned.error).toBeNull()
    expect(poisoned.result).toEqual(plain.result)
    expect(poisoned.result).toMatchObject({ touched: '', number: 42, codes: { length: 8 } })
    expect(seen(poisoned)).toEqual(seen(plain))
    const { result } = await site.run(`${BEFORE}\n${POISON_ALL}\nreturn [patched > 500, touched]`)
    expect(result).toEqual([true, ''])
  })

  test.each(Object.entries(PATCHES))('not with %s', async (_what, patch) => {
    const plain = await probe("let touched = ''")
    const patched = await probe(`let touched = ''; ${patch}`)
    expect(patched.error).toBeNull()
    expect(patched.result).toEqual(plain.result)
    expect(seen(patched)).toEqual(seen(plain))
  })

  test('res-10: toJSON everywhere changes the result only', async () => {
    const { result, error, report } = await site.run(
      "Object.prototype.toJSON=()=>'evil';Array.prototype.toJSON=()=>'evil';String.prototype.toJSON=()=>'evil';response.setHeader('x-a', 'b'); return {a:[1]};"
    )
    expect({ result, error }).toEqual({ result: 'evil', error: null })
    expect(report.response).toEqual({ status: 200, headers: { 'x-a': 'b' } })
  })

  test('tmp-06, tmp-07 and bnd-16: options are own members, read once', async () => {
    const { result, error } = await site.run(`
      const a=/a/g;a.lastIndex=5;RegExp.prototype.exec=function(){globalThis.cap=arguments[0];return null};
      Object.defineProperty(Object.prototype,'timeout',{get(){return 1e9}});Object.prototype.maxBytes=1e12;
      Object.prototype.socketPath='/var/run/docker.sock';Object.prototype.headers={host:'evil'};
      http.get('__SRV__/echo');log.info('token=abc');
      const reads = Object.create(null)
      const counted = (object, name) => new Proxy(object, { get(t, k) { reads[name + String(k)] = (reads[name + String(k)] || 0) + 1; return t[k] } })
      http.request(counted({ url: '__SRV__/ok', method: 'POST', headers: counted({ 'x-a': '1' }, 'h.'), query: counted({ q: 1 }, 'q.'), body: 'b', timeout: 5000, throwOnError: true }, ''))
      db.select('SELECT ?, ?', counted([1, 2], 'p.'))
      http.post('__SRV__/ok', { form: counted({ f: 1 }, 'f.') })
      emit('E', 1, counted({ key: 'k' }, 'e.'))
      return [typeof cap, Math.max(...Object.values(reads)), Object.keys(reads).length]`)
    expect(error).toBeNull()
    expect(result).toEqual(['undefined', 1, 14])
  })
})

describe('two runs of a hook in one isolate', () => {
  test.each(LEFTOVERS)('share nothing: %s', async (id, leave, look) => {
    const hook = { id: `leaves ${id}` }
    const first = await site.run(leave, { hook })
    if (id !== 'an exit') expect(first.error).toBeNull()
    const { result, error, logs, report } = await site.run(`return [${look}, 1]`, { hook })
    expect(error).toBeNull()
    expect(result).toEqual([true, 1])
    expect(logs.length).toBeLessThanOrEqual(1)
    expect(report.response).toBeUndefined()
  })

  test('asy-11: what a run has left going ends with it', async () => {
    const hook = { id: 'asy-11' }
    await site.run(
      "const A=async f=>f();globalThis.p=Promise.resolve().then(()=>0).then(()=>0).then(()=>A(()=>db.select('select 1'))).then(()=>new Promise(()=>{})).then(()=>http.get('__SRV__/late?run=1'));return 1;",
      { hook }
    )
    await site.run("for (let i = 0; i < 20; i++) { db.select('select 1'); await 0 } http.get('__SRV__/ok'); return 1", {
      hook
    })
    expect(site.partner.requests.filter(({ path }) => path.startsWith('/late'))).toEqual([])
  })

  test('no host call is served after a run was stopped', async () => {
    const before = site.partner.requests.length
    const { error, calls } = await site.run("for (;;) { try { http.get('__SRV__/count') } catch {} }", {
      hook: { limits: { wallMs: 300, cpuMs: 2_000, httpCalls: 100_000 } }
    })
    expect(error?.code).toBe('HOOK_TIMEOUT')
    const served = site.partner.requests.length
    expect(served - before).toBeLessThanOrEqual(calls.length)
    await site.run('http.get("__SRV__/ok"); return 1')
    expect(site.partner.requests.slice(served).map(({ path }) => path)).toEqual(['/ok'])
  })
})
