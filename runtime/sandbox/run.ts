import ivm from 'isolated-vm'
import type { LogLevel } from '../model.ts'
import { digest } from './digest.ts'
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
  cpuMs: number
  logsCut: number
}

/** A run under way. */
export interface RunHandle {
  /** `broken` (V8's reason): the isolate can't be stopped, and the process must end. */
  done: Promise<RunReport | { broken: string }>
  /** Ends it by disposing of its isolate. What V8 can't end that way, the main process ends by a signal. */
  stop: () => void
}

/**
 * Runs a script in a fresh realm of a warm isolate of its own hook. Never rejects. CPU and memory end it here; the wall
 * clock is the main process's. The isolate is kept only if the run ended by itself.
 */
export function startRun(isolates: Isolates, run: Run, host: RunHost): RunHandle {
  let current: HookIsolate | null = null
  let stopped = false
  const stop = () => {
    stopped = true
    if (current && !current.isolate.isDisposed) current.isolate.dispose()
  }
  const done = (async () => {
    const used = await isolates.take(run.pool, run.limits.memoryMb)
    current = used
    if (stopped) stop()
    const cpuBefore = used.isolate.isDisposed ? 0n : used.isolate.cpuTime
    const report = await Promise.race([
      inRealm(used, run, host).catch(error => ({ end: endOf(error, used, stopped), logsCut: 0 })),
      used.broken.then(broken => ({ broken }))
    ])
    if ('broken' in report) return report
    const { isDisposed } = used.isolate
    const cpuMs = isDisposed ? run.limits.cpuMs : Number(used.isolate.cpuTime - cpuBefore) / 1e6
    if (!isDisposed) {
      if ('clean' in report) isolates.keep(run.pool, run.limits.memoryMb, used)
      else used.isolate.dispose()
    }
    current = null
    return { end: report.end, logsCut: report.logsCut, cpuMs: Math.round(cpuMs * 1000) / 1000 }
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
  const realm = (await install.apply(
    undefined,
    [
      new ivm.Reference(async (method: string, args: string) => {
        // isolated-vm does not drain the tick queue after this callback: what we start from here would wait for the
        // loop's next turn, seconds when nothing else runs.
        await new Promise(setImmediate)
        return host.call(method, args)
      }),
      new ivm.Callback((level: LogLevel, message: string) => host.log(level, message), { ignored: true }),
      new ivm.Callback((operation: string, args: string) => digest(operation, args)),
      new ivm.ExternalCopy({ logLines, logBytes, resultBytes }).copyInto({ release: true })
    ],
    { result: { reference: true } }
  )) as ivm.Reference<Realm>
  const start = realm.getSync('start', { reference: true })
  const collect = realm.getSync('collect', { reference: true })
  const logsCut = realm.getSync('logsCut', { reference: true })
  await start.apply(undefined, [run.script, run.input], { timeout: run.limits.cpuMs })
  const end = await collect.apply(undefined, [])
  const cut = await logsCut.apply(undefined, [])
  context.release()
  return end === PENDING ? { end, logsCut: cut } : { end, logsCut: cut, clean: true }
}

/** What the facade answers when the script's promise is not settled although nothing is left that could settle it. */
const PENDING = JSON.stringify({ end: 'pending' } satisfies RunEnd)

function endOf(error: unknown, { isolate }: HookIsolate, stopped: boolean): string {
  return JSON.stringify(reasonOf(error as Error, isolate.isDisposed, stopped))
}

function reasonOf(error: Error, disposed: boolean, stopped: boolean): RunEnd {
  const message = String(error?.message)
  if (stopped) return { end: 'stopped' }
  if (/memory limit|Array buffer allocation failed/i.test(message)) return { end: 'memory' }
  if (/timed out/i.test(message)) return { end: 'cpu' }
  if (disposed) return { end: 'memory' }
  // A promise that nobody awaited was rejected.
  return { end: 'threw', error: { name: String(error?.name), message, code: '', stack: String(error?.stack) } }
}
