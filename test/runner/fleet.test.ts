import { readFileSync } from 'node:fs'
import { getPriority } from 'node:os'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readConfig } from '../../runtime/config.ts'
import type { Limits } from '../../runtime/model.ts'
import { createFleet, type Fleet } from '../../runtime/runner/fleet.ts'
import type { RunHost, RunOutcome } from '../../runtime/runner/run.ts'
import { eventually } from '../support/sandhook.ts'

const LIMITS: Limits = { ...readConfig({}).limits.defaults, concurrency: 100, wallMs: 20_000, cpuMs: 500 }
const quietly = pino({ level: 'silent' })
let fleet: Fleet

beforeAll(() => {
  fleet = createFleet({ runners: 1, concurrency: 32, logger: quietly })
})
afterAll(() => fleet.close())

/** Answers `db.query` at once and `http.send` when the test says so. */
function slowHost() {
  const { promise, resolve } = Promise.withResolvers<void>()
  const waiting: string[] = []
  const host: RunHost = {
    async call(method) {
      waiting.push(method)
      if (method === 'http.send') await promise
      return JSON.stringify({ value: method === 'db.query' ? [] : { status: 200, headers: {}, text: '{}' } })
    },
    log() {}
  }
  return { host, waiting, answer: resolve }
}

interface Options {
  limits?: Partial<Limits>
  host?: RunHost
  alone?: boolean
  signal?: AbortSignal
}

const run = (script: string, { limits = {}, host = slowHost().host, alone = false, signal }: Options = {}) =>
  fleet.run(
    {
      ...{ pool: script, name: '/custom/test', script, limits: { ...LIMITS, ...limits } },
      input: { payload: {}, env: {}, globals: {} }
    },
    host,
    { alone, signal: signal ?? new AbortController().signal }
  )

const ends = async (outcome: Promise<RunOutcome>) => (await outcome).end.end

describe('a run that goes on for too long', () => {
  test('ends by its wall clock while it waits for the host, and its neighbour is not disturbed', async () => {
    const { host, waiting, answer } = slowHost()
    const neighbour = run("http.get('http://x'); return 'neighbour'", { host })
    await eventually(async () => waiting.length === 1)
    const outcome = await run("http.get('http://x')", { limits: { wallMs: 200 }, host: slowHost().host })
    expect(outcome).toMatchObject({ end: { end: 'timeout' }, wedged: false })
    answer()
    expect((await neighbour).end).toEqual({ end: 'returned', value: 'neighbour' })
  })

  test('is stopped when its caller gives it up', async () => {
    const abort = new AbortController()
    const { host, waiting } = slowHost()
    const outcome = run("http.get('http://x')", { host, signal: abort.signal })
    await eventually(async () => waiting.length === 1)
    abort.abort()
    expect(await ends(outcome)).toBe('stopped')
  })

  test('that V8 cannot end is killed with its runner; neighbours are lost without suspicion; all goes on', async () => {
    const { host, waiting } = slowHost()
    const neighbour = run("http.get('http://x')", { host })
    await eventually(async () => waiting.length === 1)
    const wedge = 'Promise.reject(new Proxy({}, { get() { for (;;); } })); return 1'
    expect(await run(wedge, { limits: { wallMs: 600 } })).toMatchObject({ end: { end: 'timeout' }, wedged: true })
    expect((await neighbour).end).toEqual({ end: 'lost', suspect: false })
    expect(await ends(run('return 1'))).toBe('returned')
  })
})

describe('a memory bomb', () => {
  test.each<[string, string, string[]]>([
    ['of objects', 'const a = []; for (;;) a.push(new Array(1000).fill({}))', ['memory']],
    ['of text', "let s = 'x'; for (;;) s += s + Math.random(); return s.length", ['threw', 'memory']],
    ['in one call', 'return new Array(1e8).fill(0).length', ['memory', 'cpu']]
  ])('%s ends by a named limit, and the next run goes on', async (_what, script, expected) => {
    const outcome = await run(script, { limits: { cpuMs: 20_000 } })
    expect(expected).toContain(outcome.end.end)
    expect(await ends(run('return 1'))).toBe('returned')
  })
})

describe('a runner that dies', () => {
  test('is replaced; runs that were executing are suspects, those that waited are not', async () => {
    const { host, waiting } = slowHost()
    const waits = run("http.get('http://x')", { host })
    await eventually(async () => waiting.length === 1)
    const spins = run('const end = Date.now() + 2000; while (Date.now() < end); return 1', {
      limits: { cpuMs: 20_000 }
    })
    await eventually(async () => fleet.inFlight === 2)
    for (const pid of childrenOfThisProcess()) process.kill(pid, 'SIGKILL')
    expect((await waits).end).toEqual({ end: 'lost', suspect: false })
    expect((await spins).end).toEqual({ end: 'lost', suspect: true })
    expect(await ends(run('return 1'))).toBe('returned')
  })
})

test('a hook that proves heavy goes on apart from others, with the runs that waited behind the first', async () => {
  const own = createFleet({ runners: 1, concurrency: 32, logger: quietly })
  await eventually(async () => own.health.up === 1)
  const before = new Set(childrenOfThisProcess())
  const script = 'const end = Date.now() + 300; while (Date.now() < end); return 1'
  const request = {
    ...{ pool: 'heavy', name: '/custom/heavy', script, limits: { ...LIMITS, cpuMs: 20_000 } },
    input: { payload: {}, env: {}, globals: {} }
  }
  const options = { alone: false, signal: new AbortController().signal }
  const outcomes = Array.from({ length: 20 }, () => own.run(request, slowHost().host, options))
  for (const { end } of await Promise.all(outcomes)) expect(end).toEqual({ end: 'returned', value: 1 })
  // The other fleet may be replacing what the tests above have killed.
  const apart = childrenOfThisProcess().filter(pid => !before.has(pid) && getPriority(pid) > getPriority() + 10)
  expect(apart).toHaveLength(1)
  own.close()
})

describe('quarantine', () => {
  test('runs one after the other, away from all others', async () => {
    const { host, waiting, answer } = slowHost()
    const first = run("http.get('http://x'); return 'first'", { host, alone: true })
    const second = run("db.select('x'); return 'second'", { host, alone: true })
    await eventually(async () => waiting.length === 1)
    expect(await ends(run('return 1'))).toBe('returned')
    expect(waiting).toEqual(['http.send'])
    answer()
    expect((await first).end).toMatchObject({ value: 'first' })
    expect((await second).end).toMatchObject({ value: 'second' })
  })
})

describe('many runs at once', () => {
  test('wait for a place when all are taken, and each gets its own answer', async () => {
    const outcomes = await Promise.all(Array.from({ length: 200 }, (_, i) => run(`return ${i}`)))
    expect(outcomes.map(({ end }) => (end.end === 'returned' ? end.value : end))).toEqual(outcomes.map((_, i) => i))
  })
})

function childrenOfThisProcess(): number[] {
  const text = readFileSync(`/proc/${process.pid}/task/${process.pid}/children`, 'utf8')
  return text.trim() === '' ? [] : text.trim().split(' ').map(Number)
}
