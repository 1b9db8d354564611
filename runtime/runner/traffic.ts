import { LRUCache } from 'lru-cache'

/** What a hook may move between a process and us in the long run, in characters a second, and at once. */
const PER_SECOND = 8_000_000
const AT_ONCE = 1_000_000
const MAX_REMEMBERED = 1_000

/** Counts characters that a hook moves; answers how long, in milliseconds, it has to wait before it goes on. */
export type Traffic = (pool: string, characters: number) => number

/**
 * An account of what each hook moves: calls, answers, results, logs. All of that is work for the main process, which
 * serves all others too.
 */
export function createTraffic(now: () => number = performance.now.bind(performance)): Traffic {
  const debts = new LRUCache<string, { characters: number; at: number }>({ max: MAX_REMEMBERED })
  return (pool, characters) => {
    const at = now()
    const before = debts.get(pool)
    const left = before ? Math.max(0, before.characters - ((at - before.at) * PER_SECOND) / 1000) : 0
    debts.set(pool, { characters: left + characters, at })
    return Math.max(0, ((left + characters - AT_ONCE) / PER_SECOND) * 1000)
  }
}
