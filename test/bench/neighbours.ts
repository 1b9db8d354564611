/**
 * What a quiet hook notices of hostile ones: for each kind of attack, how long its callers wait alone and beside it.
 * Rounds of both alternate, because machines drift. The attacker has four runs in flight all the time, of one hook; the
 * quiet hook reads one row, 40 times a second, over HTTP. It does not measure: an attacker with many hooks, many nodes.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { eventually, type SandhookProcess, startSandhookProcess } from '../support/sandhook.ts'
import { makeHook, memoryOf, say } from './measure.ts'

const ATTACKS: Record<string, string> = {
  'endless loops': 'for (;;);',
  'loops that no timer ends': 'Array.prototype.forEach.call({ length: 2 ** 53 - 1 }, () => 0)',
  'heavy, within its limits': 'const t = Date.now(); while (Date.now() - t < 400); return 1',
  'a heap that grows': 'const a = []; for (;;) a.push({ x: 1, y: [1, 2, 3] })',
  'one huge array': 'return new Array(1e8).fill(0).length',
  'memory that V8 does not count':
    "const k = []; for (;;) k.push(new Intl.DateTimeFormat('zh', { dateStyle: 'full' }))",
  'recursion in eval': "eval('()=>'.repeat(1e5) + '1')",
  'log flood': "for (;;) log.info('x'.repeat(10000))",
  'digest flood': "const s = 'x'.repeat(1e6); for (;;) crypto.md5(s)",
  'host call flood': "for (;;) try { db.select('SELECT 1') } catch {}",
  'big results': "return 'x'.repeat(250000)",
  'big parameters': "for (;;) try { db.select('SELECT ?', 'x'.repeat(1900000)) } catch {}"
}

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 3)
const PERIOD_MS = 25
const ROUND_MS = 4_000
const IN_FLIGHT = 4

const percentile = (values: number[], share: number): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length * share)] ?? Number.NaN

const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

interface Waits {
  ms: number[]
  failures: number
}

/** Calls the quiet hook at a steady pace, however long it takes, for one round. */
async function callQuietly(sandhook: SandhookProcess, waits: Waits): Promise<void> {
  const calls: Promise<void>[] = []
  for (const until = Date.now() + ROUND_MS; Date.now() < until; await sleep(PERIOD_MS)) {
    const begun = performance.now()
    const call = sandhook.call('GET', '/custom/quiet').then(({ status }) => {
      waits.ms.push(performance.now() - begun)
      if (status !== 200) waits.failures++
    })
    calls.push(call)
  }
  await Promise.all(calls)
}

/** Keeps runs of a hook in flight until `over`. */
async function attack(sandhook: SandhookProcess, path: string, over: AbortSignal): Promise<void> {
  const runs = Array.from({ length: IN_FLIGHT }, async () => {
    while (!over.aborted) await sandhook.call('GET', path)
  })
  await Promise.all(runs)
}

async function besideOf(sandhook: SandhookProcess, path: string, waits: Waits): Promise<number> {
  const over = new AbortController()
  const seen = new Set(sandhook.runners())
  const before = seen.size
  const look = setInterval(() => {
    for (const pid of sandhook.runners()) seen.add(pid)
  }, 20)
  const attacking = attack(sandhook, path, over.signal)
  await callQuietly(sandhook, waits)
  over.abort()
  await attacking
  clearInterval(look)
  return seen.size - before
}

async function measure(sandhook: SandhookProcess, name: string, script: string): Promise<void> {
  const path = `/custom/attack/${Object.keys(ATTACKS).indexOf(name)}`
  await makeHook(sandhook, path, 'BENCH_ATTACK', script)
  const alone: Waits = { ms: [], failures: 0 }
  const beside: Waits = { ms: [], failures: 0 }
  let started = 0
  for (let round = 0; round < ROUNDS; round++) {
    await callQuietly(sandhook, alone)
    started += await besideOf(sandhook, path, beside)
  }
  const [quiet, disturbed] = [percentile(alone.ms, 0.99), percentile(beside.ms, 0.99)]
  const shown = ({ ms }: Waits) => `${percentile(ms, 0.5).toFixed(1)} / ${percentile(ms, 0.99).toFixed(1)}`
  say(
    `${name.padEnd(30)} alone ${shown(alone).padEnd(14)} beside ${shown(beside).padEnd(14)} p99 × ${(disturbed / quiet).toFixed(2)}` +
      `   processes started ${started}, calls failed ${beside.failures} of ${beside.ms.length}, memory ${memoryOf(sandhook)} MB`
  )
}

const only = process.argv[2]
const folder = mkdtempSync(join(tmpdir(), 'sandhook-bench-'))
const sandhook = await startSandhookProcess({ DATABASE_URL: `sqlite:${join(folder, 'a.db')}`, SANDHOOK_DEMO: 'off' })
try {
  await makeHook(sandhook, '/custom/quiet', 'BENCH_QUIET', "return db.selectValue('SELECT 1')")
  await eventually(async () => (await sandhook.call('GET', '/custom/quiet')).status === 200)
  await callQuietly(sandhook, { ms: [], failures: 0 })
  say('milliseconds that callers of a quiet hook wait, p50 / p99:')
  for (const [name, script] of Object.entries(ATTACKS))
    if (!only || name.includes(only)) await measure(sandhook, name, script)
} finally {
  await sandhook.end('SIGTERM')
  rmSync(folder, { recursive: true })
}
