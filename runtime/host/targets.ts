import { createHash } from 'node:crypto'
import { v7 as uuid } from 'uuid'
import { RuntimeError } from '../errors.ts'
import type { TargetStore } from '../store/targets.ts'
import { type Admission, admit, freshState, leave, type Target, type TargetState } from './target-state.ts'

/** A call that wants to go out. */
export interface OutgoingCall {
  url: URL
  executionId: string
  timeoutMs: number
  /** Instead of what the target's own `full` says. */
  whenFull: 'queue' | 'throw' | undefined
}

/** The doors of outside systems that have limits. */
export interface Targets {
  /**
   * Lets a call through, or throws: HTTP_DEFERRED (the run is put off, at no attempt's expense), HTTP_FULL (the script
   * may catch it), HTTP_DROPPED. Answers how to tell that the call is over.
   */
  enter: (call: OutgoingCall) => Promise<(ok: boolean) => Promise<void>>
}

export interface TargetNeeds {
  targets: Target[]
  store: Pick<TargetStore, 'change'>
  now?: () => number
}

/** Keeps the limits of `config/targets.json`, together with all other nodes. Hosts that it does not name have none. */
export function createTargets({ targets, store, now = Date.now }: TargetNeeds): Targets {
  const byHost = new Map(targets.map(target => [target.host, target]))

  return {
    async enter({ url, executionId, timeoutMs, whenFull }) {
      const target = byHost.get(url.host)
      if (!target) return async () => {}
      const name = nameOf(target, url)
      const call = uuid()
      const throws = (whenFull ?? (target.full === 'merge' ? 'throw' : 'queue')) === 'throw'
      const admission = await store.change<TargetState, Admission>(name, before => {
        const asking = { who: executionId, call, timeoutMs, now: now(), comesBack: !throws }
        const answer = admit(target, before ?? freshState(), asking)
        return { state: answer.state, answer }
      })
      if (admission.admit !== true) throw refusal(admission, target, throws, now())
      return ok =>
        store.change<TargetState, void>(name, before => ({
          state: leave(target, before ?? freshState(), call, ok, now()),
          answer: undefined
        }))
    }
  }
}

/** The host, and for one with callers of their own a digest of who calls: that parameter is a secret. */
function nameOf({ host, each }: Target, url: URL): string {
  const caller = each === undefined ? null : url.searchParams.get(each)
  return caller === null ? host : `${host} ${createHash('sha256').update(caller).digest('hex').slice(0, 12)}`
}

function refusal(
  admission: Exclude<Admission, { admit: true }>,
  { host }: Target,
  throws: boolean,
  now: number
): RuntimeError {
  if (admission.admit === 'dropped')
    return new RuntimeError(
      'HTTP_DROPPED',
      `http: too many runs waited for ${host}; this one was given up for newer ones.`
    )
  const retryAfterMs = Math.max(1, admission.until - now)
  const why = admission.broken ? 'has failed repeatedly and rests' : 'takes no more calls now'
  const message = `http: ${host} ${why}; again in ${Math.ceil(retryAfterMs / 1000)} s.`
  return throws
    ? new RuntimeError('HTTP_FULL', message, { retryAfterMs, data: { retryAfterMs } })
    : new RuntimeError('HTTP_DEFERRED', message, { retryAfterMs })
}
