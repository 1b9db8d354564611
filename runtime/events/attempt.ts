import { asRuntimeError, RuntimeError, retryOf } from '../errors.ts'
import { createAnnouncer } from '../host/announce.ts'
import { createDbHost, type EffectMarker, findMarker } from '../host/db.ts'
import { createHttpHost } from '../host/http.ts'
import type { HttpClient } from '../host/http-client.ts'
import { createMasks, maskJson } from '../host/mask.ts'
import { createRunHost } from '../host/run-host.ts'
import { createSecretGuard } from '../host/secret-hosts.ts'
import type { ShopDatabase } from '../host/shop.ts'
import type { createAccess } from '../host/sql/access.ts'
import type { Targets } from '../host/targets.ts'
import type { Announcement, Execution, HookEvent, Json, Limits } from '../model.ts'
import type { Fleet } from '../runner/fleet.ts'
import type { RunOutcome } from '../runner/run.ts'
import type { EnvStore } from '../store/env.ts'
import type { PublishedHook } from '../store/hooks.ts'
import type { Queue } from '../store/queue.ts'
import { openJournal } from './journal.ts'
import type { Snapshot } from './registry.ts'
import { type AttemptReport, type Blame, type RunRecord, startRecord } from './run-record.ts'
import { putOff, type Verdict, verdictOf } from './verdict.ts'

/** One run to be made: an execution of an event by a hook as it is published now. */
export interface AttemptRequest {
  event: HookEvent
  /** As it stands while it runs: `runs` counts this run already, `attempts` not yet this attempt. */
  execution: Execution
  published: PublishedHook
  hooks: Snapshot
  signal: AbortSignal
  /** Whether the execution is surely still this node's; false: another one may have begun it anew. */
  holds?: () => boolean
  /** For a call over HTTP: `payload.request`, and the globals `path`, `param`, `body`, `header`. */
  request?: { request: Json; globals: Record<string, Json> }
}

export interface AttemptNeeds {
  fleet: Fleet
  shop: ShopDatabase
  /** What an owner's scripts may ask the shop. */
  access: ReturnType<typeof createAccess>
  http: HttpClient
  targets: Pick<Targets, 'enter'>
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
  const maskOf = createMasks()

  return async function runAttempt(request) {
    const run = startRecord(request)
    try {
      const done = await settledByMarker(needs, request, run)
      if (done) return done
      const report = await perform(needs, request, run, maskOf)
      // A former run may have committed while this one went on, which then met its effects.
      return (report.error && (await settledByMarker(needs, request, run))) || report
    } catch (thrown) {
      return run.report({ ok: false, error: asRuntimeError(thrown), result: null, keepWrites: 'no' })
    }
  }
}

/** What an earlier run has committed, told once more; null: none has. */
async function settledByMarker(
  needs: AttemptNeeds,
  { execution, event }: AttemptRequest,
  run: RunRecord
): Promise<AttemptReport | null> {
  const marker = execution.runs > 1 ? await findMarker(needs.shop, execution.id) : null
  if (!marker) return null
  await needs.announce(marker.announcements, event)
  return run.alreadyDone(marker.result)
}

async function perform(
  needs: AttemptNeeds,
  request: AttemptRequest,
  run: RunRecord,
  maskOf: ReturnType<typeof createMasks>
): Promise<AttemptReport> {
  const parts = await compose(needs, request, run, maskOf)
  try {
    const verdict = await judge(needs, request, run, parts)
    parts.hangUp()
    const { announcements } = parts.announcer
    const marker = { executionId: request.execution.id, result: maskJson(verdict.result, run.mask), announcements }
    const ended = await endTransaction(parts, verdict, marker, request.execution.runs > 1)
    return run.report(ended.ok ? await tell(needs, announcements, request, ended) : ended)
  } finally {
    parts.over()
    parts.hangUp()
    // Ended already, unless something above has thrown: no transaction outlives its run.
    await parts.db.rollback()
  }
}

type Parts = Awaited<ReturnType<typeof compose>>

/** The host of a run from its parts. `over` ends what the script may do, `hangUp` what goes on for it outside. */
async function compose(
  needs: AttemptNeeds,
  request: AttemptRequest,
  run: RunRecord,
  maskOf: ReturnType<typeof createMasks>
) {
  const { shop, http: client, targets } = needs
  const { execution, event, hooks, signal } = request
  const { hook } = request.published
  const limits = { ...needs.limits, ...hook.limits }
  const env = await needs.env.granted(hook.merId, hook.env, hooks.revision)
  run.mask = maskOf(env.secrets)
  const fence = () => {
    if (request.holds?.() === false) throw leaseLost()
  }
  const over = new AbortController()
  const hangUp = new AbortController()
  const endOfRun = AbortSignal.any([over.signal, signal])
  const db = createDbHost({
    ...{ shop, limits, mode: hook.transaction, hook: hook.id },
    ...{ read: needs.access(hook.merId), signal: endOfRun }
  })
  const journal = await openJournal(needs.journal, execution, fence)
  const http = createHttpHost({
    ...{ client, limits, journal, targets, executionId: execution.id, permit: createSecretGuard(env.bound) },
    hook: { hookId: hook.id, hookPath: hook.path, merId: hook.merId },
    signal: AbortSignal.any([hangUp.signal, signal])
  })
  const library = async (path: string) => textOf(hooks.library(path, hook.merId))
  const announcer = createAnnouncer({ executionId: execution.id, merId: hook.merId, depth: event.depth })
  const host = createRunHost({ db, http, announcer, library, limits, mask: run.mask, signal: endOfRun, fence })
  run.host = host
  return {
    ...{ limits, values: env.values, fence, db, journal, http, announcer, host },
    over: () => over.abort(),
    hangUp: () => hangUp.abort()
  }
}

/** Has the script run, and decides what its end means. */
async function judge(
  { fleet }: AttemptNeeds,
  request: AttemptRequest,
  run: RunRecord,
  { limits, values, host, db, http, journal, over }: Parts
): Promise<Verdict> {
  const { execution, signal } = request
  const { hook, version } = request.published
  const outcome = await fleet.run(
    {
      pool: `${hook.id}:${hook.merId}:${version.version}:${limits.memoryMb}`,
      name: hook.path,
      script: version.compiled ?? version.script,
      limits,
      input: { payload: payloadOf(request), env: values, globals: request.request?.globals ?? {} }
    },
    { call: host.call, log: run.log },
    { alone: execution.crashes > 0, signal }
  )
  over()
  run.outcome = outcome
  run.blame = blameOf(outcome)
  // A caller over HTTP waits for the script's own words.
  const refusal = request.request ? null : host.refusal
  const verdict = putOff(verdictOf(outcome, host.doom, version.script, limits), refusal)
  if (!verdict.ok && retryOf(verdict.error.code) === 'free') {
    // Its locks go at once. A call that is out is waited for and kept, so that the next run need not repeat it.
    await db.rollback()
    await http.idle()
    await journal.idle()
  }
  return verdict
}

function blameOf({ end, wedged }: RunOutcome): Blame {
  if (wedged) return 'proven'
  return end.end === 'lost' && end.suspect ? 'suspected' : 'none'
}

/** Commits or rolls back; a commit that fails, or finds that an earlier run was first, turns the verdict. */
async function endTransaction(
  { db, fence }: Parts,
  verdict: Verdict,
  marker: EffectMarker,
  repeated: boolean
): Promise<Verdict> {
  try {
    fence()
    if (verdict.keepWrites === 'no') {
      await db.rollback()
      return verdict
    }
    const marked = verdict.keepWrites === 'marked'
    const commit = await db.commit(marked || repeated ? marker : null, marked)
    if (commit === 'already') throw leaseLost()
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

const leaseLost = (): RuntimeError =>
  new RuntimeError('RUNNER_LOST', "The run's lease has ended: its node was held up, or cut off; it runs again.")

/** The failure of a hook that is no longer there to be run. */
export const hookGone = (path: string): RuntimeError =>
  new RuntimeError('HOOK_GONE', `The hook ${path} was deleted or has no published version; nothing can run this event.`)
