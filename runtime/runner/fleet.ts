import type { Logger } from 'pino'
import type { CheckResult } from '../sandbox/wire.ts'
import { createGate } from './gate.ts'
import { confinement, launchRunner } from './launch.ts'
import { createRecords, type Place } from './records.ts'
import type { RunHost, RunOutcome, RunRequest } from './run.ts'
import { type Runner, startRunner } from './runner.ts'

export interface FleetOptions {
  /** Runner processes that share the work. */
  runners: number
  /** Runs in flight per runner. */
  concurrency: number
  logger: Logger
}

export interface RunOptions {
  /** In a process of its own, with nobody beside it: for an execution that may have cost a runner before. */
  alone: boolean
  signal: AbortSignal
}

export interface Fleet {
  /** Runs that would start at once. */
  readonly free: number
  readonly inFlight: number
  /** Runner processes that are up, out of how many there should be. */
  readonly health: { up: number; wanted: number }
  /** Never rejects; waits for a place when all are taken. */
  run: (request: RunRequest, host: RunHost, options: RunOptions) => Promise<RunOutcome>
  /** Does this script compile? */
  check: (script: string) => Promise<CheckResult>
  /** Told whenever a place falls free. */
  onFree: (listener: () => void) => void
  /** Kills all runners; runs in flight end as lost. */
  close: () => void
}

interface Member {
  runner: Runner
  up: boolean
  /** It was up once: its end is not a failure to start, which would only repeat itself. */
  worked: boolean
}

const RESTART_DELAY_MS = 500
const MAX_WAIT_MS = 10_000
const MB = 1024 * 1024
/** What a runner may hold beyond its runs' limits: warm isolates of many hooks, or of a few that are watched closely. */
const HEADROOM: Record<Place, number> = { shared: 256 * MB, apart: 96 * MB, alone: 96 * MB }

const LOST: RunOutcome = { end: { end: 'lost', suspect: false }, cpuMs: 0, logsCut: 0, wedged: false }

/**
 * Keeps runner processes alive: `runners` at work and a warm spare that takes the place of one that dies. Runs go to
 * the least busy one. Hooks that were a burden to others run apart from them, in a process that stands back when the
 * processor is short; those that cost a runner, in another one, one at a time.
 */
export function createFleet({ runners, concurrency, logger }: FleetOptions): Fleet {
  const members: Member[] = []
  const waiting: (() => void)[] = []
  const listeners: (() => void)[] = []
  const records = createRecords()
  const gate = createGate(runners)
  const reserved: Record<'apart' | 'alone', Member | null> = { apart: null, alone: null }
  let quarantineTurn: Promise<unknown> = Promise.resolve()
  let checkTurn: Promise<unknown> = Promise.resolve()
  let closed = false

  function start(place: Place, onGone: () => void): Member {
    const runner = startRunner({
      process: launchRunner(place),
      ...{ headroom: HEADROOM[place], gate, onEnd: records.note },
      onComplaint: text => logger.warn({ runner: runner.pid }, `A runner complained: ${text}`),
      onExit: () => {
        member.up = false
        if (!closed) onGone()
        wake()
      }
    })
    const member: Member = { runner, up: false, worked: false }
    runner.ready.then(
      () => {
        member.up = true
        member.worked = true
        wake()
      },
      error => closed || logger.error({ err: error }, 'A runner did not start')
    )
    return member
  }

  function enlist(): void {
    const member = start('shared', () => {
      members.splice(members.indexOf(member), 1)
      logger.warn({ runner: member.runner.pid }, 'A runner process ended; another one takes its place')
      setTimeout(() => !closed && enlist(), member.worked ? 0 : RESTART_DELAY_MS)
    })
    members.push(member)
  }

  /** The spare is simply one member more than are at work: the least busy are chosen among the first `runners`. */
  const atWork = () => members.filter(({ up, runner }) => up && runner.usable).slice(0, runners)

  function wake(): void {
    for (const look of waiting.splice(0)) look()
    for (const listener of listeners) listener()
  }

  const free = () => atWork().reduce((sum, { runner }) => sum + Math.max(0, concurrency - runner.inFlight), 0)

  /** The least busy runner that has a place, if any has. */
  function leastBusy(): Runner | undefined {
    const [first, ...others] = atWork().filter(({ runner }) => runner.inFlight < concurrency)
    return first && others.reduce((a, b) => (b.runner.inFlight < a.runner.inFlight ? b : a), first).runner
  }

  /** Waits for a runner, at most so long as it takes a dead one to be replaced. */
  async function comesFree(find: () => Runner | undefined): Promise<Runner> {
    for (const until = performance.now() + MAX_WAIT_MS; ; ) {
      const found = find()
      if (found) return found
      if (performance.now() >= until) throw new Error('No runner process has been free for a while.')
      await new Promise<void>(resolve => {
        waiting.push(resolve)
        setTimeout(resolve, until - performance.now()).unref()
      })
    }
  }

  /** The process for hooks with a record; it is started when there is one. */
  async function reservedFor(place: 'apart' | 'alone'): Promise<Runner> {
    const member = reserved[place]?.runner.usable ? reserved[place] : start(place, () => {})
    reserved[place] = member
    await member.runner.ready
    return member.runner
  }

  /** Nobody else can have killed a runner in which a run was alone. */
  async function runAlone(request: RunRequest, host: RunHost, signal: AbortSignal): Promise<RunOutcome | null> {
    const turn = quarantineTurn.then(async () =>
      (await reservedFor('alone')).run(request, host, { signal, belongs: () => true })
    )
    quarantineTurn = turn.catch(() => {})
    const outcome = await turn
    if (outcome?.end.end !== 'lost' || !outcome.end.suspect) return outcome
    const proven = { ...outcome, wedged: true }
    records.note(request.pool, proven, 0)
    return proven
  }

  /** What a hook's first runs come to may send those behind them elsewhere, as may a process that takes no more. */
  async function perform(request: RunRequest, host: RunHost, { alone, signal }: RunOptions): Promise<RunOutcome> {
    for (;;) {
      const place = alone ? 'alone' : records.placeOf(request.pool)
      const outcome = await (place === 'alone' ? runAlone(request, host, signal) : runIn(place, request, host, signal))
      if (outcome) return outcome
    }
  }

  async function runIn(place: 'shared' | 'apart', request: RunRequest, host: RunHost, signal: AbortSignal) {
    const runner = await (place === 'apart' ? reservedFor('apart') : comesFree(leastBusy))
    return runner.run(request, host, { signal, belongs: () => records.placeOf(request.pool) === place })
  }

  /** Scripts are compiled in the spare, one at a time: one that kills the compiler disturbs nobody. */
  function check(script: string): Promise<CheckResult> {
    const turn = checkTurn.then(async () => (await comesFree(spare)).check(script))
    checkTurn = turn.catch(() => {})
    return turn
  }

  const spare = () => members.filter(({ up, runner }) => up && runner.usable)[runners]?.runner

  const all = () => [...members, reserved.apart, reserved.alone].filter(member => member !== null)

  const { missing } = confinement()
  if (missing.length > 0) logger.warn(`This system does not let runner processes have: ${missing.join('; ')}.`)
  for (let i = 0; i < runners + 1; i++) enlist()

  return {
    get free() {
      return free()
    },
    get inFlight() {
      return all().reduce((sum, { runner }) => sum + runner.inFlight, 0)
    },
    get health() {
      return { up: atWork().length, wanted: runners }
    },
    async run(request, host, options) {
      const outcome = await perform(request, host, options).catch(() => LOST)
      wake()
      return outcome
    },
    check,
    onFree: listener => void listeners.push(listener),
    close() {
      closed = true
      for (const { runner } of all()) runner.kill()
    }
  }
}
