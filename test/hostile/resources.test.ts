import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readConfig } from '../../runtime/config.ts'
import type { Limits } from '../../runtime/model.ts'
import { createFleet, type Fleet } from '../../runtime/runner/fleet.ts'
import type { RunHost, RunOutcome } from '../../runtime/runner/run.ts'
import { engines } from '../support/databases.ts'
import { openTestShop, runHook, type TestShop } from '../support/run-hook.ts'
import { FLOODS, HOARDS, LOOPS, RECURSIONS, SHORT } from './cases/resources.ts'
import { untilItEnds } from './hostile.ts'

/** A clock on the wall that a busy test machine does not spend before the limit that is meant. */
const LIMITS: Limits = { ...readConfig({}).limits.defaults, concurrency: 100, wallMs: 20_000 }
let fleet: Fleet

beforeAll(() => {
  fleet = createFleet({ runners: 2, concurrency: 16, logger: pino({ level: 'silent' }) })
})
afterAll(() => fleet.close())

/** A host that answers at once, until a run is over its number of calls, as the real one does. */
function quickHost(): RunHost & { lines: string[]; longest: number } {
  const host = {
    lines: [] as string[],
    longest: 0,
    calls: 0,
    async call(method: string, args: string) {
      host.longest = Math.max(host.longest, args.length)
      const error = { code: 'HOOK_DB_LIMIT', name: 'HostError', message: 'Too many calls.' }
      if (++host.calls > 100) return JSON.stringify({ error })
      if (method === 'lib.load') return JSON.stringify({ error: { ...error, code: 'LIBRARY_MISSING' } })
      return JSON.stringify({
        value: method === 'db.query' ? [] : { status: 200, headers: {}, text: '{}', affected: 1 }
      })
    },
    log: ({ message }: { message: string }) => void host.lines.push(message)
  }
  return host
}

function run(script: string, limits: Partial<Limits> = {}, host: RunHost = quickHost()): Promise<RunOutcome> {
  const request = {
    ...{ pool: script, name: '/custom/test', script, limits: { ...LIMITS, ...limits } },
    input: { payload: {}, env: {}, globals: {} }
  }
  const { signal } = new AbortController()
  return untilItEnds(alone => fleet.run(request, host, { alone, signal }))
}

/** How it ended; what was thrown by its name. */
const endOf = ({ end }: RunOutcome): string => (end.end === 'threw' ? end.error.name : end.end)

/** V8 refuses some things by itself, before any limit of ours. */
const REFUSED = ['RangeError', 'TypeError', 'SyntaxError', 'EvalError', 'ReferenceError']
const OF_CORPUS = /^(cpu|mem|stk|fld|prc|adm|was)-\d+$/

describe('a loop without an end', () => {
  test.each(Object.entries(LOOPS))('%s ends by the processor’s clock', async (_id, script) => {
    const outcome = await run(script, { cpuMs: 60 })
    expect(['cpu', 'memory']).toContain(endOf(outcome))
  })
})

describe('a hoard', () => {
  const entries = Object.entries(HOARDS)
  const counted = entries.filter(([id]) => OF_CORPUS.test(id) && id !== 'mem-03')
  test.each(counted)('%s ends by its memory', async (_id, script) => {
    expect(endOf(await run(script, { cpuMs: 30_000 }))).toBe('memory')
  })

  test.each(entries.filter(entry => !counted.includes(entry)))('%s ends by a limit', async (_id, script) => {
    expect(['memory', 'cpu', ...REFUSED]).toContain(endOf(await run(script, { cpuMs: 200 })))
  })
})

describe('recursion', () => {
  test.each(Object.entries(RECURSIONS))('%s ends, and harms nobody', async (_id, script) => {
    const outcome = await run(script, { cpuMs: 300 })
    expect(['returned', 'memory', 'cpu', 'oversized', 'Error', ...REFUSED]).toContain(endOf(outcome))
  })
})

describe('a flood', () => {
  test.each(Object.entries(FLOODS))('%s stays within what a run may say', async (_id, script) => {
    const host = quickHost()
    const outcome = await run(script, { cpuMs: 300, wallMs: 3_000 }, host)
    expect(endOf(outcome)).not.toBe('lost')
    expect(host.lines.length).toBeLessThanOrEqual(LIMITS.logLines)
    expect(Buffer.byteLength(host.lines.join(''))).toBeLessThan(LIMITS.logBytes + 32_000)
    expect(host.longest).toBeLessThanOrEqual(4_000_000)
    expect(JSON.stringify(outcome.end).length).toBeLessThan(LIMITS.resultBytes + 64_000)
  })

  test('fld-05: a line is cut before it is sent, and fld-01: lines are counted there', async () => {
    const host = quickHost()
    await run("log.info('x'.repeat(2e7))", {}, host)
    expect(host.lines).toHaveLength(1)
    expect(host.lines[0]?.length).toBeLessThan(10_000)
    const { logsCut } = await run("for (let i = 0; i < 5000; i++) log.info('x'.repeat(10000))")
    expect(logsCut).toBeGreaterThan(4_000)
  })

  test('fld-07: a parameter that is too long is refused where it is', async () => {
    const host = quickHost()
    const { end } = await run(FLOODS['fld-07'] ?? '', {}, host)
    expect(end).toMatchObject({ end: 'threw', error: { name: 'RangeError', code: 'ARGUMENT_INVALID' } })
    expect(host.longest).toBe(0)
  })
})

describe('what is not there, or short', () => {
  test.each<[string, string]>([
    ['cpu-09', 'returned'],
    ['cpu-12', 'ReferenceError'],
    ['mem-07', 'TypeError'],
    ['was-02', 'ReferenceError'],
    ['cpu-regex-plain', 'returned']
  ])('%s ends as %s', async (id, expected) => {
    expect(endOf(await run(SHORT[id] ?? ''))).toBe(expected)
  })

  test.each([
    'new ArrayBuffer(8, { maxByteLength: 1e9 })',
    'new (new Uint8Array(8).buffer.constructor)(8, { maxByteLength: 1e9 })',
    'new (class extends ArrayBuffer {})(8, { maxByteLength: 1e9 })',
    'Reflect.construct(ArrayBuffer, [8, { maxByteLength: 1e9 }])',
    'Reflect.construct(ArrayBuffer, [8, { maxByteLength: 1e9 }], Object)',
    'Reflect.construct(Object.getPrototypeOf(class extends ArrayBuffer {}), [8, { maxByteLength: 1e9 }])',
    'new ArrayBuffer(8, { maxByteLength: 1e9 }).slice(0)',
    'new ArrayBuffer(8, { maxByteLength: 1e9 }).transfer()',
    'new (Object.getOwnPropertyDescriptor(ArrayBuffer.prototype, "constructor").value)(8, { maxByteLength: 1e9 })',
    'new ArrayBuffer[Symbol.species](8, { maxByteLength: 1e9 })',
    'new (ArrayBuffer.bind(null, 8, { maxByteLength: 1e9 }))()'
  ])('%s can not grow', async made => {
    const { end } = await run(
      `const b = ${made}; return [typeof b.resize, b.resizable ?? null, b.maxByteLength ?? null]`
    )
    expect(end).toMatchObject({ value: ['undefined', null, null] })
  })

  test('no script can have memory swept', async () => {
    const { end } = await run("return [typeof gc, 'gc' in globalThis]")
    expect(end).toMatchObject({ value: ['undefined', false] })
  })

  test('buffers work as ever', async () => {
    const script = `class B extends ArrayBuffer {}
      const b = new ArrayBuffer(4), u = new Uint8Array(b); u.set([1, 2, 3, 4])
      return [ArrayBuffer.name, b instanceof ArrayBuffer, b.constructor === ArrayBuffer, ArrayBuffer.isView(u),
        new B(3).byteLength, new B(1) instanceof B, [...new Uint8Array(b.slice(1, 3))], String(b), b.transfer(2).byteLength]`
    const { end } = await run(script)
    expect(end).toMatchObject({
      value: ['ArrayBuffer', true, true, true, 3, true, [2, 3], '[object ArrayBuffer]', 2]
    })
  })
})

describe('the processor’s clock', () => {
  test('cpu-14: what is under the limit runs, and is measured', async () => {
    const script = 'const t = Date.now(); let n = 0; while (Date.now() - t < 200) n++; return n'
    const { end, cpuMs } = await run(script, { cpuMs: 5_000 })
    expect(end.end).toBe('returned')
    expect(cpuMs).toBeGreaterThan(10)
    expect(cpuMs).toBeLessThan(2_000)
  })

  test('counts what is computed for a script outside of it', async () => {
    const { end, cpuMs } = await run("const s = 'x'.repeat(2e6); for (;;) crypto.sha256(s)", { cpuMs: 200 })
    expect(end.end).toBe('cpu')
    expect(cpuMs).toBeGreaterThanOrEqual(200)
  })
})

describe('floods of a real host', () => {
  let shop: TestShop
  beforeAll(async () => {
    const [sqlite] = engines
    if (sqlite) shop = await openTestShop(sqlite)
  })
  afterAll(() => shop.close())

  test('fld-04: calls end by their number, whatever the script makes of the error', async () => {
    const { error, calls } = await runHook({ shop, script: FLOODS['fld-04'] ?? '' })
    expect(error?.code).toBe('HOOK_DB_LIMIT')
    expect(calls.length).toBeLessThanOrEqual(100)
    const caught = await runHook({
      shop,
      script: 'for (let i = 0; i < 500; i++) try { db.select("SELECT 1") } catch {}'
    })
    expect(caught.error?.code).toBe('HOOK_DB_LIMIT')
  })

  test('fld-03: calls of one run come one after the other, awaited or not', async () => {
    const script = `const p = []; for (let i = 0; i < 5000; i++) p.push(db.select('select sleep(1)')); await Promise.allSettled(p)`
    const { error } = await runHook({ shop, script })
    expect(error?.message).toContain('DB_DENIED')
  })
})
