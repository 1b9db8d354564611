import { createHash } from 'node:crypto'
import { v7 as uuid } from 'uuid'
import { RuntimeError } from '../errors.ts'
import type { TargetStore } from '../store/targets.ts'
import { type BreakerRule, type CallEnd, type Caller, createBreakers } from './breakers.ts'
import { type Admission, admit, freshState, leave, standing, type Target, type TargetState } from './target-state.ts'

/** A partner that everybody shares is not judged by calls that gave it less, in milliseconds. */
const FAIR_TIMEOUT_MS = 3_000

/** A call that wants to go out. */
export interface OutgoingCall {
  url: URL
  hook: Caller
  executionId: string
  timeoutMs: number
  /** Instead of what the target's own `full` says. */
  whenFull: 'queue' | 'throw' | undefined
}

/** How a target of config/targets.json stands. */
export interface TargetReport {
  host: string
  state: 'closed' | 'open' | 'half-open'
  failures: number
  /** While its breaker is open: until when, in milliseconds since the epoch. */
  until: number | null
  /** Runs that were promised a time. */
  waiting: number
}

/** The doors of outside systems. */
export interface Targets {
  /**
   * Lets a call through, or throws: HTTP_DEFERRED (the run is put off, at no attempt's expense), HTTP_FULL (the script
   * may catch it), HTTP_DROPPED; with `data.resting` when a breaker is open. Answers how to tell that the call is over.
   */
  enter: (call: OutgoingCall) => Promise<(end: CallEnd) => Promise<void>>
}

export interface TargetNeeds {
  targets: Target[]
  /** For all hosts that have none of their own in `targets`. */
  breaker: BreakerRule
  store: Pick<TargetStore, 'change' | 'all'>
  now?: () => number
}

/**
 * Keeps the limits of `config/targets.json`, together with all other nodes. Any other host has a breaker for each hook
 * that calls it, in this node's memory, which costs a call nothing.
 */
export function createTargets({ targets, breaker, store, now = Date.now }: TargetNeeds) {
  const byHost = new Map(targets.map(target => [target.host, target]))
  const breakers = createBreakers(breaker, now)
  const enterShared = sharedDoor(store, now)

  /** Throws when the hook has to leave the host alone. */
  function pass({ url, hook, timeoutMs, whenFull }: OutgoingCall): (end: CallEnd) => void {
    const entry = breakers.enter(hook, url.host, timeoutMs)
    if (entry.admit) return entry.leave
    // The script may get along without this host: it is told, unless it wants to wait.
    throw refusal({ admit: false, until: entry.until, broken: true }, url.host, whenFull !== 'queue', now())
  }

  return {
    async enter(call: OutgoingCall): Promise<(end: CallEnd) => Promise<void>> {
      const target = byHost.get(call.url.host)
      const throws = (call.whenFull ?? (target?.full === 'merge' ? 'throw' : 'queue')) === 'throw'
      const tell = target?.breaker ? () => {} : pass(call)
      if (!target) return async end => tell(end)
      try {
        const tellAll = await enterShared(call, target, throws)
        return async end => {
          tell(end)
          await tellAll(end)
        }
      } catch (error) {
        tell('unsaid')
        throw error
      }
    },

    /** Hosts that have lately failed a hook on this node. */
    breakers: breakers.list,

    /** Targets of config/targets.json that have ever been called, as all nodes see them. */
    async report(): Promise<TargetReport[]> {
      const stored = await store.all<TargetState>()
      return stored.flatMap(({ name, state }) => {
        const target = byHost.get(name.split(' ')[0] ?? '')
        return target ? [{ host: target.host, ...standing(target, state, now()) }] : []
      })
    }
  }
}

/** The door of a target whose limits all nodes keep. */
const sharedDoor =
  (store: Pick<TargetStore, 'change'>, now: () => number) =>
  async (call: OutgoingCall, target: Target, throws: boolean): Promise<(end: CallEnd) => Promise<void>> => {
    const { executionId: who, timeoutMs } = call
    const name = nameOf(target, call.url)
    const id = uuid()
    const admission = await store.change<TargetState, Admission>(name, before => {
      const answer = admit(target, before ?? freshState(), { who, call: id, timeoutMs, now: now(), comesBack: !throws })
      return { state: answer.state, answer }
    })
    if (admission.admit !== true) throw refusal(admission, target.host, throws, now())
    return end =>
      store.change<TargetState, void>(name, before => {
        // A script that gives everybody's partner no time to answer must not close it to the others.
        const fair = end === 'badly' && timeoutMs < FAIR_TIMEOUT_MS ? 'unsaid' : end
        return { state: leave(target, before ?? freshState(), id, fair, now()), answer: undefined }
      })
  }

/** The host, and for one with callers of their own a digest of who calls: that parameter is a secret. */
function nameOf({ host, each }: Target, url: URL): string {
  const caller = each === undefined ? null : url.searchParams.get(each)
  return caller === null ? host : `${host} ${createHash('sha256').update(caller).digest('hex').slice(0, 12)}`
}

type Refused = { admit: 'dropped' } | { admit: false; until: number; broken: boolean }

function refusal(admission: Refused, host: string, throws: boolean, now: number): RuntimeError {
  if (admission.admit === 'dropped')
    return new RuntimeError(
      'HTTP_DROPPED',
      `http: too many runs waited for ${host}; this one was given up for newer ones.`
    )
  const retryAfterMs = Math.max(1, admission.until - now)
  const why = admission.broken ? 'has failed repeatedly and rests' : 'takes no more calls now'
  const message = `http: ${host} ${why}; again in ${Math.ceil(retryAfterMs / 1000)} s.`
  const data = { retryAfterMs, resting: admission.broken }
  return new RuntimeError(throws ? 'HTTP_FULL' : 'HTTP_DEFERRED', message, { retryAfterMs, data })
}
