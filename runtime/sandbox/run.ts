import ivm from 'isolated-vm'
import type { LogLevel } from '../model.ts'
import type { HookIsolate, Isolates } from './isolates.ts'
import type { RunEnd, RunnerLimits } from './wire.ts'

/** A script to be run once. */
export interface Run {
  /** Which warm isolates may serve it: the same hook, version and memory. */
  pool: string
  script: string
  /** RunInput as JSON. */
  input: string
  limits: RunnerLimits
}

/** What a run may do outside its realm. Neither ever throws; `call` answers HostAnswer as JSON. */
export interface RunHost {
  call: (method: string, args: string) => Promise<string>
  log: (level: LogLevel, message: string) => void
}

export interface RunReport {
  /** RunEnd as JSON: text that came out of the realm is passed on, not parsed. */
  end: string
  logsCut: number
}

/** A run under way. */
export interface RunHandle {
  /** `broken` (V8's reason): the isolate can't be stopped, and the process must end. */
  done: Promise<RunReport | { broken: string }>
  /** Ends it by disposing of its isolate. What V8 can't end that way, the main process ends by a signal. */
  stop: (why: 'stopped' | 'cpu') => void
}

/**
 * Runs a script in a fresh realm of a warm isolate of its own hook. Never rejects. Memory ends it here; time is its
 * caller's to watch. The isolate is kept only if the run ended by itself.
 */
export function startRun(isolates: Isolates, run: Run, host: RunHost): RunHandle {
  let current: HookIsolate | null = null
  let stopped: 'stopped' | 'cpu' | null = null
  const stop = (why: 'stopped' | 'cpu') => {
    stopped ??= why
    if (current && !current.isolate.isDisposed) current.isolate.dispose()
  }
  const done = (async () => {
    const used = await isolates.take(run.pool, run.limits.memoryMb)
    current = used
    if (stopped) stop(stopped)
    const report = await Promise.race([
      inRealm(used, run, host).catch(error => ({
        end: JSON.stringify(reasonOf(error, stopped, used.isolate.isDisposed)),
        logsCut: 0
      })),
      used.broken.then(broken => ({ broken }))
    ])
    if ('broken' in report) return report
    if ('clean' in report) isolates.keep(run.pool, run.limits.memoryMb, used)
    else if (!used.isolate.isDisposed) used.isolate.dispose()
    return { end: report.end, logsCut: report.logsCut }
  })()
  return { done, stop }
}

/** What the facade's installation gives back. */
interface Realm {
  start: (script: string, input: string) => void
  collect: () => string
  logsCut: () => number
}

async function inRealm({ isolate, facade }: HookIsolate, run: Run, host: RunHost) {
  const context = await isolate.createContext()
  const install = await facade.run(context, { reference: true })
  const { logLines, logBytes, resultBytes } = run.limits
  const log = boundedLog(host.log, run.limits)
  const realm = (await install.apply(
    undefined,
    [
      new ivm.Reference(async (method: string, args: string) => {
        // isolated-vm does not drain the tick queue after this callback: what we start from here would wait for the
        // loop's next turn, seconds when nothing else runs.
        await new Promise(setImmediate)
        return host.call(method, args)
      }),
      new ivm.Callback(log.write, { ignored: true }),
      new ivm.ExternalCopy({ logLines, logBytes, resultBytes }).copyInto({ release: true })
    ],
    { result: { reference: true } }
  )) as ivm.Reference<Realm>
  const start = realm.getSync('start', { reference: true })
  const collect = realm.getSync('collect', { reference: true })
  const logsCut = realm.getSync('logsCut', { reference: true })
  await start.apply(undefined, [run.script, run.input])
  const end = boundedEnd(await collect.apply(undefined, []), resultBytes)
  const cut = await logsCut.apply(undefined, [])
  context.release()
  const report = { end, logsCut: cut + log.cut() }
  return end === PENDING ? report : { ...report, clean: true }
}

/** What the facade answers when the script's promise is not settled although nothing is left that could settle it. */
const PENDING = JSON.stringify({ end: 'pending' } satisfies RunEnd)

/** The realm counts characters; bytes are counted here, where no script is. */
function boundedLog(write: RunHost['log'], { logLines, logBytes }: RunnerLimits) {
  let lines = 0
  let bytes = 0
  let cut = 0
  return {
    cut: () => cut,
    write(level: LogLevel, message: string) {
      if (lines >= logLines || bytes >= logBytes) cut++
      else {
        lines++
        bytes += Buffer.byteLength(message)
        write(level, message)
      }
    }
  }
}

/** Room for what is around a result: its envelope, an answer's headers. */
const AROUND = 4096
/** How the facade begins the end of a run that threw: an error is cut to a length of its own. */
const THREW = '{"end":"threw"'

function boundedEnd(end: string, resultBytes: number): string {
  const bytes = Buffer.byteLength(end)
  if (bytes <= resultBytes + AROUND || end.startsWith(THREW)) return end
  return JSON.stringify({ end: 'oversized', bytes } satisfies RunEnd)
}

/** Characters of an error's text. */
const MAX_TEXT = 8000

/** Why a run was broken off: what we know comes before what the error says, which may be the script's own words. */
function reasonOf(error: unknown, stopped: 'stopped' | 'cpu' | null, disposed: boolean): RunEnd {
  if (stopped) return { end: stopped }
  if (disposed) return { end: 'memory' }
  const { name = 'Error', message = error, stack = '' } = Object(error)
  // A promise that nobody awaited was rejected.
  const text = (value: unknown) => String(value).slice(0, MAX_TEXT)
  return { end: 'threw', error: { name: text(name), message: text(message), code: '', stack: text(stack) } }
}
