import { LRUCache } from 'lru-cache'

/** What a hook may use up in the long run, in units a second, and at once. */
export interface Terms {
  perSecond: number
  atOnce: number
}

/** Books what a hook has used up; answers how long, in milliseconds, it owes for that. */
export type Accounts = (pool: string, units: number) => number

const MAX_REMEMBERED = 1_000

/** An account for each hook: what is used up beyond `atOnce` is owed until as much has been granted. */
export function createAccounts({ perSecond, atOnce }: Terms, now = performance.now.bind(performance)): Accounts {
  const debts = new LRUCache<string, { units: number; at: number }>({ max: MAX_REMEMBERED })
  return (pool, units) => {
    const at = now()
    const before = debts.get(pool)
    const left = before ? Math.max(0, before.units - ((at - before.at) * perSecond) / 1000) : 0
    debts.set(pool, { units: left + units, at })
    return Math.max(0, ((left + units - atOnce) / perSecond) * 1000)
  }
}
