import { LRUCache } from 'lru-cache'

/** Runs of a hook that may execute at once in a process: of one that nobody knows, and of one that has proved short. */
const LEAST = 1
const MOST = 16
/** A run that executes for longer, in milliseconds, costs its hook all that it has earned. */
const SHORT_MS = 50
const MAX_REMEMBERED = 1_000

export interface Places {
  of: (pool: string) => number
  /** Tells of a run that has ended by itself, or, with null, that it had to be ended. */
  note: (pool: string, executedMs: number | null) => void
}

/**
 * How many runs of a hook may execute at once: more with each short one. So a hook that hogs the processor does so with
 * few runs, and short ones need not wait for one another.
 */
export function createPlaces(): Places {
  const earned = new LRUCache<string, number>({ max: MAX_REMEMBERED })
  const of = (pool: string) => earned.get(pool) ?? LEAST
  return {
    of,
    note: (pool, executedMs) =>
      void earned.set(pool, executedMs !== null && executedMs < SHORT_MS ? Math.min(MOST, of(pool) + 1) : LEAST)
  }
}
