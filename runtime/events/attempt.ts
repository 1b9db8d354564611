import { asRuntimeError, RuntimeError } from '../errors.ts'
import { createAnnouncer } from '../host/announce.ts'
import { createDbHost, type DbHost, type EffectMarker, findMarker } from '../host/db.ts'
import { createHttpHost, type Journal, type ScriptAnswer } from '../host/http.ts'
import type { HttpClient } from '../host/http-client.ts'
import { createMask, type Mask, maskJson } from '../host/mask.ts'
import { createRunHost, type RunHostCalls } from '../host/run-host.ts'
import type { ShopDatabase } from '../host/shop.ts'
import type { Targets } from '../host/targets.ts'
import type { Announcement, Attempt, Execution, Failure, HookEvent, Json, Limits, LogLine } from '../model.ts'
import type { Fleet } from '../runner/fleet.ts'
import type { RunOutcome } from '../runner/runner.ts'
import type { ScriptResponse } from '../sandbox/wire.ts'
import type { EnvStore } from '../store/env.ts'
import type { PublishedHook } from '../store/hooks.ts'
import type { Queue } from '../store/queue.ts'
import type { Snapshot } from './registry.ts'
import { type Verdict, verdictOf } from './verdict.ts'

/** One run to be made: an execution of an event by a hook as it is published now. */
export interface AttemptRequest {
  event: HookEvent
  /** As it stands while it runs: `runs` counts this run already, `attempts` not yet this attempt. */
  execution: Execution
  published: PublishedHook
  hooks: Snapshot
  signal: AbortSignal
  /** For a call over HTTP: `payload.request`, and the globals `path`, `param`, `body`, `header`. */
  request?: { request: Json; globals: Record<string, Json> }
}

export interface AttemptReport {
  /** What to remember of the run, secrets masked. */
  attempt: Attempt
  /** The failure; null: it went well. */
  error: RuntimeError | null
  /** What the script returned, unmasked: the answer to a call over HTTP. */
  result: Json
  response: ScriptResponse | undefined
  /** Whether this run cost its runner: it may have, among others; or nobody else can have. */
  blame: Blame
}

export type Blame = 'none' | 'suspected' | 'proven'

export interface AttemptNeeds {
  fleet: Fleet
  shop: ShopDatabase
  http: HttpClient
  targets: Targets
  env: Pick<EnvStore, 'granted'>
  journal: Pick<Queue, 'journal' | 'journaled'>
  limits: Limits
  /** Tells what a run wanted told, once its writes are committed; telling the same twice must do no harm. */
  announce: (announcements: Announcement[], event: HookEvent) => Promise<void>
}

export type RunAttempt = (request: AttemptRequest) => Promise<AttemptReport>

/**
 * Makes runs: composes a run's host, has the script run, and ends its transaction. Never rejects: whatever fails is in
 * the report. An execution whose effects an earlier run has committed is not run again: its marker tells the result.
 */
export function createRunAttempt(needs: AttemptNeeds): RunAttempt {
  const quarantined = new Set<string>()

  return async function runAttempt(request) {
    const run = startRecord(request)
    try {
      const marker = request.execution.runs > 1 ? await findMarker(needs.shop, request.execution.id) : null
      if (marker) {
        await needs.announce(marker.announcements, request.event)
        return run.alreadyDone(marker.result)
      }
      return await perform(needs, request, run, quarantined)
    } catch (thrown) {
      return run.report({ ok: false, error: asRuntimeError(thrown), result: null, keepWrites: 'no' })
    }
  }
}

async function perform(
  needs: AttemptNeeds,
  request: AttemptRequest,
  run: RunRecord,
  quarantined: Set<string>
): Promise<AttemptReport> {
  const { execution, published, signal } = request
  const { hook, version } = published
  const limits = { ...needs.limits, ...hook.limits }
  const env = await needs.env.granted(hook.merId, hook.env, request.hooks.revision)
  run.mask = createMask(env.secrets)

  const over = new AbortController()
  const endOfRun = AbortSignal.any([over.signal, signal])
  const db = createDbHost({ shop: needs.shop, limits, mode: hook.transaction, signal: endOfRun })
  try {
    const journal = await openJournal(needs.journal, execution)
    const http = createHttpHost({
      client: needs.http,
      limits,
      executionId: execution.id,
      journal,
      targets: needs.targets,
      signal: endOfRun
    })
    const library = async (path: string) => textOf(request.hooks.library(path, hook.merId))
    const announcer = createAnnouncer({ executionId: execution.id, merId: hook.merId, depth: request.event.depth })
    const host = createRunHost({ db, http, announcer, library, limits, mask: run.mask, signal: endOfRun })
    run.host = host

    const alone = execution.crashes > 0 || quarantined.has(hook.id)
    const outcome = await needs.fleet.run(
      {
        pool: `${hook.id}:${version.version}:${limits.memoryMb}`,
        name: hook.path,
        script: version.compiled ?? version.script,
        limits,
        input: { payload: payloadOf(request), env: env.values, globals: request.request?.globals ?? {} }
      },
      { call: host.call, log: run.log },
      { alone, signal }
    )
    over.abort()
    if (outcome.wedged) quarantined.add(hook.id)
    run.outcome = outcome
    run.blame = blameOf(outcome, alone)
    const verdict = verdictOf(outcome, host.doom, version.script, limits)
    const { announcements } = announcer
    const result = maskJson(verdict.result, run.mask)
    const ended = await endTransaction(db, verdict, { executionId: execution.id, result, announcements })
    return run.report(ended.ok ? await tell(needs, announcements, request, ended) : ended)
  } finally {
    over.abort()
    // Ended already, unless something above has thrown: no transaction outlives its run.
    await db.rollback()
  }
}

function blameOf({ end, wedged }: RunOutcome, alone: boolean): Blame {
  if (wedged) return 'proven'
  if (end.end !== 'lost' || !end.suspect) return 'none'
  return alone ? 'proven' : 'suspected'
}

/** Commits or rolls back; a commit that fails turns the verdict. */
async function endTransaction(db: DbHost, verdict: Verdict, marker: EffectMarker): Promise<Verdict> {
  try {
    if (verdict.keepWrites === 'no') await db.rollback()
    else await db.commit(verdict.keepWrites === 'marked' ? marker : null)
    return verdict
  } catch (thrown) {
    return { ok: false, error: asRuntimeError(thrown), result: verdict.result, keepWrites: 'no' }
  }
}

/** What can't be told now is told by the next run, which finds the marker, or the same calls in the journal. */
async function tell(
  needs: AttemptNeeds,
  announcements: Announcement[],
  { event }: AttemptRequest,
  verdict: Verdict
): Promise<Verdict> {
  if (announcements.length === 0) return verdict
  try {
    await needs.announce(announcements, event)
    return verdict
  } catch (thrown) {
    return { ok: false, error: asRuntimeError(thrown), result: verdict.result, keepWrites: 'no' }
  }
}

const textOf = (library: PublishedHook | undefined): string | null =>
  library ? (library.version.compiled ?? library.version.script) : null

function payloadOf({ event, execution, request }: AttemptRequest): Json {
  if (request) return { request: request.request }
  const { id, eventKey, payload, timestamp, merId, key, data } = event
  const attempt = execution.attempts + 1
  return { event: { id, eventKey, payload, timestamp, merId, key, attempt, ...(data === undefined ? {} : { data }) } }
}

/** The journal of this attempt: only a repeated run can find anything in it. */
async function openJournal(store: AttemptNeeds['journal'], execution: Execution): Promise<Journal> {
  const attempt = execution.attempts + 1
  const entries = execution.runs > 1 ? await store.journaled(execution.id, attempt) : []
  const known = new Map(entries.map(entry => [`${entry.callNo} ${entry.fingerprint}`, entry.answer as ScriptAnswer]))
  return {
    find: (callNo, fingerprint) => known.get(`${callNo} ${fingerprint}`) ?? null,
    keep: (callNo, fingerprint, answer) => store.journal(execution.id, attempt, { callNo, fingerprint, answer })
  }
}

/** What is known of a run while it goes on. */
interface RunRecord {
  mask: Mask
  host: RunHostCalls | null
  outcome: RunOutcome | null
  blame: Blame
  log: (line: LogLine) => void
  report: (verdict: Verdict) => AttemptReport
  alreadyDone: (result: Json) => AttemptReport
}

function startRecord({ execution, published }: AttemptRequest): RunRecord {
  const startedAt = Date.now()
  const begun = performance.now()
  const logs: LogLine[] = []

  const record: RunRecord = {
    mask: createMask([]),
    host: null,
    outcome: null,
    blame: 'none',
    log: line => void logs.push(line),
    report(verdict) {
      const { mask, host, outcome } = record
      const error = verdict.ok ? null : verdict.error
      return {
        error,
        result: verdict.result,
        response: verdict.response,
        blame: record.blame,
        attempt: {
          attempt: execution.attempts + 1,
          run: execution.runs,
          version: published.version.version,
          startedAt,
          durationMs: Math.round((performance.now() - begun) * 100) / 100,
          cpuMs: outcome?.cpuMs ?? 0,
          result: maskJson(verdict.result, mask),
          error: error && failureOf(error, mask, verdict.ok ? undefined : verdict.stack),
          logs: logs.map(line => ({ ...line, message: mask(line.message) })),
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

/** A failure as it is stored and shown. */
export function failureOf(error: RuntimeError, mask: Mask, stack?: string): Failure {
  const { code, message, position } = error
  const place = position && { line: position.line, column: position.column, excerpt: mask(position.excerpt) }
  return { code, message: cut(mask(message)), ...place, ...(stack ? { stack: cut(mask(stack)) } : {}) }
}

/** The failure of a hook that is no longer there to be run. */
export const hookGone = (path: string): RuntimeError =>
  new RuntimeError('HOOK_GONE', `The hook ${path} was deleted or has no published version; nothing can run this event.`)
