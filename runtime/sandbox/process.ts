/**
 * The runner process: runs scripts and nothing else. Its only way out is the pipe at descriptor 3; it holds no
 * connection, no credential but those granted to a run, and the main process may kill it at any moment.
 */
import { readFileSync } from 'node:fs'
import { Socket } from 'node:net'
import { checkScript } from './check.ts'
import { createIsolates } from './isolates.ts'
import { type RunHandle, startRun } from './run.ts'
import { type FromRunner, openChannel, type ToRunner } from './wire.ts'

interface RunUnderWay {
  handle: RunHandle
  answers: Map<number, (json: string) => void>
}

const pipe = new Socket({ fd: 3 })
const runs = new Map<string, RunUnderWay>()
const facade = readFileSync(new URL('./facade.js', import.meta.url), 'utf8')

const channel = openChannel<ToRunner, FromRunner>(pipe, onFrame, endProcess)
pipe.on('close', endProcess)
pipe.on('error', endProcess)

const isolates = createIsolates(facade)

function onFrame(header: ToRunner, document: string): void {
  switch (header.t) {
    case 'run':
      void perform(header, document)
      return
    case 'answer':
      runs.get(header.id)?.answers.get(header.n)?.(document)
      return
    case 'stop':
      runs.get(header.id)?.handle.stop()
      return
    case 'check':
      void checkScript(header.script).then(result =>
        channel.send({ t: 'checked', id: header.id }, JSON.stringify(result))
      )
  }
}

async function perform(header: Extract<ToRunner, { t: 'run' }>, input: string): Promise<void> {
  const { id, pool, script, limits } = header
  const answers = new Map<number, (json: string) => void>()
  let calls = 0
  const handle = startRun(
    isolates,
    { pool, script, input, limits },
    {
      call(method, args) {
        const n = ++calls
        const answered = new Promise<string>(resolve => answers.set(n, resolve))
        channel.send({ t: 'call', id, n, method }, args)
        return answered.finally(() => answers.delete(n))
      },
      log: (level, message) => channel.send({ t: 'log', id, at: Date.now(), level, message })
    }
  )
  runs.set(id, { handle, answers })
  const report = await handle.done
  runs.delete(id)
  if ('broken' in report) {
    channel.send({ t: 'broken', id, reason: report.broken })
    setTimeout(endProcess, 50)
    return
  }
  const { end, cpuMs, logsCut } = report
  channel.send({ t: 'done', id, cpuMs, logsCut }, end)
}

/** process.exit() joins threads and may hang in one that V8 can't stop. */
function endProcess(): void {
  process.kill(process.pid, 'SIGKILL')
}

channel.send({ t: 'ready' })
