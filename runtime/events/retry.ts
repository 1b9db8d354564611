import { type ErrorCode, retryOf } from '../errors.ts'
import type { RetryPolicy } from '../model.ts'

/** What becomes of an execution whose run failed. Delays are in milliseconds. */
export type NextStep =
  | { step: 'retry'; delayMs: number }
  /** Again without using up an attempt: the runtime was at fault. */
  | { step: 'again'; delayMs: number }
  | { step: 'bury'; because: ErrorCode }

export interface FailedRun {
  code: ErrorCode
  /** Attempts used up, this one included. */
  attempts: number
  /** Runs started, whatever became of them. */
  runs: number
  /** One for being suspected of a runner's death, one for each proof. */
  crashes: number
  /** The script's own wish for the next delay. */
  retryAfterMs?: number | undefined
}

/** A suspicion, which makes it run alone, and two proofs: what has killed two runners kills no third. */
const MAX_CRASHES = 3
const MAX_FREE_DELAY_MS = 30_000
const DAY_MS = 86_400_000

/**
 * Decides by the failure's row in the table of errors and the hook's policy. Delays vary by a fifth either way, so that
 * what failed together does not come back together.
 */
export function nextStep(failed: FailedRun, policy: RetryPolicy, random: () => number = Math.random): NextStep {
  const { code, attempts, runs, crashes, retryAfterMs } = failed
  if (crashes >= MAX_CRASHES) return { step: 'bury', because: 'HOOK_KILLED_RUNNER' }
  const jitter = 0.8 + random() * 0.4
  switch (retryOf(code)) {
    case 'no':
      return { step: 'bury', because: code }
    case 'free': {
      const rest = retryAfterMs ?? Math.min(MAX_FREE_DELAY_MS, 25 * 2 ** Math.min(runs, 12)) * jitter
      return { step: 'again', delayMs: Math.round(Math.min(rest, DAY_MS)) }
    }
    case 'yes': {
      if (attempts >= policy.attempts) return { step: 'bury', because: code }
      const rest = policy.delaysMs[attempts - 1] ?? policy.delaysMs.at(-1) ?? 0
      return { step: 'retry', delayMs: Math.round(Math.max(rest * jitter, Math.min(retryAfterMs ?? 0, DAY_MS))) }
    }
  }
}
