import { RuntimeError } from '../errors.ts'
import type { Hook } from '../model.ts'

/**
 * Counts the calls over HTTP that each hook has under way, those that wait for a runner included. More than a hook's
 * `concurrency` (default: `most`) are refused, so that callers of one hook leave room and memory for the others.
 * Answers how to tell that a call is over; throws RATE_LIMITED.
 */
export function createCallPlaces(most: number): (hook: Hook) => () => void {
  const taken = new Map<string, number>()
  return ({ id, path, limits }) => {
    const places = limits.concurrency ?? most
    const count = (taken.get(id) ?? 0) + 1
    if (count > places)
      throw new RuntimeError('RATE_LIMITED', `${path} has ${places} calls under way, its share; call again later.`, {
        retryAfterMs: 1_000
      })
    taken.set(id, count)
    return () => {
      const left = (taken.get(id) ?? 1) - 1
      if (left === 0) taken.delete(id)
      else taken.set(id, left)
    }
  }
}
