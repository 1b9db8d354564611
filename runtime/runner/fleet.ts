import type { Logger } from 'pino'
import type { CheckResult } from '../sandbox/wire.ts'
import { type RunHost, type Runner, type RunOutcome, type RunRequest, startRunner } from './runner.ts'

export interface FleetOptions {
  /** Runner processes that share the work. */
  runners: number
  /** Runs in flight per runner. */
  concurrency: number
  logger: Logger
}

export interface RunOptions {
  /** In a process of its own, with nobody beside it: for what has cost a runner before. */
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

const LOST: RunOutcome = { end: { end: 'lost', suspect: false }, cpuMs: 0, logsCut: 0, wedged: false }

/**
 * Keeps runner processes alive: `runners` at work and a warm spare that takes the place of one that dies. Runs go to
 * the least busy one; those with a bad record go, one at a time, to a quarantine runner of their own.
 */
export function createFleet({ runners, concurrency, logger }: FleetOptions): Fleet {
  const members: Member[] = []
  const waiting: (() => void)[] = []
  const listeners: (() => void)[] = []
  let quarantine: Member | null = null
  let quarantineTurn: Promise<unknown> = Promise.resolve()
  let closed = false

  function start(onGone: () => void): Member {
    const runner = startRunner({
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
      error => logger.error({ err: error }, 'A runner did not start')
    )
    return member
  }

  function enlist(): void {
    const member = start(() => {
      members.splice(members.indexOf(member), 1)
      logger.warn({ runner: member.runner.pid }, 'A runner process ended; another one takes its place')
      setTimeout(() => !closed && enlist(), member.worked ? 0 : RESTART_DELAY_MS)
    })
    members.push(member)
  }

  /** The spare is simply one member more than are at work: the least busy are chosen among the first `runners`. */
  const atWork = () => members.filter(({ up, runner }) => up && runner.usable).slice(0, runners)

  function wake(): void {
    while (waiting.length > 0 && free() > 0) waiting.shift()?.()
    for (const listener of listeners) listener()
  }

  const free = () => atWork().reduce((sum, { runner }) => sum + Math.max(0, concurrency - runner.inFlight), 0)

  /** Waits for a place, at most so long as it takes a dead runner to be replaced. */
  async function leastBusy(): Promise<Runner> {
    for (const until = Date.now() + MAX_WAIT_MS; ; ) {
      const open = atWork().filter(({ runner }) => runner.inFlight < concurrency)
      const [first, ...others] = open
      if (first) return others.reduce((a, b) => (b.runner.inFlight < a.runner.inFlight ? b : a), first).runner
      if (Date.now() >= until) throw new Error('No runner process has taken a run for a while.')
      await new Promise<void>(resolve => {
        waiting.push(resolve)
        setTimeout(resolve, until - Date.now()).unref()
      })
    }
  }

  async function isolated(): Promise<Runner> {
    quarantine = quarantine?.runner.usable ? quarantine : start(() => {})
    await quarantine.runner.ready
    return quarantine.runner
  }

  function runAlone(request: RunRequest, host: RunHost, signal: AbortSignal): Promise<RunOutcome> {
    const turn = quarantineTurn.then(async () => (await isolated()).run(request, host, signal))
    quarantineTurn = turn.catch(() => {})
    return turn.catch(() => LOST)
  }

  for (let i = 0; i < runners + 1; i++) enlist()

  return {
    get free() {
      return free()
    },
    get inFlight() {
      return members.reduce((sum, { runner }) => sum + runner.inFlight, quarantine?.runner.inFlight ?? 0)
    },
    get health() {
      return { up: atWork().length, wanted: runners }
    },
    async run(request, host, { alone, signal }) {
      if (alone) return runAlone(request, host, signal)
      const runner = await leastBusy().catch(() => null)
      if (!runner) return LOST
      const outcome = await runner.run(request, host, signal)
      wake()
      return outcome
    },
    check: async script => (await leastBusy()).check(script),
    onFree: listener => void listeners.push(listener),
    close() {
      closed = true
      for (const { runner } of members) runner.kill()
      quarantine?.runner.kill()
    }
  }
}
