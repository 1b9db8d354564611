/**
 * Every failure that the runtime can name. Its row decides the HTTP answer and what becomes of an execution:
 *
 * - `retry: 'no'`   no repetition can help: the execution goes straight to the dead letters.
 * - `retry: 'yes'`  the attempt is used up; the next one follows after the hook's backoff.
 * - `retry: 'free'` the runtime was at fault: again at once, without using up an attempt, with completed
 *                   HTTP calls answered from the journal.
 */
const RULES = {
  // A caller's request.
  REQUEST_INVALID: { status: 400, retry: 'no' },
  EVENT_INVALID: { status: 422, retry: 'no' },
  BODY_TOO_LARGE: { status: 413, retry: 'no' },
  MEDIA_TYPE_UNSUPPORTED: { status: 415, retry: 'no' },
  UNAUTHENTICATED: { status: 401, retry: 'no' },
  FORBIDDEN: { status: 403, retry: 'no' },
  NOT_FOUND: { status: 404, retry: 'no' },
  METHOD_NOT_ALLOWED: { status: 405, retry: 'no' },
  CONFLICT: { status: 409, retry: 'no' },
  HOOK_PATH_TAKEN: { status: 409, retry: 'no' },
  HOOK_INVALID: { status: 422, retry: 'no' },
  HOOK_SYNTAX: { status: 422, retry: 'no' },
  RATE_LIMITED: { status: 429, retry: 'yes' },
  INTERNAL: { status: 500, retry: 'yes' },
  STORE_UNAVAILABLE: { status: 503, retry: 'free' },
  SHUTTING_DOWN: { status: 503, retry: 'free' },

  // A script's run.
  HOOK_THREW: { status: 500, retry: 'yes' },
  HOOK_FAILED: { status: 500, retry: 'yes' },
  HOOK_REJECTED: { status: 500, retry: 'no' },
  HOOK_EXITED: { status: 500, retry: 'yes' },
  HOOK_GONE: { status: 410, retry: 'no' },
  HOOK_TIMEOUT: { status: 504, retry: 'yes' },
  HOOK_CPU_LIMIT: { status: 500, retry: 'yes' },
  HOOK_MEMORY_LIMIT: { status: 500, retry: 'yes' },
  HOOK_DB_LIMIT: { status: 500, retry: 'yes' },
  HOOK_HTTP_LIMIT: { status: 500, retry: 'yes' },
  HOOK_RESULT_LIMIT: { status: 500, retry: 'yes' },
  HOOK_OUTPUT_LIMIT: { status: 500, retry: 'yes' },
  HOOK_KILLED_RUNNER: { status: 500, retry: 'no' },

  // What a host call answers to the script; uncaught, it ends the run as HOOK_THREW.
  DB_ERROR: { status: 500, retry: 'yes' },
  DB_DENIED: { status: 403, retry: 'yes' },
  HTTP_ERROR: { status: 502, retry: 'yes' },
  HTTP_DENIED: { status: 403, retry: 'yes' },
  HTTP_TIMEOUT: { status: 504, retry: 'yes' },
  HTTP_FULL: { status: 503, retry: 'free' },
  HTTP_DROPPED: { status: 503, retry: 'no' },
  LIBRARY_MISSING: { status: 500, retry: 'yes' },
  ARGUMENT_INVALID: { status: 500, retry: 'yes' },

  // The runtime's own fault: the run did not end by anything that the script did.
  HTTP_DEFERRED: { status: 503, retry: 'free' },
  RUNNER_LOST: { status: 503, retry: 'free' },
  DB_CONFLICT: { status: 503, retry: 'free' },
  DB_UNAVAILABLE: { status: 503, retry: 'free' },
  BROKER_UNAVAILABLE: { status: 503, retry: 'free' }
} as const satisfies Record<string, { status: number; retry: 'no' | 'yes' | 'free' }>

export type ErrorCode = keyof typeof RULES

/** Where in a hook's script an error arose; lines and columns count from 1. */
export interface ScriptPosition {
  line: number
  column: number
  /** The script's own line with a caret under the column. */
  excerpt: string
}

/** A line with a caret under the column; a long line is cut around it. */
export function excerptOf(text: string, column: number): string {
  const from = Math.max(0, Math.min(column - 1, text.length) - 60)
  return `${text.slice(from, from + 120)}\n${' '.repeat(Math.max(0, column - 1 - from))}^`
}

interface Details {
  cause?: unknown
  /** Where in the script. */
  position?: ScriptPosition | undefined
  /** For a request that may come again: when, in milliseconds from now. */
  retryAfterMs?: number
  /** Fields of a request that are wrong, for the problem's `errors` member. */
  fields?: { path: string; message: string }[]
  /** What the script sees on the error object beside `name`, `message` and `code` (an HTTP status, an SQL state). */
  data?: Record<string, unknown>
}

/** A failure with a name. The message is for people: it names the thing, what is wrong and the remedy. */
export class RuntimeError extends Error {
  override readonly name = 'RuntimeError'
  readonly code: ErrorCode
  readonly position: ScriptPosition | undefined
  readonly retryAfterMs: number | undefined
  readonly fields: { path: string; message: string }[] | undefined
  readonly data: Record<string, unknown> | undefined

  constructor(code: ErrorCode, message: string, details: Details = {}) {
    super(message, { cause: details.cause })
    this.code = code
    this.position = details.position
    this.retryAfterMs = details.retryAfterMs
    this.fields = details.fields
    this.data = details.data
  }
}

/** The HTTP status that answers a failure of this code. */
export const statusOf = (code: ErrorCode): number => RULES[code].status

/** Whether an execution that failed with this code is tried again, and at whose expense. */
export const retryOf = (code: ErrorCode): 'no' | 'yes' | 'free' => RULES[code].retry

/** Every code with its row: the table that the documentation and the tests print. */
export const errorTable = (): { code: ErrorCode; status: number; retry: 'no' | 'yes' | 'free' }[] =>
  (Object.keys(RULES) as ErrorCode[]).map(code => ({ code, ...RULES[code] }))

/** Any thrown value as a RuntimeError; what has no name of its own becomes `INTERNAL`, keeping the cause. */
export function asRuntimeError(thrown: unknown): RuntimeError {
  if (thrown instanceof RuntimeError) return thrown
  const message = thrown instanceof Error ? thrown.message : String(thrown)
  return new RuntimeError('INTERNAL', message, { cause: thrown })
}
