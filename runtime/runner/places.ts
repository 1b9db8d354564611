import { LRUCache } from 'lru-cache'

/** What a hook's turns may take of the processor on average, in milliseconds, and still be short. */
export const SHORT_MS = 3.5
/** A turn that takes more is a burden. */
const HEAVY_MS = 100
/** What one turn counts in the average. */
const WEIGHT = 0.2
/** Short turns of one hook that may be taken at once for each process that there is. */
const MOST_EACH = 16
const MAX_REMEMBERED = 1_000

export interface Places {
  of: (pool: string) => number
  /** Tells what each turn of a run that ended by itself took on average; null: it had to be ended. */
  note: (pool: string, turnMs: number | null) => void
}

interface Earned {
  places: number
  meanMs: number
}

const NOTHING: Earned = { places: 1, meanMs: 0 }

/**
 * How many runs of a hook may execute at once in `processes` that share the work: one of a hook that nobody knows, one
 * more with each run of short turns, one for each process when they are longer, and one again when they are a burden. So
 * a hook that hogs the processor does so with few runs, and short ones need not wait for one another. A turn is what a
 * run executes from one call to its host to the next.
 */
export function createPlaces(processes: number): Places {
  const earned = new LRUCache<string, Earned>({ max: MAX_REMEMBERED })
  const after = ({ places, meanMs: before }: Earned, turnMs: number | null): Earned => {
    if (turnMs === null || turnMs > HEAVY_MS) return { places: 1, meanMs: before }
    const meanMs = before + WEIGHT * (turnMs - before)
    return { meanMs, places: meanMs > SHORT_MS ? processes : Math.min(MOST_EACH * processes, places + 1) }
  }
  return {
    of: pool => (earned.get(pool) ?? NOTHING).places,
    note: (pool, turnMs) => void earned.set(pool, after(earned.get(pool) ?? NOTHING, turnMs))
  }
}
