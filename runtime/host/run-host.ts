import { asRuntimeError, type ErrorCode, RuntimeError } from '../errors.ts'
import type { HostCall, Json, Limits } from '../model.ts'
import type { createAnnouncer } from './announce.ts'
import { parseArgs } from './call-args.ts'
import type { DbHost } from './db.ts'
import type { ScriptAnswer, ScriptRequest } from './http.ts'
import { type Mask, visible } from './mask.ts'
import type { Param } from './shop.ts'

export interface RunHostNeeds {
  db: DbHost
  announcer: ReturnType<typeof createAnnouncer>
  http: { send: (request: ScriptRequest) => Promise<{ answer: ScriptAnswer; replayed: boolean }> }
  /** A library's script by its path; null: there is none that this hook may use. */
  library: (path: string) => Promise<string | null>
  limits: Limits
  mask: Mask
  signal: AbortSignal
  /** Throws when the run is not this node's any more. */
  fence: () => void
}

/** One run's host: does what the script asks for, counts it and remembers it. */
export interface RunHostCalls {
  /** Answers HostAnswer as JSON (sandbox/wire.ts); never rejects. */
  call: (method: string, args: string) => Promise<string>
  /** What the script has asked for so far. */
  readonly calls: HostCall[]
  /** The failure that has decided this run already, whatever the script makes of it; null: none. */
  readonly doom: RuntimeError | null
  /** The last refusal of a host that takes no calls now, which the script was told of; null: none. */
  readonly refusal: RuntimeError | null
}

/** Failures that a script can't get over by catching them: a limit is passed, or its transaction is gone. */
const FATAL: ReadonlySet<ErrorCode> = new Set([
  ...([
    'HOOK_DB_LIMIT',
    'HOOK_HTTP_LIMIT',
    'HOOK_OUTPUT_LIMIT',
    'HTTP_DEFERRED',
    'HTTP_DROPPED',
    'DB_CONFLICT',
    'DB_UNAVAILABLE',
    'STORE_UNAVAILABLE',
    'RUNNER_LOST'
  ] as const)
])

/** The class that a script sees, by the failure's family. */
const classOf = (code: ErrorCode): string =>
  code.startsWith('DB_') ? 'DbError' : code.startsWith('HTTP_') ? 'HttpError' : 'HostError'

const MAX_SUMMARY = 2_000

type Method = (...args: never[]) => Promise<unknown>

/** Builds the host of one run from its parts. The methods' names are the whole of what a script can reach. */
export function createRunHost({
  db,
  http,
  announcer,
  library,
  limits,
  mask,
  signal,
  fence
}: RunHostNeeds): RunHostCalls {
  const calls: HostCall[] = []
  let doom: RuntimeError | null = null
  let refusal: RuntimeError | null = null
  let dbCalls = 0
  let httpCalls = 0
  let busy = false

  /** Savepoints that were given out, and may be given back once. */
  const marks = new Set<number>()
  const spend = (mark: number): number => {
    if (marks.delete(mark)) return mark
    throw new RuntimeError('ARGUMENT_INVALID', 'db.transaction: it has ended already.')
  }

  const remember = async <T>(
    kind: HostCall['kind'],
    summary: string,
    work: (call: HostCall) => Promise<T>
  ): Promise<T> => {
    const call: HostCall = { kind, summary: visible(shorten(mask(summary))), at: Date.now(), durationMs: 0 }
    calls.push(call)
    const begun = performance.now()
    try {
      return await work(call)
    } catch (error) {
      call.error = visible(shorten(mask(asRuntimeError(error).message)))
      throw error
    } finally {
      call.durationMs = Math.round((performance.now() - begun) * 100) / 100
    }
  }

  const database = <T>(summary: string, work: () => Promise<T>, rowsOf: (answer: T) => number | undefined) => {
    if (++dbCalls > limits.dbCalls)
      throw new RuntimeError(
        'HOOK_DB_LIMIT',
        `The run made more than ${limits.dbCalls} db calls; read or write more at a time.`
      )
    return remember('db', summary, async call => {
      const answer = await work()
      const rows = rowsOf(answer)
      if (rows !== undefined) call.rows = rows
      return answer
    })
  }

  const methods: Record<string, Method> = {
    'db.query': (sql: string, params: Param[]) =>
      database(
        sql,
        () => db.query(sql, params),
        rows => (rows as unknown[]).length
      ),
    'db.change': (sql: string, params: Param[]) =>
      database(
        sql,
        () => db.change(sql, params),
        answer => answer.affected
      ),
    'db.batch': (sql: string, rows: Param[][]) =>
      database(
        `${sql} × ${rows.length}`,
        () => db.batch(sql, rows),
        affected => affected
      ),
    'db.begin': () =>
      database(
        'SAVEPOINT',
        async () => {
          const mark = await db.begin()
          marks.add(mark)
          return mark
        },
        () => undefined
      ),
    'db.keep': (mark: number) =>
      database(
        'RELEASE SAVEPOINT',
        () => db.keep(spend(mark)),
        () => undefined
      ),
    'db.undo': (mark: number) =>
      database(
        'ROLLBACK TO SAVEPOINT',
        () => db.undo(spend(mark)),
        () => undefined
      ),
    'http.send': (request: ScriptRequest) => {
      if (++httpCalls > limits.httpCalls)
        throw new RuntimeError('HOOK_HTTP_LIMIT', `The run made more than ${limits.httpCalls} http calls.`)
      return remember('http', summaryOf(request), async call => {
        const { answer, replayed } = await http.send(request)
        call.status = answer.status
        if (replayed) call.replayed = true
        return answer
      })
    },
    'events.emit': (eventKey: string, payload: Json, options: object) =>
      remember('event', String(eventKey), async () => announcer.emit(eventKey, payload, options)),
    'mq.publish': (routingKey: string, body: Json, options: object) =>
      remember('message', String(routingKey), async () => announcer.publish(routingKey, body, options)),
    'lib.load': async (path: string) => {
      const script = await library(path)
      if (script !== null) return { script }
      throw new RuntimeError(
        'LIBRARY_MISSING',
        `require('${path}'): there is no library with this path that the hook may use.`
      )
    }
  }

  async function perform(method: string, json: string): Promise<unknown> {
    if (doom) throw doom
    if (signal.aborted) throw new RuntimeError('HOOK_TIMEOUT', 'The run is over.')
    fence()
    const args = parseArgs(method, json)
    if (busy) throw new RuntimeError('ARGUMENT_INVALID', `${method}: the run's last call is not answered yet.`)
    busy = true
    try {
      return await methods[method]?.(...(args as never[]))
    } finally {
      busy = false
    }
  }

  return {
    calls,
    get doom() {
      return doom
    },
    get refusal() {
      return refusal
    },
    async call(method, args) {
      try {
        return JSON.stringify({ value: (await perform(method, args)) ?? null })
      } catch (thrown) {
        const error = asRuntimeError(thrown)
        if (FATAL.has(error.code)) doom ??= error
        if (error.code === 'HTTP_FULL') refusal = error
        const { code, data } = error
        // What went wrong within us is in the run's record, and nothing that a script could make use of.
        const message = code === 'INTERNAL' ? `${method} failed within the runtime.` : error.message
        return JSON.stringify({ error: { code, name: classOf(code), message, data } })
      }
    }
  }
}

const shorten = (text: string): string => {
  const line = text.replace(/\s+/g, ' ').trim()
  return line.length > MAX_SUMMARY ? `${line.slice(0, MAX_SUMMARY)}…` : line
}

/** Method and address without the query, where credentials like to hide. */
const summaryOf = ({ method, url }: ScriptRequest): string => `${method} ${String(url).split(/[?#]/)[0]}`
