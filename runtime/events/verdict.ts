import { type ErrorCode, excerptOf, RuntimeError, type ScriptPosition } from '../errors.ts'
import type { Json, Limits } from '../model.ts'
import type { RunOutcome } from '../runner/run.ts'
import type { ScriptResponse } from '../sandbox/wire.ts'

/** What a run means: what it gave, or why it failed, and whether what it wrote stays. */
export type Verdict =
  | { ok: true; result: Json; response?: ScriptResponse | undefined; keepWrites: 'marked' }
  | {
      ok: false
      error: RuntimeError
      /** What the script returned or said, where it did. */
      result: Json
      response?: ScriptResponse | undefined
      keepWrites: 'unmarked' | 'no'
      stack?: string | undefined
    }

/** A script's body begins on this line of the text that the engine compiles. */
const LINES_BEFORE = 2

/** Reads a run's outcome. `doom`: a failure that decided the run before its script ended. */
export function verdictOf(outcome: RunOutcome, doom: RuntimeError | null, script: string, limits: Limits): Verdict {
  if (doom) return failed(doom)
  const { end } = outcome
  switch (end.end) {
    case 'returned':
      return ofReturn((end.value ?? null) as Json, end.response)
    case 'exited':
      return ofExit(end.code, end.message, (end.data ?? null) as Json)
    case 'threw':
      return ofThrow(end.error, script)
    case 'syntax':
      return failed(new RuntimeError('HOOK_SYNTAX', `The script does not compile: ${end.message}.`))
    default:
      return failed(new RuntimeError(...limitOf(end, limits)))
  }
}

/** Failures that a script may come to because a host took no call. */
const OWN_WORDS: ReadonlySet<ErrorCode> = new Set(['HOOK_THREW', 'HOOK_FAILED', 'HOOK_REJECTED', 'HOOK_EXITED'])

/**
 * A run that failed in the script's own words after a host had refused a call (HTTP_FULL) is put off until the host
 * takes calls again, at no attempt's expense; one that got along without that host stands.
 */
export const putOff = (verdict: Verdict, refusal: RuntimeError | null): Verdict =>
  refusal && !verdict.ok && OWN_WORDS.has(verdict.error.code) ? failed(refusal, { result: verdict.result }) : verdict

const failed = (error: RuntimeError, more: { result?: Json; stack?: string } = {}): Verdict => ({
  ok: false,
  error,
  result: more.result ?? null,
  keepWrites: 'no',
  stack: more.stack
})

type Limited = Exclude<RunOutcome['end'], { end: 'returned' | 'exited' | 'threw' | 'syntax' }>

function limitOf(end: Limited, limits: Limits): [ErrorCode, string] {
  switch (end.end) {
    case 'timeout':
      return [
        'HOOK_TIMEOUT',
        `The run took longer than ${limits.wallMs} ms; do less in one run, or raise limits.wallMs.`
      ]
    case 'pending':
      return ['HOOK_TIMEOUT', 'The script awaits a promise that nothing can settle any more.']
    case 'cpu':
      return [
        'HOOK_CPU_LIMIT',
        `The run used more than ${limits.cpuMs} ms of processor time; look for an endless loop.`
      ]
    case 'memory':
      return ['HOOK_MEMORY_LIMIT', `The run needed more than ${limits.memoryMb} MB of memory; handle less at a time.`]
    case 'oversized':
      return ['HOOK_RESULT_LIMIT', `The result has ${end.bytes} characters, above the limit of ${limits.resultBytes}.`]
    case 'stopped':
      return ['SHUTTING_DOWN', 'The run was broken off: the node was stopping, or the caller of the hook had hung up.']
    case 'lost':
      return ['RUNNER_LOST', 'The runner process ended during the run; the run starts again.']
  }
}

/** `{ success: false, retry?, retryAfterMs?, message? }` is a failure that keeps what the script wrote. */
function ofReturn(result: Json, response: ScriptResponse | undefined): Verdict {
  const said = typeof result === 'object' && result !== null && !Array.isArray(result) ? result : {}
  if (said.success !== false) return { ok: true, result, response, keepWrites: 'marked' }
  const message =
    typeof said.message === 'string' && said.message !== '' ? said.message : 'The script reported a failure.'
  const retryAfterMs = typeof said.retryAfterMs === 'number' ? said.retryAfterMs : undefined
  const error = new RuntimeError(said.retry === false ? 'HOOK_REJECTED' : 'HOOK_FAILED', message, {
    ...(retryAfterMs === undefined ? {} : { retryAfterMs })
  })
  return { ok: false, error, result, response, keepWrites: 'unmarked' }
}

function ofExit(code: number, message: string, data: Json): Verdict {
  if (code < 400) return { ok: true, result: { code, message, data }, keepWrites: 'marked' }
  const error = new RuntimeError('HOOK_EXITED', `exit(${code}): ${message}`, { data: { exitCode: code } })
  return failed(error, { result: { code, message, data } })
}

/** Codes that a host call's error may carry out of the script. */
const HOST_CODES = /^(DB|HTTP)_[A-Z]+$|^(LIBRARY_MISSING|ARGUMENT_INVALID)$/

function ofThrow(error: { name: string; message: string; code: string; stack: string }, script: string): Verdict {
  const { name, message, code, stack } = error
  const named = HOST_CODES.test(code) ? ` (${code})` : ''
  const failure = new RuntimeError('HOOK_THREW', `${name}: ${message}${named}`, { position: positionOf(stack, script) })
  return failed(failure, { stack: ownFrames(stack) })
}

/** The place of the script's own topmost frame. */
function positionOf(stack: string, script: string): ScriptPosition | undefined {
  const found = /hook:script:(\d+):(\d+)/.exec(stack)
  if (!found) return undefined
  const line = Number(found[1]) - LINES_BEFORE
  const column = Number(found[2])
  const text = script.split('\n')[line - 1]
  if (text === undefined) return undefined
  return { line, column, excerpt: excerptOf(text, column) }
}

/** The stack without our own frames, in the script's own line numbers. */
function ownFrames(stack: string): string {
  return stack
    .split('\n')
    .filter((line, i) => i === 0 || line.includes('hook:script') || line.includes('hook:/lib/'))
    .map(line => line.replace(/eval \((hook:[^)]*)\)/, '$1'))
    .map(line => line.replace(/hook:(script|\/lib\/[^:]*):(\d+)/, (_all, name, at) => `${name}:${at - LINES_BEFORE}`))
    .slice(0, 12)
    .join('\n')
}
