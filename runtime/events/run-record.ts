import { RuntimeError } from '../errors.ts'
import { type Mask, maskJson, NO_SECRETS, visible } from '../host/mask.ts'
import type { RunHostCalls } from '../host/run-host.ts'
import type { Attempt, Execution, Failure, Json, LogLine } from '../model.ts'
import type { RunOutcome } from '../runner/run.ts'
import type { ScriptResponse } from '../sandbox/wire.ts'
import type { PublishedHook } from '../store/hooks.ts'
import type { Verdict } from './verdict.ts'

/** What a run came to. */
export interface AttemptReport {
  /** What to remember of the run, secrets masked. */
  attempt: Attempt
  /** The failure; null: it went well. */
  error: RuntimeError | null
  /** What the script returned, secrets masked: the answer to a call over HTTP. */
  result: Json
  response: ScriptResponse | undefined
  /** Whether this run cost its runner: it may have, among others; or nobody else can have. */
  blame: Blame
}

export type Blame = 'none' | 'suspected' | 'proven'

/** What is known of a run while it goes on. */
export interface RunRecord {
  mask: Mask
  host: RunHostCalls | null
  outcome: RunOutcome | null
  blame: Blame
  log: (line: LogLine) => void
  report: (verdict: Verdict) => AttemptReport
  alreadyDone: (result: Json) => AttemptReport
}

/** Begins the record of a run that starts now. */
export function startRecord({ execution, published }: { execution: Execution; published: PublishedHook }): RunRecord {
  const startedAt = Date.now()
  const begun = performance.now()
  const logs: LogLine[] = []

  const record: RunRecord = {
    mask: NO_SECRETS,
    host: null,
    outcome: null,
    blame: 'none',
    log: line => void logs.push(line),
    report(verdict) {
      const { mask, host, outcome } = record
      const error = verdict.ok ? null : masked(verdict.error, mask)
      const result = maskJson(verdict.result, mask)
      return {
        error,
        result,
        response: maskJson(verdict.response, mask),
        blame: record.blame,
        attempt: {
          attempt: execution.attempts + 1,
          run: execution.runs,
          version: published.version.version,
          startedAt,
          durationMs: Math.round((performance.now() - begun) * 100) / 100,
          cpuMs: outcome?.cpuMs ?? 0,
          result,
          error: verdict.ok ? null : failureOf(verdict.error, mask, verdict.stack),
          logs: logs.map(line => ({ ...line, message: visible(mask(line.message)) })),
          logsCut: outcome?.logsCut ?? 0,
          calls: host?.calls ?? []
        }
      }
    },
    alreadyDone(result) {
      const message = 'An earlier run had committed its effects: settled from its marker, not run again.'
      logs.push({ at: startedAt, level: 'info', message })
      return record.report({ ok: true, result, keepWrites: 'marked' })
    }
  }
  return record
}

const MAX_TEXT = 4_000
const cut = (text: string): string =>
  text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}… (${text.length - MAX_TEXT} more characters)` : text

/** A failure as a caller over HTTP may see it. */
function masked(error: RuntimeError, mask: Mask): RuntimeError {
  const { code, message, cause, position, retryAfterMs, fields, data } = error
  const place = position && { ...position, excerpt: mask(position.excerpt) }
  const details = { cause, position: place, fields, data: maskJson(data, mask) }
  return new RuntimeError(code, cut(visible(mask(message))), {
    ...details,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs })
  })
}

/** A failure as it is stored and shown. */
export function failureOf(error: RuntimeError, mask: Mask, stack?: string): Failure {
  const { code, message, position } = error
  const told = (text: string) => cut(visible(mask(text)))
  const place = position && { line: position.line, column: position.column, excerpt: told(position.excerpt) }
  return { code, message: told(message), ...place, ...(stack ? { stack: told(stack) } : {}) }
}
