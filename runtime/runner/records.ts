import { LRUCache } from 'lru-cache'
import { createAccounts, type Terms } from './accounts.ts'
import { SHORT_MS } from './places.ts'
import type { RunOutcome } from './run.ts'

/**
 * Where a hook's runs belong. `shared`: with all others. `apart`: with those that are a burden, behind all others.
 * `alone`: in a process of their own, one at a time.
 */
export type Place = 'shared' | 'apart' | 'alone'

/** A run that takes so much of the processor belongs behind the others. */
const HEAVY_MS = 100
/** So do runs of long turns, each no burden, that together take more than this: milliseconds of the processor. */
const TOGETHER: Terms = { perSecond: 250, atOnce: 250 }
/** For so long, when no single run was to blame. */
const SHORT_MEMORY_MS = 60_000
/** So long a hook is remembered by its last misdeed. */
const MEMORY_MS = 10 * 60_000
const MAX_REMEMBERED = 10_000

export interface Records {
  placeOf: (pool: string) => Place
  /** `turnMs`: what its turns took of the processor on average. */
  note: (pool: string, outcome: RunOutcome, turnMs: number) => void
}

/**
 * What is remembered of hooks that were a burden to others, by pool (a version of a hook: a mended one starts afresh).
 * One that cost its runner runs alone for ten minutes, one that took too much memory or processor time runs apart; for a
 * minute only, when it took that with many runs.
 */
export function createRecords(): Records {
  const places = new LRUCache<string, Place>({ max: MAX_REMEMBERED, ttl: MEMORY_MS })
  const time = createAccounts(TOGETHER)
  return {
    placeOf: pool => places.get(pool) ?? 'shared',
    note(pool, { end: { end }, cpuMs, wedged }, turnMs) {
      if (wedged) places.set(pool, 'alone')
      else if (places.get(pool) === 'alone') return
      else if (end === 'cpu' || end === 'memory' || cpuMs > HEAVY_MS) places.set(pool, 'apart')
      else if (turnMs > SHORT_MS && time(pool, cpuMs) > 0 && places.getRemainingTTL(pool) < SHORT_MEMORY_MS)
        places.set(pool, 'apart', { ttl: SHORT_MEMORY_MS })
    }
  }
}
