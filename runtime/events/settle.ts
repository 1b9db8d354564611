import type { ErrorCode, RuntimeError } from '../errors.ts'
import { NO_SECRETS } from '../host/mask.ts'
import type { Execution, RetryPolicy } from '../model.ts'
import type { Claim, Settlement } from '../store/queue.ts'
import { hookGone } from './attempt.ts'
import { nextStep } from './retry.ts'
import { type AttemptReport, type Blame, failureOf } from './run-record.ts'

/** How an execution stands after a run: pure, so that every rule of it can be tested. */
export function settlementOf(claim: Claim, report: AttemptReport, policy: RetryPolicy, now: number): Settlement {
  const { attempt, error, blame } = report
  const before = claim.execution
  const crashes = crashesAfter(before.crashes, blame)
  if (!error) {
    const execution = finished({ ...before, attempts: before.attempts + 1 }, 'succeeded', now)
    return { claim, attempt, execution: { ...execution, result: attempt.result, error: null } }
  }
  const failed = { code: error.code, attempts: before.attempts + 1, runs: before.runs, crashes }
  const next = nextStep({ ...failed, retryAfterMs: error.retryAfterMs }, policy)
  const stands = { ...before, crashes, result: attempt.result, error: attempt.error }
  switch (next.step) {
    case 'again':
      return { claim, attempt, execution: waiting(stands, now + next.delayMs) }
    case 'retry':
      return { claim, attempt, execution: waiting({ ...stands, attempts: failed.attempts }, now + next.delayMs) }
    case 'bury': {
      const dead = finished({ ...stands, attempts: failed.attempts }, 'dead', now)
      return { claim, attempt, execution: { ...dead, error: reasonOf(next.because, error, stands) } }
    }
  }
}

/** A suspicion counts once, and has the execution run alone from then on; each proof counts one more. */
function crashesAfter(crashes: number, blame: Blame): number {
  if (blame === 'none') return crashes
  return Math.max(crashes, 1) + (blame === 'proven' ? 1 : 0)
}

/** A claim whose hook is gone ends as a dead letter: it can be replayed should the hook come back. */
export function buryOrphan(claim: Claim, now: number): Settlement {
  const error = failureOf(hookGone(claim.execution.hookPath), NO_SECRETS)
  return { claim, attempt: null, execution: { ...finished(claim.execution, 'dead', now), error } }
}

function reasonOf(because: ErrorCode, error: RuntimeError, stands: Execution): Execution['error'] {
  if (because === error.code || !stands.error) return stands.error
  const message = `This execution has cost a runner process twice; the last time: ${stands.error.message}`
  return { ...stands.error, code: because, message }
}

const waiting = (execution: Execution, at: number): Execution => ({
  ...execution,
  status: execution.attempts > 0 ? 'retrying' : 'queued',
  nextAttemptAt: at
})

const finished = (execution: Execution, status: 'succeeded' | 'dead', now: number): Execution => ({
  ...execution,
  status,
  nextAttemptAt: null,
  finishedAt: now,
  durationMs: now - (execution.startedAt ?? now)
})
