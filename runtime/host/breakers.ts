import { LRUCache } from 'lru-cache'
import type { MerId } from '../model.ts'

/** After so many failures in a row no calls for a while, in milliseconds; then one, as a probe. */
export interface BreakerRule {
  failures: number
  openMs: number
}

/** Whose calls are counted together. */
export interface Caller {
  hookId: string
  hookPath: string
  merId: MerId | null
}

/** How a call ended: whether its host did its part; `unsaid`: the call does not tell. */
export type CallEnd = 'well' | 'badly' | 'unsaid'

export type Entry = { admit: true; leave: (end: CallEnd) => void } | { admit: false; until: number }

/** A host that has lately failed a hook. */
export interface BreakerReport {
  hook: Caller
  host: string
  state: 'closed' | 'open' | 'half-open'
  failures: number
  /** While it is open: until when, in milliseconds since the epoch. */
  until: number | null
}

export interface Breakers {
  enter: (hook: Caller, host: string, timeoutMs: number) => Entry
  list: () => BreakerReport[]
}

interface State {
  hook: Caller
  host: string
  failures: number
  openUntil: number
  /** While a probe is under way: when it is given up for lost. */
  probeUntil: number
}

/** Pairs of hook and host that are remembered; only those whose last call failed are. */
const MAX_STATES = 10_000
/** How soon to look again while a probe is under way. */
const PROBE_MS = 1_000

/**
 * A circuit breaker for each hook and host, in this node's memory. It is the hook's own, so that no hook can close a
 * host to others: neither by requests that must fail, nor by timeouts of a millisecond.
 */
export function createBreakers(rule: BreakerRule, now: () => number = Date.now): Breakers {
  const states = new LRUCache<string, State>({ max: MAX_STATES })

  function admit(state: State, timeoutMs: number): number | null {
    if (state.openUntil > now()) return state.openUntil
    if (state.failures < rule.failures) return null
    if (state.probeUntil > now()) return now() + PROBE_MS
    state.probeUntil = now() + timeoutMs
    return null
  }

  function failed(key: string, fresh: State): void {
    const state = states.get(key) ?? fresh
    state.failures++
    state.probeUntil = 0
    if (state.failures >= rule.failures && state.openUntil <= now()) state.openUntil = now() + rule.openMs
    states.set(key, state)
  }

  return {
    enter(hook, host, timeoutMs) {
      const key = `${hook.hookId} ${host}`
      const state = states.get(key)
      const until = state ? admit(state, timeoutMs) : null
      if (until !== null) return { admit: false, until }
      const leave = (end: CallEnd) => {
        if (end === 'well') states.delete(key)
        else if (end === 'badly') failed(key, { hook, host, failures: 0, openUntil: 0, probeUntil: 0 })
        else if (state) state.probeUntil = 0
      }
      return { admit: true, leave }
    },

    list: () =>
      [...states.values()].map(({ hook, host, failures, openUntil }) => {
        const open = openUntil > now()
        const state = open ? 'open' : failures >= rule.failures ? 'half-open' : 'closed'
        return { hook, host, failures, state, until: open ? openUntil : null }
      })
  }
}
