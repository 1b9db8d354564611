import { duplexPair } from 'node:stream'
import { describe, expect, test, vi } from 'vitest'
import { readConfig } from '../../runtime/config.ts'
import type { Limits, LogLine } from '../../runtime/model.ts'
import { createGate, type Gate } from '../../runtime/runner/gate.ts'
import type { RunnerProcess } from '../../runtime/runner/launch.ts'
import type { RunHost, RunOutcome } from '../../runtime/runner/run.ts'
import { startRunner } from '../../runtime/runner/runner.ts'

const LIMITS: Limits = { ...readConfig({}).limits.defaults, concurrency: 100 }

/** A runner process of the test's own making, with two runs in it: it says what the test says. */
async function startBroken({ gate = createGate(1), ...needs }: { gate?: Gate; pid?: number; headroom?: number } = {}) {
  const [pipe, far] = duplexPair()
  let gone = () => {}
  const told: string[] = []
  const process: RunnerProcess = {
    pid: needs.pid,
    pipe,
    kill: () => setImmediate(() => gone()),
    onComplaint() {},
    onGone: listener => {
      gone = listener
    }
  }
  const runner = startRunner({
    ...{ process, headroom: needs.headroom ?? 1e12, gate, onEnd() {}, onExit() {} },
    onComplaint: text => void told.push(text)
  })
  const received: { id: string; t: string }[] = []
  far.setEncoding('utf8').on('data', (chunk: string) => {
    for (const line of chunk.split('\n')) if (line !== '') received.push(JSON.parse(line.split('\t')[0] ?? ''))
  })
  const served: { who: string; method: string; args: string }[] = []
  const logs: LogLine[] = []
  const hostOf = (who: string): RunHost => ({
    async call(method, args) {
      served.push({ who, method, args })
      return '{"value":null}'
    },
    log: line => void logs.push(line)
  })
  const abort = new AbortController()
  const run = (who: string) =>
    runner.run(
      { pool: who, name: who, script: '', input: { payload: {}, env: {}, globals: {} }, limits: LIMITS },
      hostOf(who),
      { signal: abort.signal, belongs: () => true }
    )
  const outcomes = [run('a'), run('b')] as [Promise<RunOutcome>, Promise<RunOutcome>]
  const settle = () => new Promise(resolve => setImmediate(() => setImmediate(() => setImmediate(resolve))))
  await settle()
  const [a, b] = received.filter(({ t }) => t === 'run').map(({ id }) => id) as [string, string]
  const say = async (bytes: string | Buffer) => {
    far.write(bytes)
    await settle()
  }
  return { runner, outcomes, served, logs, told, a, b, say, abort, close: () => gone() }
}

const frame = (header: unknown, document?: unknown): string =>
  `${JSON.stringify(header)}${document === undefined ? '' : `\t${JSON.stringify(document)}`}\n`

const VALUES: unknown[] = [
  ...[null, true, 0, -1, 1.5, 1e308, 2 ** 53, '', 'x', '__proto__', 'constructor', [], {}, [[]], { length: 1 }],
  ...[{ toString: 'x' }, { __proto__: null }, '\u0000', '\ud800', '9'.repeat(400), Array(500).fill({})]
]

const DEEP = `${'['.repeat(100_000)}${']'.repeat(100_000)}`

describe('a runner that a script has broken', () => {
  test.each<[string, (a: string) => string | Buffer]>([
    ['noise', () => Buffer.from([0, 255, 10, 9, 10])],
    ['text', () => 'hello\n'],
    ['a number', () => '5\n'],
    ['null', () => 'null\n'],
    ['an array', () => '[]\n'],
    ['an unknown kind', () => frame({ t: 'exec', id: 'x' })],
    ['a kind of the prototype', () => frame({ t: 'constructor' })],
    ['a second greeting', () => frame({ t: 'ready' }) + frame({ t: 'ready' })],
    ['a call for a run that is not its own', () => frame({ t: 'call', id: 'other', n: 1, method: 'db.query' }, [])],
    ['a call without a number', a => frame({ t: 'call', id: a, method: 'db.query' }, [])],
    ['a call whose method is no text', a => frame({ t: 'call', id: a, n: 1, method: { x: 1 } }, [])],
    ['two calls at once', a => frame({ t: 'call', id: a, n: 1, method: 'x' }, []).repeat(2)],
    ['a call of 5 MB', a => frame({ t: 'call', id: a, n: 1, method: 'x' }, ['x'.repeat(5e6)])],
    ['a line that never ends', () => 'x'.repeat(65 * 1024 * 1024)],
    ['an end that is no JSON', a => `${JSON.stringify({ t: 'done', id: a, cpuMs: 1, logsCut: 0 })}\t{"end":\n`],
    ['an end without a document', a => frame({ t: 'done', id: a, cpuMs: 1, logsCut: 0 })],
    ['an unknown end', a => frame({ t: 'done', id: a, cpuMs: 1, logsCut: 0 }, { end: 'won' })],
    ['an end of the prototype', a => frame({ t: 'done', id: a, cpuMs: 1, logsCut: 0 }, { end: 'toString' })],
    ['an error without a stack', a => frame({ t: 'done', id: a, cpuMs: 1, logsCut: 0 }, { end: 'threw', error: {} })],
    [
      'an answer with headers that are none',
      a => frame({ t: 'done', id: a, cpuMs: 1, logsCut: 0 }, { end: 'returned', response: { status: 200, headers: 5 } })
    ],
    ['time that is endless', a => `{"t":"done","id":"${a}","cpuMs":1e999,"logsCut":0}\t{"end":"cpu"}\n`],
    [
      'a result that is too long',
      a => frame({ t: 'done', id: a, cpuMs: 1, logsCut: 0 }, { end: 'returned', value: 'x'.repeat(600_000) })
    ],
    [
      'a result that is nested too deep',
      a =>
        `${JSON.stringify({ t: 'done', id: a, cpuMs: 1, logsCut: 0 })}\t{"end":"returned","value":${'['.repeat(300_000)}${']'.repeat(300_000)}}\n`
    ],
    ['two ends', a => frame({ t: 'done', id: a, cpuMs: 1, logsCut: 0 }, { end: 'cpu' }).repeat(2)],
    ['log of a level that is none', a => frame({ t: 'log', id: a, at: Date.now(), level: 'loud', message: 'x' })],
    ['log of another age', a => frame({ t: 'log', id: a, at: 1e300, level: 'info', message: 'x' })],
    ['log without an end', a => frame({ t: 'log', id: a, at: Date.now(), level: 'info', message: 'x' }).repeat(1_001)],
    ['a line of log of 1 MB', a => frame({ t: 'log', id: a, at: Date.now(), level: 'info', message: 'x'.repeat(1e6) })],
    ['a check that nobody asked for', () => frame({ t: 'checked', id: 'x' }, { ok: true, compiled: null })],
    ['a header that is nested deep', () => `{"t":${DEEP}}\n`]
  ])('by %s is killed, and its runs end', async (_what, say) => {
    const broken = await startBroken()
    await broken.say(say(broken.a))
    expect(broken.runner.usable).toBe(false)
    for (const outcome of broken.outcomes) expect((await outcome).end.end).toMatch(/^(lost|cpu)$/)
    expect(broken.told.join()).toMatch(/^sent /)
    const before = broken.served.length
    await broken.say(frame({ t: 'call', id: broken.b, n: 7, method: 'db.change' }, ['UPDATE']))
    expect(broken.served.length).toBe(before)
  })

  test('is served for a run only while that goes on, and as that run', async () => {
    const broken = await startBroken()
    await broken.say(frame({ t: 'call', id: broken.a, n: 1, method: 'one' }, [1]))
    await broken.say(frame({ t: 'call', id: broken.b, n: 1, method: 'two' }, [2]))
    expect(broken.served).toEqual([
      { who: 'a', method: 'one', args: '[1]' },
      { who: 'b', method: 'two', args: '[2]' }
    ])
    await broken.say(frame({ t: 'done', id: broken.a, cpuMs: 1, logsCut: 0 }, { end: 'returned', value: 1 }))
    await broken.say(frame({ t: 'call', id: broken.a, n: 2, method: 'three' }, []))
    expect(broken.served).toHaveLength(2)
    expect((await broken.outcomes[1]).end.end).toBe('lost')
  })

  test('has its runs ended as stopped, when they were told to and none of them obeys', async () => {
    const broken = await startBroken()
    broken.abort.abort()
    for (const outcome of broken.outcomes) expect((await outcome).end).toEqual({ end: 'stopped' })
    expect(broken.runner.usable).toBe(false)
  })

  test('too fat to begin a run has it begin elsewhere, in the place that its hook still has', async () => {
    const gate = createGate(1)
    const fat = await startBroken({ gate, pid: process.pid, headroom: -1e12 })
    expect(await Promise.all(fat.outcomes)).toEqual([null, null])
    expect(fat.runner.usable).toBe(false)
    expect(await startBroken({ gate })).toMatchObject({ a: expect.any(String), b: expect.any(String) })
  })

  test('is killed when it has not started after half a minute', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const [silent, greeting] = [await startBroken(), await startBroken()]
    await greeting.say(frame({ t: 'ready' }))
    vi.advanceTimersByTime(30_000)
    vi.useRealTimers()
    expect([silent.runner.usable, greeting.runner.usable]).toEqual([false, true])
    await expect(silent.runner.ready).rejects.toThrow('ended while it started')
  })

  test('can send any bytes: 24 000 frames, mutated and of chance, and this process lives', async () => {
    const random = seeded(4)
    const pick = <T>(list: T[]): T => list[Math.floor(random() * list.length)] as T
    let sent = 0
    let killed = 0
    while (sent < 24_000) {
      const broken = await startBroken()
      const ids = [broken.a, broken.b, 'x', '']
      for (let i = 0; i < 8; i++) {
        const frames = Array.from({ length: 6 }, () => mutate(frameOf(ids, pick, random), random))
        await broken.say(Buffer.concat(frames))
        sent += frames.length
      }
      if (!broken.runner.usable) killed++
      broken.close()
      for (const outcome of await Promise.all(broken.outcomes)) expect(outcome.end.end).toBeTypeOf('string')
      expect(broken.served.every(({ who, method }) => 'ab'.includes(who) && typeof method === 'string')).toBe(true)
      expect(broken.logs.every(({ at }) => Number.isFinite(new Date(at).getTime()))).toBe(true)
    }
    expect(killed).toBeGreaterThan(100)
  })
})

/** A frame of some kind with members of some kinds. */
function frameOf(ids: string[], pick: <T>(list: T[]) => T, random: () => number): string {
  const odd = <T>(right: T): unknown => (random() < 0.1 ? pick(VALUES) : right)
  const id = odd(pick(ids))
  const error = { name: odd('E'), message: odd('m'), code: odd(''), stack: odd('s') }
  const ends = [
    { end: odd('returned'), value: pick(VALUES), response: odd({ status: odd(200), headers: odd({}) }) },
    { end: 'threw', error: odd(error) },
    { end: 'exited', code: odd(1), message: odd('x'), data: pick(VALUES) },
    { end: pick(['cpu', 'memory', 'pending', 'stopped', 'lost', 'timeout']) },
    pick(VALUES)
  ]
  return pick([
    () => frame({ t: odd('call'), id, n: odd(1), method: odd('db.query') }, odd(['SELECT 1', []])),
    () => frame({ t: 'log', id, at: odd(Date.now()), level: odd('info'), message: odd('x') }),
    () => frame({ t: 'log', id: ids[0], at: Date.now(), level: 'info', message: 'x' }),
    () => frame({ t: 'done', id, cpuMs: odd(1), logsCut: odd(0) }, pick(ends)),
    () => frame({ t: 'broken', id, reason: odd('x') }),
    () => frame({ t: 'checked', id }, odd({ ok: true, compiled: null })),
    () => frame(pick(VALUES))
  ])()
}

/** Most of them as they are; of the others some bytes are changed, doubled or gone. */
function mutate(text: string, random: () => number): Buffer {
  const bytes = Buffer.from(text)
  if (random() < 0.8) return bytes
  const at = Math.floor(random() * bytes.length)
  const cut = at + Math.floor(random() * 8)
  if (random() < 0.3) return Buffer.concat([bytes.subarray(0, at), bytes.subarray(cut)])
  if (random() < 0.5) return Buffer.concat([bytes.subarray(0, cut), bytes.subarray(at)])
  bytes[at] = Math.floor(random() * 256)
  return bytes
}

/** Numbers of chance that are the same each time (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}
