import type { Knex } from 'knex'
import type { Attempt } from '../model.ts'
import { insertRows } from './database.ts'
import { fromText, toText } from './row.ts'

interface AttemptRow {
  execution_id: string
  run: number
  attempt: number
  version: number
  started_at: number
  duration_ms: number
  cpu_ms: number
  result: string | null
  error: string | null
  logs: string
  logs_cut: number
  calls: string
}

/** Remembers the runs of a settled batch, in the caller's transaction. */
export async function insertAttempts(
  trx: Knex.Transaction,
  batch: { execution: { id: string }; attempt: Attempt | null }[]
): Promise<void> {
  const rows = batch.flatMap(({ execution, attempt }) => (attempt ? [fromAttempt(execution.id, attempt)] : []))
  await insertRows(trx, 'sandhook_attempts', rows)
}

/** All runs of an execution, the first one first. */
export async function attemptsOf(db: Knex, executionId: string): Promise<Attempt[]> {
  const rows: AttemptRow[] = await db('sandhook_attempts').where({ execution_id: executionId }).orderBy('run')
  return rows.map(row => ({
    attempt: row.attempt,
    run: row.run,
    version: row.version,
    startedAt: row.started_at,
    durationMs: row.duration_ms,
    cpuMs: row.cpu_ms,
    result: fromText(row.result),
    error: fromText(row.error),
    logs: JSON.parse(row.logs),
    logsCut: row.logs_cut,
    calls: JSON.parse(row.calls)
  }))
}

/** A run as a row. */
export const fromAttempt = (executionId: string, attempt: Attempt): AttemptRow => ({
  execution_id: executionId,
  run: attempt.run,
  attempt: attempt.attempt,
  version: attempt.version,
  started_at: attempt.startedAt,
  duration_ms: attempt.durationMs,
  cpu_ms: attempt.cpuMs,
  result: toText(attempt.result),
  error: toText(attempt.error),
  logs: JSON.stringify(attempt.logs),
  logs_cut: attempt.logsCut,
  calls: JSON.stringify(attempt.calls)
})
