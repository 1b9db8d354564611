import type { Execution, ExecutionStatus } from '../model.ts'
import { fromText, merIdOf, ownerOf, toText } from './row.ts'

/** A row of `sandhook_executions`; sql/runtime says what its lanes mean. */
export interface ExecutionRow {
  id: string
  event_id: string
  event_key: string
  hook_id: string
  hook_path: string
  owner: string
  status: string
  lane: string | null
  open_lane: string | null
  running_lane: string | null
  due_at: number | null
  node: string | null
  lease_until: number | null
  attempts: number
  runs: number
  crashes: number
  result: string | null
  error: string | null
  created_at: number
  started_at: number | null
  finished_at: number | null
  duration_ms: number | null
}

/** A row as the noun that everyone else knows. */
export const toExecution = (row: ExecutionRow): Execution => ({
  id: row.id,
  eventId: row.event_id,
  eventKey: row.event_key,
  hookId: row.hook_id,
  hookPath: row.hook_path,
  merId: merIdOf(row.owner),
  status: row.status as ExecutionStatus,
  attempts: row.attempts,
  runs: row.runs,
  crashes: row.crashes,
  result: fromText(row.result),
  error: fromText(row.error),
  nextAttemptAt: row.due_at,
  createdAt: row.created_at,
  startedAt: row.started_at,
  finishedAt: row.finished_at,
  durationMs: row.duration_ms
})

/** An execution as a row; it belongs to no node. */
export const fromExecution = (execution: Execution, lane: string | null): ExecutionRow => ({
  id: execution.id,
  event_id: execution.eventId,
  event_key: execution.eventKey,
  hook_id: execution.hookId,
  hook_path: execution.hookPath,
  owner: ownerOf(execution.merId),
  status: execution.status,
  lane,
  open_lane: execution.finishedAt === null ? lane : null,
  running_lane: null,
  due_at: execution.nextAttemptAt,
  node: null,
  lease_until: null,
  attempts: execution.attempts,
  runs: execution.runs,
  crashes: execution.crashes,
  result: toText(execution.result),
  error: toText(execution.error),
  created_at: execution.createdAt,
  started_at: execution.startedAt,
  finished_at: execution.finishedAt,
  duration_ms: execution.durationMs
})
