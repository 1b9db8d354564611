import type { CallEnd } from './breakers.ts'

/** An outside system with limits of its own, as `config/targets.json` describes it. */
export interface Target {
  /** Host name, with the port when it is not the scheme's own. */
  host: string
  /** A query parameter that tells several callers of the host apart (a robot's token): each has its own limits. */
  each?: string
  /** Calls in any sixty seconds. */
  perMinute?: number
  /** Calls at once. */
  parallel?: number
  /**
   * What becomes of a call that finds it full. `queue`: the run is put off until there is room. `merge`: the script is
   * told by an HttpError `HTTP_FULL` (`/lib/notify` then adds its message to a digest); a script that does not catch it
   * is put off. `drop-oldest`: as `queue`, but of more than `waiting` runs the oldest is given up.
   */
  full: 'queue' | 'merge' | 'drop-oldest'
  /** How many may wait under `drop-oldest`. */
  waiting?: number
  /** After so many failures in a row, no calls for a while; then one, as a probe. */
  breaker?: { failures: number; openMs: number }
}

/** What all nodes know of a target, in milliseconds since the epoch. */
export interface TargetState {
  /** Calls of the last minute. */
  sent: number[]
  /** Calls under way and when each is given up for lost (its node died). */
  busy: Record<string, number>
  /** Runs that wait, and the time that each was promised; in the order of asking. */
  promised: Record<string, number>
  /** Runs that waited too long under `drop-oldest`, until they learn it. */
  dropped: string[]
  /** Failures in a row. */
  failures: number
  /** While the breaker is open: until when. */
  openUntil: number
}

export const freshState = (): TargetState => ({
  ...{ sent: [], busy: {}, promised: {}, dropped: [], failures: 0, openUntil: 0 }
})

export type Admission =
  | { admit: true; state: TargetState }
  /** Not now: `until` is when to come again. `broken`: because the breaker is open. */
  | { admit: false; state: TargetState; until: number; broken: boolean }
  /** Never: others took its place. */
  | { admit: 'dropped'; state: TargetState }

export interface Asking {
  /** The execution: a promise made to it is kept. */
  who: string
  /** This call, and how long it may take at most. */
  call: string
  timeoutMs: number
  now: number
  /** Whether the caller will come back at `until`: only then a place is kept for it. */
  comesBack: boolean
}

const WINDOW_MS = 60_000
/** How soon to look again when all parallel calls are under way. */
const BUSY_MS = 1_000
/** A promise that was not redeemed for so long is void. */
const PATIENCE_MS = 600_000

/** Decides about one call. Pure: the caller owns clock and store. */
export function admit(target: Target, before: TargetState, asking: Asking): Admission {
  const state = forget(before, asking.now)
  const { who, now } = asking
  if (state.dropped.includes(who))
    return { admit: 'dropped', state: { ...state, dropped: state.dropped.filter(other => other !== who) } }
  if (state.openUntil > now) return { admit: false, state, until: state.openUntil, broken: true }
  const probing = isBroken(target, state)
  const most = probing ? 1 : (target.parallel ?? Number.POSITIVE_INFINITY)
  if (Object.keys(state.busy).length >= most) return { admit: false, state, until: now + BUSY_MS, broken: probing }

  const { [who]: _mine, ...others } = state.promised
  const free = freeFrom(
    target.perMinute,
    state.sent,
    state.promised[who] === undefined ? others : earlier(state, who),
    now
  )
  if (free <= now) {
    const busy = { ...state.busy, [asking.call]: now + asking.timeoutMs }
    return { admit: true, state: { ...state, sent: [...state.sent, now], busy, promised: others } }
  }
  if (!asking.comesBack) return { admit: false, state, until: free, broken: false }
  return { admit: false, until: free, broken: false, state: promise(target, state, who, free) }
}

/** What remains of a call when it is over. */
export function leave(target: Target, before: TargetState, call: string, end: CallEnd, now: number): TargetState {
  const { [call]: _over, ...busy } = before.busy
  if (end === 'unsaid') return { ...before, busy }
  if (end === 'well') return { ...before, busy, failures: 0, openUntil: 0 }
  const state = { ...before, busy, failures: before.failures + 1 }
  return target.breaker && isBroken(target, state) ? { ...state, openUntil: now + target.breaker.openMs } : state
}

/** How a target stands, for people. */
export function standing(target: Target, { failures, openUntil, promised }: TargetState, now: number) {
  const open = openUntil > now
  const state = open ? ('open' as const) : isBroken(target, { failures }) ? ('half-open' as const) : ('closed' as const)
  return { state, failures, until: open ? openUntil : null, waiting: Object.keys(promised).length }
}

const isBroken = ({ breaker }: Target, { failures }: Pick<TargetState, 'failures'>): boolean =>
  breaker !== undefined && failures >= breaker.failures

/** Leaves out what time has settled. */
function forget(state: TargetState, now: number): TargetState {
  const lasting = (times: Record<string, number>, since: number) =>
    Object.fromEntries(Object.entries(times).filter(([, time]) => time > since))
  return {
    ...state,
    sent: state.sent.filter(time => time > now - WINDOW_MS),
    busy: lasting(state.busy, now),
    promised: lasting(state.promised, now - PATIENCE_MS)
  }
}

/** The promises of earlier times than this one's: it need not stand behind later ones. */
function earlier({ promised }: TargetState, who: string): Record<string, number> {
  const entries = Object.entries(promised).sort(([, a], [, b]) => a - b)
  return Object.fromEntries(
    entries.slice(
      0,
      entries.findIndex(([name]) => name === who)
    )
  )
}

/** The first moment from `now` on at which one call more fits into every minute, promised ones counted. */
function freeFrom(
  perMinute: number | undefined,
  sent: number[],
  promised: Record<string, number>,
  now: number
): number {
  if (perMinute === undefined) return now
  const taken = [...sent, ...Object.values(promised).map(time => Math.max(time, now))].sort((a, b) => a - b)
  const last = taken[taken.length - perMinute]
  return last === undefined ? now : Math.max(now, last + WINDOW_MS)
}

function promise(target: Target, state: TargetState, who: string, at: number): TargetState {
  const promised = { ...state.promised, [who]: at }
  const waiting = Object.keys(promised)
  const [oldest] = waiting
  if (target.full !== 'drop-oldest' || oldest === undefined || waiting.length <= (target.waiting ?? 100))
    return { ...state, promised }
  const { [oldest]: place, ...kept } = promised
  return { ...state, promised: { ...kept, [who]: place ?? at }, dropped: [...state.dropped, oldest] }
}
