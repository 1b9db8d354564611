/**
 * What a quiet hook notices of hostile ones: for each kind of attack, how long its callers wait alone and beside it.
 * Rounds of both alternate, because machines drift. The attacker, a process of its own, has eight calls of one hook under
 * way all the time; the quiet hook reads one row, 40 times a second, over HTTP. It does not measure: an attacker with many
 * hooks, many nodes.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { installServers } from '../support/packages.ts'
import { eventually, type SandhookProcess, startSandhookProcess } from '../support/sandhook.ts'
import { startDatabase } from './database.ts'
import { file, makeHook, memoryOf, say } from './measure.ts'

const ATTACKS: Record<string, string> = {
  'no attack, but as many calls': 'return 1',
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

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 2)
const PERIOD_MS = 25
const ROUND_MS = 10_000
const IN_FLIGHT = 8

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

/** Has a hook called from another process, many times at once, until the promised function is called and done. */
function attack(sandhook: SandhookProcess, path: string): () => Promise<void> {
  const child = fork(file('attacker.ts'), [sandhook.url + path, sandhook.token, String(IN_FLIGHT)])
  const ended = once(child, 'exit')
  return async () => {
    child.send('end')
    await ended
  }
}

/** The same beside an attack; answers how many processes were started meanwhile. */
async function callBeside(sandhook: SandhookProcess, path: string, waits: Waits): Promise<number> {
  const seen = new Set(sandhook.runners())
  const before = seen.size
  const look = setInterval(() => {
    for (const pid of sandhook.runners()) seen.add(pid)
  }, 20)
  const endAttack = attack(sandhook, path)
  await callQuietly(sandhook, waits)
  await endAttack()
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
    started += await callBeside(sandhook, path, beside)
  }
  const [quiet, disturbed] = [percentile(alone.ms, 0.99), percentile(beside.ms, 0.99)]
  const shown = ({ ms }: Waits) => `${percentile(ms, 0.5).toFixed(1)} / ${percentile(ms, 0.99).toFixed(1)}`
  say(
    `${name.padEnd(30)} alone ${shown(alone).padEnd(14)} beside ${shown(beside).padEnd(14)} p99 × ${(disturbed / quiet).toFixed(2)}` +
      `   processes started ${started}, calls failed ${beside.failures} of ${beside.ms.length}, memory ${memoryOf(sandhook)} MB`
  )
}

/** On the embedded database, whose work is done in the main process, and on a server of its own. */
const ENGINES: Record<string, () => Promise<{ url: string; stop: () => Promise<void> }>> = {
  async sqlite() {
    const folder = mkdtempSync(join(tmpdir(), 'sandhook-bench-'))
    return { url: `sqlite:${join(folder, 'a.db')}`, stop: async () => rmSync(folder, { recursive: true }) }
  },
  mariadb: () => startDatabase('neighbours')
}

async function measureOn(engine: string, only: string): Promise<void> {
  const database = await ENGINES[engine]?.()
  if (!database) throw new Error(`There is no engine ${engine}; there are ${Object.keys(ENGINES).join(' and ')}.`)
  const sandhook = await startSandhookProcess({ DATABASE_URL: database.url, SANDHOOK_DEMO: 'off' })
  try {
    await makeHook(sandhook, '/custom/quiet', 'BENCH_QUIET', "return db.selectValue('SELECT 1')")
    await eventually(async () => (await sandhook.call('GET', '/custom/quiet')).status === 200)
    await callQuietly(sandhook, { ms: [], failures: 0 })
    say(`milliseconds that callers of a quiet hook wait, p50 / p99, on ${engine}:`)
    for (const [name, script] of Object.entries(ATTACKS)) if (name.includes(only)) await measure(sandhook, name, script)
  } finally {
    await sandhook.end('SIGTERM')
    await database.stop()
  }
}

installServers()
const [engines = 'mariadb,sqlite', only = ''] = process.argv.slice(2)
for (const engine of engines.split(',')) await measureOn(engine, only)
