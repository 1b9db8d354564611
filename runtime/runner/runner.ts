import { type ChildProcess, spawn } from 'node:child_process'
import { realpathSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { v7 as uuid } from 'uuid'
import type { Limits, LogLine } from '../model.ts'
import {
  type CheckResult,
  type FromRunner,
  openChannel,
  type RunEnd,
  type RunInput,
  type ToRunner
} from '../sandbox/wire.ts'
import { watchMemory } from './memory.ts'

/** A script to be run once, in an isolate of `pool`: the same hook, owner and version. */
export interface RunRequest {
  pool: string
  name: string
  script: string
  input: RunInput
  limits: Limits
}

/** What the main process does for a run. `call` answers HostAnswer as JSON and never rejects. */
export interface RunHost {
  call: (method: string, args: string) => Promise<string>
  log: (line: LogLine) => void
}

/**
 * How a run ended. `timeout`: its wall clock was spent. `lost`: its runner died; `suspect` says that this run may have
 * killed it. `wedged`: this run had to be ended together with its runner.
 */
export interface RunOutcome {
  end: RunEnd | { end: 'timeout' } | { end: 'lost'; suspect: boolean }
  cpuMs: number
  logsCut: number
  wedged: boolean
}

interface RunUnderWay {
  host: RunHost
  limits: Limits
  resolve: (outcome: RunOutcome) => void
  wall: NodeJS.Timeout
  /** Why it was told to stop; null: it was not. */
  stopping: 'timeout' | 'stopped' | null
  /** It waits for an answer of ours, so it executes nothing. */
  waiting: boolean
}

export interface RunnerNeeds {
  /** Told once, when the process is gone. */
  onExit: (runner: Runner) => void
  /** What the process wrote to its standard error: V8's last words. */
  onComplaint: (text: string) => void
}

export interface Runner {
  readonly pid: number | undefined
  /** Resolves when it can take runs; rejects when it dies before. */
  readonly ready: Promise<void>
  readonly inFlight: number
  /** False once it was killed or is gone: it takes no more runs. */
  readonly usable: boolean
  /** Never rejects. Aborting `signal` ends the run as `stopped`. */
  run: (request: RunRequest, host: RunHost, signal: AbortSignal) => Promise<RunOutcome>
  check: (script: string) => Promise<CheckResult>
  kill: () => void
}

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
/** Where packages really lie: the folder may be a link. */
const PACKAGES = realpathSync(fileURLToPath(new URL('../../node_modules', import.meta.url)))
const ENTRY = fileURLToPath(new URL('../sandbox/process.ts', import.meta.url))
/** How long an isolate may take to end when told, before its whole process is killed. */
const GRACE_MS = 250

/** The least that Node and V8 let a process have: no files but its own code, no child processes, no sockets. */
const FLAGS = [
  ...['--no-node-snapshot', '--disable-warning=ExperimentalWarning', '--disable-warning=PERM0001'],
  ...[
    '--permission',
    '--allow-addons',
    `--allow-fs-read=${ROOT}`,
    `--allow-fs-read=${PACKAGES}`,
    '--allow-fs-read=/etc/alpine-release'
  ],
  ...['--enable-experimental-regexp-engine-on-excessive-backtracks', '--enable-sharedarraybuffer-per-context']
]

/**
 * Starts a runner process and speaks for it. This side owns the wall clock and the process's memory; whatever the
 * process does, every `run` ends: by its outcome, or as `lost` when the process is gone.
 */
export function startRunner({ onExit, onComplaint }: RunnerNeeds): Runner {
  const child = spawn(process.execPath, [...FLAGS, ENTRY], {
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    // A group of its own: Ctrl-C in a terminal is for the main process, which lets runs finish.
    detached: true,
    env: process.env.TZ === undefined ? {} : { TZ: process.env.TZ }
  })
  const runs = new Map<string, RunUnderWay>()
  const checks = new Map<string, (result: CheckResult) => void>()
  const { promise: ready, resolve: nowReady, reject: neverReady } = Promise.withResolvers<void>()
  ready.catch(() => {})

  let usable = true
  const kill = () => {
    usable = false
    child.kill('SIGKILL')
  }
  const channel = openChannel<FromRunner, ToRunner>(child.stdio[3] as Duplex, onFrame, reason => {
    onComplaint(`sent ${reason}`)
    kill()
  })
  const memory = watchMemory(child, () => limitsOf(runs.values()), killForMemory)
  relayComplaints(child, onComplaint)
  child.stdio[3]?.on('error', () => {})
  child.once('error', error => onComplaint(error.message))
  child.once('close', () => {
    usable = false
    memory.stop()
    neverReady(new Error('The runner process ended while it started.'))
    const suspects = suspectsAmong(runs)
    for (const id of [...runs.keys()]) end(id, { end: 'lost', suspect: suspects.has(id) })
    for (const settle of checks.values()) settle(CHECK_LOST)
    onExit(runner)
  })

  function end(id: string, how: RunOutcome['end'], { cpuMs = 0, logsCut = 0, wedged = false } = {}): void {
    const run = runs.get(id)
    if (!run) return
    runs.delete(id)
    clearTimeout(run.wall)
    if (runs.size === 0) memory.stop()
    const timedOut = run.stopping === 'timeout' && how.end !== 'returned'
    run.resolve({ end: timedOut ? { end: 'timeout' } : how, cpuMs, logsCut, wedged })
  }

  /** One run must die and can only die together with the process: all others are lost through no fault of theirs. */
  function killWith(guilty: string, how: RunOutcome['end']): void {
    kill()
    end(guilty, how, { wedged: true })
    for (const id of [...runs.keys()]) end(id, { end: 'lost', suspect: false })
  }

  function killForMemory(): void {
    const [only] = runs.keys()
    if (runs.size === 1 && only !== undefined) killWith(only, { end: 'memory' })
    else kill()
    for (const id of [...runs.keys()]) end(id, { end: 'lost', suspect: true })
  }

  function stop(id: string, why: 'timeout' | 'stopped'): void {
    const run = runs.get(id)
    if (!run || run.stopping) return
    run.stopping = why
    channel.send({ t: 'stop', id })
    run.wall = setTimeout(() => killWith(id, { end: 'stopped' }), GRACE_MS)
  }

  function onFrame(header: FromRunner, document: string): void {
    switch (header.t) {
      case 'ready':
        nowReady()
        break
      case 'log':
        runs.get(header.id)?.host.log({ at: header.at, level: header.level, message: header.message })
        break
      case 'call':
        relay(header.id, header.n, header.method, document)
        break
      case 'done':
        end(header.id, JSON.parse(document) as RunEnd, header)
        break
      case 'broken':
        killWith(header.id, { end: /terminate/i.test(header.reason) ? 'cpu' : 'memory' })
        break
      case 'checked':
        checks.get(header.id)?.(JSON.parse(document))
        checks.delete(header.id)
    }
  }

  function relay(id: string, n: number, method: string, args: string): void {
    const run = runs.get(id)
    if (!run || run.stopping) return
    run.waiting = true
    void run.host.call(method, args).then(answer => {
      run.waiting = false
      if (runs.has(id)) channel.send({ t: 'answer', id, n }, answer)
    })
  }

  const runner: Runner = {
    pid: child.pid,
    ready,
    get inFlight() {
      return runs.size
    },
    get usable() {
      return usable
    },
    kill,
    run(request, host, signal) {
      const { pool, name, script, input, limits } = request
      const id = uuid()
      return new Promise(resolve => {
        const wall = setTimeout(() => stop(id, 'timeout'), limits.wallMs)
        runs.set(id, { host, limits, resolve, wall, stopping: null, waiting: false })
        memory.start()
        signal.addEventListener('abort', () => stop(id, 'stopped'), { once: true })
        channel.send({ t: 'run', id, pool, name, script, limits }, JSON.stringify(input))
        if (!usable) end(id, { end: 'lost', suspect: false })
      })
    },
    check(script) {
      const id = uuid()
      return new Promise(resolve => {
        checks.set(id, resolve)
        channel.send({ t: 'check', id, script })
      })
    }
  }
  return runner
}

const CHECK_LOST: CheckResult = { ok: false, message: 'The compiler died of this script.', line: 1, column: 1 }

/** Whose doing a process's death may be: the runs that were executing; all of them when none was. */
function suspectsAmong(runs: Map<string, RunUnderWay>): Set<string> {
  const executing = [...runs].filter(([, run]) => !run.waiting)
  return new Set((executing.length > 0 ? executing : [...runs]).map(([id]) => id))
}

/** What these runs may hold, in bytes. */
function limitsOf(runs: Iterable<RunUnderWay>): number {
  let megabytes = 0
  for (const { limits } of runs) megabytes += limits.memoryMb
  return megabytes * 1024 * 1024
}

/** Passes on standard error, at most 4 KB of it a second: a script must not be able to flood our log. */
function relayComplaints(child: ChildProcess, onComplaint: (text: string) => void): void {
  let room = 4096
  const refill = setInterval(() => {
    room = 4096
  }, 1000).unref()
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    const shown = text.slice(0, room)
    room -= shown.length
    if (shown !== '') onComplaint(shown.trimEnd())
  })
  child.once('close', () => clearInterval(refill))
}
