import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { standBack, timeZone } from '../../child-process.ts'
import { type ErrorCode, RuntimeError } from '../../errors.ts'
import { stopped } from '../result.ts'
import type { Answer } from '../shop.ts'
import type { Request } from './engine.ts'

export type Reply =
  | { id: number; answer: Answer }
  | { id: number; error: { code: ErrorCode; message: string; data?: Record<string, unknown> | undefined } }

/** One connection to a SQLite file, in a process of its own: what it is at can be broken off by ending it. */
export interface Session {
  /** False once its process was ended or is gone; its transaction is rolled back then. */
  readonly alive: boolean
  /**
   * Executes a request after those before it. When it takes longer than `limitMs`, or the signal has fired and it does
   * not end at once, the process is ended. Throws RuntimeError as `StatementRunner` says.
   */
  ask: (request: Request, options: { signal?: AbortSignal; limitMs: number }) => Promise<Answer>
  /** Resolves when nothing is under way: with what was broken off, its process may have gone. */
  idle: () => Promise<void>
  /** Resolves when the process is gone, whatever it was at. */
  end: () => Promise<void>
}

interface Pending {
  request: Request
  resolve: (answer: Answer) => void
  reject: (error: RuntimeError) => void
  /** Nothing need end it any more. */
  spare: () => void
}

const ENTRY = fileURLToPath(new URL('process.ts', import.meta.url))
/** How long, in milliseconds, a statement may go on for when its run is over. */
const GRACE_MS = 100
/** How far it stands back behind the main process: as runners do. */
const NICENESS = 5

/** Starts a process that executes statements on this file; its first request may be asked at once. */
export function startSession(file: string, access: 'read' | 'write'): Session {
  const child = launch(file, access)
  const gone = once(child, 'close').catch(() => {})
  const pending = new Map<number, Pending>()
  let rest = Promise.withResolvers<void>()
  let alive = true
  let requests = 0

  const settle = (id: number): Pending | undefined => {
    const asked = pending.get(id)
    asked?.spare()
    pending.delete(id)
    if (pending.size === 0) rest.resolve()
    return asked
  }
  const lose = () => {
    alive = false
    for (const [id, { request, reject }] of pending) {
      settle(id)
      reject(lost(request))
    }
  }
  child.on('error', lose)
  child.on('close', lose)
  child.on('message', (reply: Reply) => {
    const asked = settle(reply.id)
    if ('answer' in reply) asked?.resolve(reply.answer)
    else asked?.reject(new RuntimeError(reply.error.code, reply.error.message, { data: reply.error.data }))
  })
  const kill = () => {
    alive = false
    child.kill('SIGKILL')
  }

  return {
    get alive() {
      return alive
    },
    async ask(request, { signal, limitMs }) {
      if (signal?.aborted) throw stopped(signal)
      if (!alive) throw lost(request)
      const id = ++requests
      const { promise, resolve, reject } = Promise.withResolvers<Answer>()
      let timer = setTimeout(() => {
        reject(tooSlow(limitMs))
        kill()
      }, limitMs)
      const onAbort = () => {
        reject(stopped(signal as AbortSignal))
        clearTimeout(timer)
        timer = setTimeout(kill, GRACE_MS)
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      const spare = () => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', onAbort)
      }
      if (pending.size === 0) rest = Promise.withResolvers()
      pending.set(id, { request, resolve, reject, spare })
      child.send({ id, request })
      return promise
    },
    async idle() {
      if (pending.size > 0) await rest.promise
    },
    async end() {
      child.ref()
      kill()
      await gone
    }
  }
}

function launch(file: string, access: string): ChildProcess {
  const child = fork(ENTRY, [file, access], {
    execArgv: ['--no-node-snapshot', '--disable-warning=ExperimentalWarning'],
    env: timeZone(),
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    serialization: 'advanced'
  })
  standBack(child, NICENESS)
  // It is no reason for this process to stay.
  child.unref()
  child.channel?.unref()
  return child
}

/** Nobody else is at it when a statement is, so it is that statement's doing; and its run's, that it is tried again. */
const lost = (request: Request): RuntimeError =>
  request.do === 'tell'
    ? new RuntimeError('DB_UNAVAILABLE', "The shop's database has ended; the run is tried again")
    : new RuntimeError('DB_ERROR', 'The statement has taken too much memory, or its process was killed: select less')

/** As MariaDB says it. */
const tooSlow = (limitMs: number): RuntimeError =>
  new RuntimeError(
    'DB_ERROR',
    `Query execution was interrupted (the embedded database gives a statement ${limitMs / 1000} s): select fewer rows, or add an index`,
    { data: { errno: 1969, sqlState: '70100' } }
  )
