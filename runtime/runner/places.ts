import { LRUCache } from 'lru-cache'

/** What a run may execute, in milliseconds, and still be short, or be no burden. */
const SHORT_MS = 50
const FAIR_MS = 100
/** Short runs of one hook that may execute at once for each process that there is. */
const MOST_EACH = 16
const MAX_REMEMBERED = 1_000

export interface Places {
  of: (pool: string) => number
  /** Tells of a run that has ended by itself, or, with null, that it had to be ended. */
  note: (pool: string, executedMs: number | null) => void
}

/**
 * How many runs of a hook may execute at once in `processes` that share the work: one of a hook that nobody knows, one
 * more with each short run, one for each process when they are longer, and one again when they are a burden. So a hook
 * that hogs the processor does so with few runs, and short ones need not wait for one another.
 */
export function createPlaces(processes: number): Places {
  const earned = new LRUCache<string, number>({ max: MAX_REMEMBERED })
  const of = (pool: string) => earned.get(pool) ?? 1
  const after = (pool: string, executedMs: number | null) => {
    if (executedMs === null || executedMs > FAIR_MS) return 1
    return executedMs > SHORT_MS ? processes : Math.min(MOST_EACH * processes, of(pool) + 1)
  }
  return { of, note: (pool, executedMs) => void earned.set(pool, after(pool, executedMs)) }
}
