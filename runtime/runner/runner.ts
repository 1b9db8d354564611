import { v7 as uuid } from 'uuid'
import type { Limits } from '../model.ts'
import { type CheckResult, type FromRunner, maxCallLength, openChannel, type ToRunner } from '../sandbox/wire.ts'
import { createChecks } from './checks.ts'
import { isHeader, readEnd } from './frames.ts'
import type { Gate } from './gate.ts'
import type { RunnerProcess } from './launch.ts'
import { residentBytes, watchMemory } from './memory.ts'
import type { RunHost, RunOutcome, RunRequest } from './run.ts'

interface RunUnderWay {
  pool: string
  host: RunHost
  limits: Limits
  resolve: (outcome: RunOutcome | null) => void
  wall: NodeJS.Timeout | undefined
  /** Why it was told to stop; null: it was not. */
  stopping: 'timeout' | 'stopped' | null
  /** `held`: its turn to begin has not come. `waiting`: for an answer of ours, so it executes nothing. */
  state: 'held' | 'executing' | 'waiting'
  logLines: number
  /** How often it began to execute, or went on after a call. */
  turns: number
}

export interface RunnerNeeds {
  process: RunnerProcess
  /** What the process may hold beyond its runs' limits, in bytes. */
  headroom: number
  gate: Gate
  /** Told how each run ended, and what its turns took of the processor, before another one begins in its place. */
  onEnd: (pool: string, outcome: RunOutcome, turnMs: number) => void
  /** Told once, when the process is gone. */
  onExit: () => void
  /** What the process said or did that it should not. */
  onComplaint: (text: string) => void
}

export interface Runner {
  readonly pid: number | undefined
  /** Resolves when it can take runs; rejects when it dies before. */
  readonly ready: Promise<void>
  readonly inFlight: number
  /** False once it was killed or is gone: it takes no more runs. */
  readonly usable: boolean
  /**
   * Never rejects. Aborting `signal` ends the run as `stopped`. Answers null when the run should begin elsewhere: this
   * process takes no more, or `belongs` says so as its turn comes.
   */
  run: (
    request: RunRequest,
    host: RunHost,
    options: { signal: AbortSignal; belongs: () => boolean }
  ) => Promise<RunOutcome | null>
  /** Never rejects; a script that can't be compiled in time costs the process. */
  check: (script: string) => Promise<CheckResult>
  kill: () => void
}

const MB = 1024 * 1024
/** By itself: all others were ended. */
const ENDED: ReadonlySet<string> = new Set(['returned', 'exited', 'threw'])
/** How long a process may take to start: a second on a busy machine, more than this only when it never will. */
const START_MS = 30_000
/** How long an isolate may take to end when told, before its whole process is killed. */
const GRACE_MS = 250
/** What a process without runs may still hold before another one takes its place. */
const MOST_IDLE_BYTES = 512 * MB
/** A result is read, searched for secrets, kept with its run and its execution, and answered: as so many parameters. */
const RESULT_WORK = 3
/** What a line of log may have in characters; the facade cuts it shorter. */
const MAX_LOG_LINE = 64 * 1024

/** What a run was told to stop for is how it ended, also when others took the process along meanwhile. */
function endOf(stopping: RunUnderWay['stopping'], how: RunOutcome['end']): RunOutcome['end'] {
  if (stopping === 'timeout' && how.end !== 'returned') return { end: 'timeout' }
  return stopping === 'stopped' && how.end === 'lost' ? { end: 'stopped' } : how
}

/**
 * Speaks for a runner process. This side owns the wall clock and the process's memory; whatever the process does or
 * sends, every `run` ends: by its outcome, or as `lost` when the process is gone. A process that breaks the protocol is
 * killed: it is served only for runs that it was given, by the ids that only it knows, one call at a time.
 */
export function startRunner({ process, headroom, gate, onEnd, onExit, onComplaint }: RunnerNeeds): Runner {
  const runs = new Map<string, RunUnderWay>()
  const checks = createChecks({
    send: (id, script) => channel.send({ t: 'check', id, script }),
    onLate: killBlamelessly,
    onEnd: rest
  })
  const { promise: ready, resolve: nowReady, reject: neverReady } = Promise.withResolvers<void>()
  ready.catch(() => {})

  let isReady = false
  let usable = true
  const kill = () => {
    usable = false
    process.kill()
  }
  const channel = openChannel<FromRunner, ToRunner>(process.pipe, onFrame, breach)
  const memory = watchMemory({
    ...{ pid: process.pid, headroom },
    granted: () => checks.bytes + [...runs.values()].reduce((sum, { limits }) => sum + limits.memoryMb * MB, 0),
    onExceeded: killForMemory
  })
  const late = setTimeout(kill, START_MS).unref()
  process.onComplaint(onComplaint)
  process.onGone(() => {
    clearTimeout(late)
    memory.stop()
    neverReady(new Error('The runner process ended while it started.'))
    killSuspiciously()
    checks.lose()
    onExit()
  })

  function end(id: string, how: RunOutcome['end'], { cpuMs = 0, logsCut = 0, wedged = false } = {}): void {
    const run = runs.get(id)
    if (!run) return
    const outcome: RunOutcome = { end: endOf(run.stopping, how), cpuMs, logsCut, wedged }
    const turnMs = cpuMs / run.turns
    gate.note(run.pool, ENDED.has(how.end) ? turnMs : null)
    onEnd(run.pool, outcome, turnMs)
    letGo(id, run, outcome)
  }

  function letGo(id: string, run: RunUnderWay, outcome: RunOutcome | null): void {
    runs.delete(id)
    gate.leave(run.pool, id)
    clearTimeout(run.wall)
    rest()
    run.resolve(outcome)
  }

  /** When nothing is in flight: the moment to let go a process that has grown too fat. */
  function rest(): void {
    if (runs.size + checks.bytes > 0) return
    memory.stop()
    if (usable && residentBytes(process.pid) > MOST_IDLE_BYTES) kill()
  }

  /** One run must die and can only die together with the process: all others are lost through no fault of theirs. */
  function killWith(guilty: string, how: RunOutcome['end']): void {
    kill()
    end(guilty, how, { wedged: true })
    killBlamelessly()
  }

  /** The process dies of something else than its runs. */
  function killBlamelessly(): void {
    kill()
    for (const id of [...runs.keys()]) end(id, { end: 'lost', suspect: false })
  }

  /** The process dies of its runs: of those that were executing; of those that waited when none was. */
  function killSuspiciously(): void {
    kill()
    const executing = inState('executing')
    const suspects = executing.length > 0 ? executing : inState('waiting')
    for (const id of [...runs.keys()]) end(id, { end: 'lost', suspect: suspects.includes(id) })
  }

  const inState = (state: RunUnderWay['state']) => [...runs].filter(([, run]) => run.state === state).map(([id]) => id)

  function killForMemory(): void {
    const [guilty, ...others] = inState('executing')
    if (guilty !== undefined && others.length === 0) killWith(guilty, { end: 'memory' })
    else killSuspiciously()
  }

  /** A script has broken the process, or else its pipe is broken. */
  function breach(what: string): void {
    onComplaint(`sent ${what}`)
    killSuspiciously()
  }

  function stop(id: string, why: 'timeout' | 'stopped'): void {
    const run = runs.get(id)
    if (!run || run.stopping) return
    run.stopping = why
    clearTimeout(run.wall)
    if (run.state === 'held') end(id, { end: 'stopped' })
    else {
      channel.send({ t: 'stop', id })
      run.wall = setTimeout(() => killWith(id, { end: 'stopped' }), GRACE_MS)
    }
  }

  function onFrame(header: FromRunner, document: string): void {
    const wrong = usable ? heed(header, document) : null
    if (wrong !== null) breach(wrong)
  }

  /** Does what a frame asks for; answers what no runner of ours would say, or null. */
  function heed(header: FromRunner, document: string): string | null {
    if (!isHeader(header)) return 'a header that is none of ours'
    if (header.t === 'ready') return onReady()
    if (header.t === 'checked') return checks.onResult(header.id, document)
    const run = runs.get(header.id)
    if (!run || run.state === 'held') return 'word of a run that it does not have'
    if (header.t === 'log') return onLog(run, header)
    if (header.t === 'call') return onCall(run, header, document)
    if (header.t === 'done') return onDone(run, header, document)
    killWith(header.id, { end: /terminate/i.test(header.reason) ? 'cpu' : 'memory' })
    return null
  }

  function onReady(): string | null {
    if (isReady) return 'that it is ready, twice'
    isReady = true
    clearTimeout(late)
    nowReady()
    return null
  }

  function onLog(run: RunUnderWay, { at, level, message }: Extract<FromRunner, { t: 'log' }>): string | null {
    gate.charge(run.pool, message.length)
    if (++run.logLines > run.limits.logLines || message.length > MAX_LOG_LINE) return 'more log than it may'
    run.host.log({ at, level, message })
    return null
  }

  function onDone(run: RunUnderWay, header: Extract<FromRunner, { t: 'done' }>, document: string): string | null {
    const isTooLong = document.length > Math.max(2 * run.limits.resultBytes, MAX_LOG_LINE)
    const how = isTooLong ? null : readEnd(document)
    gate.charge(run.pool, RESULT_WORK * document.length)
    if (how) end(header.id, how, header)
    return how ? null : 'an end that is none'
  }

  function onCall(
    run: RunUnderWay,
    { id, n, method }: Extract<FromRunner, { t: 'call' }>,
    args: string
  ): string | null {
    if (run.state === 'waiting') return 'a call while another one is not answered'
    if (args.length > maxCallLength(run.limits)) return 'a call that is too long'
    if (run.stopping) return null
    run.state = 'waiting'
    gate.leave(run.pool, id)
    gate.pay(run.pool, args.length, async () => {
      const answer = await run.host.call(method, args)
      if (!runs.has(id)) return
      gate.enter(run.pool, id, answer.length, () => {
        run.state = 'executing'
        run.turns++
        channel.send({ t: 'answer', id, n }, answer)
      })
    })
    return null
  }

  function begin(id: string, run: RunUnderWay, { pool, name, script, limits }: RunRequest, document: string): void {
    run.state = 'executing'
    run.wall = setTimeout(() => stop(id, 'timeout'), limits.wallMs)
    channel.send({ t: 'run', id, pool, name, script, limits }, document)
  }

  return {
    pid: process.pid,
    ready,
    get inFlight() {
      return runs.size
    },
    get usable() {
      return usable
    },
    kill,
    async run(request, host, { signal, belongs }) {
      const { pool, input, limits } = request
      const id = uuid()
      // Before it waits its turn: what can't be written fails its own caller, and not whoever leaves later.
      const document = JSON.stringify(input)
      // Its first look kills a process that has grown too fat while nobody looked.
      if (usable) memory.start()
      if (!usable) return null
      const onAbort = () => stop(id, 'stopped')
      const outcome = new Promise<RunOutcome | null>(resolve => {
        const begun = { wall: undefined, stopping: null, state: 'held', logLines: 0, turns: 1 } as const
        const run: RunUnderWay = { ...begun, pool, host, limits, resolve }
        runs.set(id, run)
        signal.addEventListener('abort', onAbort, { once: true })
        if (signal.aborted) return stop(id, 'stopped')
        gate.enter(pool, id, document.length, () =>
          belongs() ? begin(id, run, request, document) : letGo(id, run, null)
        )
      })
      // The signal outlives its runs: those of a whole node hang on it.
      return outcome.finally(() => signal.removeEventListener('abort', onAbort))
    },
    check(script) {
      if (usable) memory.start()
      const result = checks.start(script)
      if (!usable) checks.lose()
      return result
    }
  }
}
