import type { ErrorCode, ScriptPosition } from './errors.ts'

/** Anything that JSON can carry. */
export type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

/** A merchant's id. Ids made of digits are numbers (as the shop's `mer_id` column), all others strings. */
export type MerId = number | string

/** Where an event came from. */
export type EventSource = 'http' | 'amqp' | 'outbox' | 'redis' | 'call' | 'hook' | 'monitor'

/** Something that happened: usually to an order, whose number is the payload. */
export interface HookEvent {
  id: string
  eventKey: string
  payload: Json
  /** When it happened, in milliseconds since the epoch. */
  timestamp: number
  merId: MerId | null
  /** Executions of one hook with the same key run strictly one after the other; null: in any order. */
  key: string | null
  source: EventSource
  /** How many hooks' `emit` lie between it and an event from outside; a loop of hooks ends at a limit. */
  depth: number
  /** What the sender said beyond the payload: a message's original body. */
  data?: Json
}

/** What one run may use. Every member is a hard limit that ends the run with its named error. */
export interface Limits {
  /** Wall clock of a run, waiting included, in milliseconds. */
  wallMs: number
  /** Time on the processor, in milliseconds. */
  cpuMs: number
  /** V8 heap, in megabytes. */
  memoryMb: number
  dbCalls: number
  /** Rows in one result. */
  dbRows: number
  /** Size of one result, in bytes of JSON. */
  dbBytes: number
  httpCalls: number
  /** Body of one request, in bytes. */
  httpSentBytes: number
  /** Body of one answer, decompressed, in bytes. */
  httpReceivedBytes: number
  /** Lines beyond this are cut, and counted. */
  logLines: number
  logBytes: number
  resultBytes: number
  /** Runs of this hook in flight at once, on this node. */
  concurrency: number
}

/** How often a failed execution is tried, and how long it rests in between. */
export interface RetryPolicy {
  /** Runs in all, the first one included. */
  attempts: number
  /** Rest before attempt 2, 3, …, in milliseconds; the last one repeats. */
  delaysMs: number[]
}

/** `run`: everything that a run writes is one transaction. `none`: each statement commits by itself. */
export type TransactionMode = 'run' | 'none'

/** A script with a path, and when it runs. A path under `/lib/` is a library: required by hooks, never run by events. */
export interface Hook {
  id: string
  path: string
  name: string
  description: string
  /** Event keys or patterns (`ORDER_*`) that it subscribes to. */
  events: string[]
  enabled: boolean
  /** The merchant that owns it; null: the platform. */
  merId: MerId | null
  /** Shipped with Sandhook, and brought up to date at a start as long as nobody has changed it. */
  builtin: boolean
  /** Whether anybody may call it over HTTP without a token. */
  public: boolean
  /** The published version; null: none yet, so the hook does not run. */
  version: number | null
  limits: Partial<Limits>
  retry: Partial<RetryPolicy>
  transaction: TransactionMode
  /** Keys that `env` shows to it; null: every key of its owner. */
  env: string[] | null
  createdAt: number
  updatedAt: number
}

/** An immutable text of a hook. */
export interface HookVersion {
  hookId: string
  version: number
  script: string
  /** The script without its types when it is TypeScript, with every line and column in place; else null. */
  compiled: string | null
  createdBy: string
  createdAt: number
}

/**
 * `queued → running → succeeded`, or `→ retrying → running → … → dead`.
 * A call over HTTP is never retried: it ends as `succeeded` or `failed`.
 */
export type ExecutionStatus = 'queued' | 'running' | 'retrying' | 'succeeded' | 'failed' | 'dead' | 'discarded'

/** A failure as it is stored and shown: secrets masked. */
export interface Failure {
  code: ErrorCode
  message: string
  line?: number
  column?: number
  excerpt?: string
  stack?: string
}

/** One event to be handled by one hook. */
export interface Execution {
  id: string
  eventId: string
  eventKey: string
  hookId: string
  hookPath: string
  merId: MerId | null
  status: ExecutionStatus
  /** Attempts used up; a run that the runtime itself broke off is none. */
  attempts: number
  /** Runs started, whatever became of them. */
  runs: number
  /** One when a run of it may have cost a runner process, one more for each time that it certainly did. */
  crashes: number
  result: Json | null
  error: Failure | null
  nextAttemptAt: number | null
  createdAt: number
  startedAt: number | null
  finishedAt: number | null
  durationMs: number | null
}

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

/** A line that the script logged. */
export interface LogLine {
  at: number
  level: LogLevel
  message: string
}

/** What a run wants told once it has succeeded and its writes are committed. */
export type Announcement =
  | { kind: 'event'; id: string; eventKey: string; payload: Json; key?: string; merId?: MerId; data?: Json }
  | { kind: 'message'; id: string; exchange: string; routingKey: string; body: Json; headers: Record<string, Json> }

/** A host call that the script made, as it is shown afterwards. */
export interface HostCall {
  kind: 'db' | 'http' | 'event' | 'message'
  /** The statement, or method and address; secrets masked. */
  summary: string
  at: number
  durationMs: number
  /** Rows read or changed. */
  rows?: number
  /** HTTP status. */
  status?: number
  error?: string
  /** Answered from the journal of an earlier run that the runtime broke off. */
  replayed?: boolean
}

/** What one run of a script came to. */
export interface Attempt {
  attempt: number
  run: number
  version: number
  startedAt: number
  durationMs: number
  cpuMs: number
  result: Json | null
  error: Failure | null
  logs: LogLine[]
  /** Log lines cut because the run was past its limit. */
  logsCut: number
  calls: HostCall[]
}

export type { ErrorCode, ScriptPosition }
