import { type Static, type TSchema, Type } from 'typebox'
import type { Attempt as AttemptNoun, Execution as ExecutionNoun } from '../model.ts'
import type { StoredEvent } from '../store/events.ts'
import { AnyJson, iso, isoOrNull, MaybeTime, named, nullable, Owner, Time } from './schemas.ts'

export const STATUSES = ['queued', 'running', 'retrying', 'succeeded', 'failed', 'dead', 'discarded'] as const

const Failure = Type.Object({
  code: Type.String(),
  message: Type.String(),
  line: Type.Optional(Type.Integer()),
  column: Type.Optional(Type.Integer()),
  excerpt: Type.Optional(Type.String()),
  stack: Type.Optional(Type.String())
})
const MaybeFailure = nullable(Failure)

const EXECUTION = {
  id: Type.String(),
  eventId: Type.String(),
  eventKey: Type.String(),
  hook: Type.String({ description: "The hook's path" }),
  hookId: Type.String(),
  merId: Owner,
  status: Type.Enum(STATUSES),
  attempts: Type.Integer({ description: 'Attempts used up' }),
  runs: Type.Integer({ description: 'Runs started, those that the runtime broke off included' }),
  crashes: Type.Integer({ description: 'Runs during which the runner died' }),
  result: AnyJson,
  error: MaybeFailure,
  nextAttemptAt: MaybeTime,
  createdAt: Time,
  startedAt: MaybeTime,
  finishedAt: MaybeTime,
  durationMs: nullable(Type.Integer())
}

const LogLine = Type.Object({ at: Time, level: Type.Enum(['debug', 'info', 'warn', 'error']), message: Type.String() })

const HostCall = Type.Object({
  kind: Type.Enum(['db', 'http', 'event', 'message']),
  summary: Type.String({ description: 'The statement, or method and address' }),
  at: Time,
  durationMs: Type.Number(),
  rows: Type.Optional(Type.Integer()),
  status: Type.Optional(Type.Integer()),
  error: Type.Optional(Type.String()),
  replayed: Type.Optional(Type.Boolean({ description: 'Answered from the journal of a run that was broken off' }))
})

export const Attempt = Type.Object(
  {
    attempt: Type.Integer(),
    run: Type.Integer(),
    version: Type.Integer(),
    startedAt: Time,
    durationMs: Type.Number(),
    cpuMs: Type.Number(),
    result: AnyJson,
    error: MaybeFailure,
    logs: Type.Array(LogLine),
    logsCut: Type.Integer({ description: 'Lines beyond the limit, not kept' }),
    calls: Type.Array(HostCall)
  },
  { $id: 'Attempt' }
)

export const Execution = Type.Object(EXECUTION, { $id: 'Execution' })
export const ExecutionDetail = Type.Object(
  { ...EXECUTION, history: Type.Array(named(Attempt)) },
  { $id: 'ExecutionDetail' }
)

const EVENT = {
  id: Type.String(),
  eventKey: Type.String(),
  payload: AnyJson,
  timestamp: Type.Integer({ description: 'When it happened, in milliseconds since the epoch' }),
  merId: Owner,
  key: nullable(Type.String({ description: 'Ordering key' })),
  source: Type.String(),
  depth: Type.Integer({ description: 'How many hooks lie between it and an event from outside' }),
  receivedAt: Time
} satisfies Record<string, TSchema>

export const Event = Type.Object(EVENT, { $id: 'Event' })
export const EventDetail = Type.Object(
  {
    ...EVENT,
    data: Type.Optional(Type.Any({ description: 'What the sender said beyond the payload' })),
    executions: Type.Array(named(Execution))
  },
  { $id: 'EventDetail' }
)

/** An execution as it is shown. */
export const executionOf = ({ hookPath, ...execution }: ExecutionNoun): Static<typeof Execution> => ({
  ...execution,
  hook: hookPath,
  nextAttemptAt: isoOrNull(execution.nextAttemptAt),
  createdAt: iso(execution.createdAt),
  startedAt: isoOrNull(execution.startedAt),
  finishedAt: isoOrNull(execution.finishedAt)
})

/** A run as it is shown. */
export const attemptOf = (attempt: AttemptNoun): Static<typeof Attempt> => ({
  ...attempt,
  startedAt: iso(attempt.startedAt),
  logs: attempt.logs.map(line => ({ ...line, at: iso(line.at) })),
  calls: attempt.calls.map(call => ({ ...call, at: iso(call.at) }))
})

/** An event as it is shown. */
export const eventOf = (event: StoredEvent): Static<typeof Event> & { data?: unknown } => ({
  ...event,
  receivedAt: iso(event.receivedAt)
})
