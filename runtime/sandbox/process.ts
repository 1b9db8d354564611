/**
 * The runner process: runs scripts and nothing else. Its only way out is the pipe at descriptor 3; it holds no
 * connection, no credential but those granted to a run, and the main process may kill it at any moment.
 */
import { Socket } from 'node:net'
import { checkScript } from './check.ts'
import { digest } from './digest.ts'
import { readFacade } from './facade.ts'
import { createIsolates } from './isolates.ts'
import { createProcessorClock } from './processor-clock.ts'
import { type RunHandle, startRun } from './run.ts'
import { createSweeper } from './sweep.ts'
import { type FromRunner, type HostAnswer, maxCallLength, openChannel, type ToRunner } from './wire.ts'

interface RunUnderWay {
  handle: RunHandle
  answers: Map<number, (json: string) => void>
}

const pipe = new Socket({ fd: 3 })
const runs = new Map<string, RunUnderWay>()

const channel = openChannel<ToRunner, FromRunner>(pipe, onFrame, endProcess)
pipe.on('close', endProcess)
pipe.on('error', endProcess)

const isolates = createIsolates(readFacade())
const metered = createProcessorClock()
const sweep = createSweeper()

// Signals to the whole group, from a terminal or a service manager, are for the main process, which lets runs finish.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})

function onFrame(header: ToRunner, document: string): void {
  switch (header.t) {
    case 'run':
      void perform(header, document)
      return
    case 'answer':
      runs.get(header.id)?.answers.get(header.n)?.(document)
      sweep(document.length)
      return
    case 'stop':
      runs.get(header.id)?.handle.stop('stopped')
      return
    case 'check':
      void checkScript(header.script).then(result =>
        channel.send({ t: 'checked', id: header.id }, JSON.stringify(result))
      )
  }
}

/** What scripts have computed here: the host has no part in it. */
const CRYPTO = 'crypto.'

async function perform(header: Extract<ToRunner, { t: 'run' }>, input: string): Promise<void> {
  const { id, pool, script, limits } = header
  const answers = new Map<number, (json: string) => void>()
  const mostCharacters = maxCallLength(limits)
  let calls = 0
  const handle = startRun(
    isolates,
    { pool, script, input, limits },
    {
      async call(method, args) {
        sweep(args.length)
        if (method.startsWith(CRYPTO)) return digest(method.slice(CRYPTO.length), args)
        if (args.length > mostCharacters) return tooLong(method, args.length, mostCharacters)
        const n = ++calls
        const answered = new Promise<string>(resolve => answers.set(n, resolve))
        if (runs.has(id)) channel.send({ t: 'call', id, n, method }, args)
        const goOn = clock.pause()
        return answered.finally(() => {
          answers.delete(n)
          goOn()
        })
      },
      log(level, message) {
        if (runs.has(id)) channel.send({ t: 'log', id, at: Date.now(), level, message })
      }
    }
  )
  runs.set(id, { handle, answers })
  const clock = startClock(handle, limits.cpuMs)
  const report = await Promise.race([handle.done, clock.broken])
  const cpuMs = clock.stop()
  runs.delete(id)
  if ('broken' in report) {
    channel.send({ t: 'broken', id, reason: report.broken })
    setTimeout(endProcess, 50)
    return
  }
  channel.send({ t: 'done', id, cpuMs, logsCut: report.logsCut }, report.end)
}

/** How long an isolate may take to end when told. */
const GRACE_MS = 250

/**
 * Ends a run that has used up its processor time. isolated-vm is not asked for it: its timer does not cover what runs
 * while a thrown value is copied, and goes on while others have the processor; its `cpuTime` keeps this whole process
 * waiting while an isolate is short of memory. `broken`: the isolate runs on nevertheless.
 */
function startClock({ stop }: RunHandle, limitMs: number) {
  const { promise: broken, resolve } = Promise.withResolvers<{ broken: string }>()
  const startedAt = performance.now()
  let waitedMs = 0
  let waitsSince: number | null = null
  let grace: NodeJS.Timeout | undefined
  const onOverrun = () => {
    grace = setTimeout(resolve, GRACE_MS, { broken: 'Script failed to terminate' })
    stop('cpu')
  }
  const executedMs = () => (waitsSince ?? performance.now()) - startedAt - waitedMs
  const meter = metered({ executedMs, limitMs, onOverrun })
  return {
    broken,
    /** The run waits for the host, until what this answers is called. */
    pause(): () => void {
      const since = performance.now()
      waitsSince = since
      return () => {
        waitedMs += performance.now() - since
        waitsSince = null
      }
    },
    /** Answers the processor time used, in milliseconds. */
    stop(): number {
      clearTimeout(grace)
      return Math.round(meter.stop() * 1000) / 1000
    }
  }
}

/** What a call is answered that would only burden the pipe and the main process. */
function tooLong(method: string, length: number, most: number): string {
  const message = `${method}: its arguments have ${length} characters of JSON, above the limit of ${most}; send less at a time.`
  return JSON.stringify({ error: { code: 'ARGUMENT_INVALID', name: 'RangeError', message } } satisfies HostAnswer)
}

/** process.exit() joins threads and may hang in one that V8 can't stop. */
function endProcess(): void {
  process.kill(process.pid, 'SIGKILL')
}

channel.send({ t: 'ready' })
