import { type Database, guarded } from './database.ts'

/** Something that one node at a time does. */
export interface Lease {
  /** Takes or keeps the lease; false: another node has it. Throws STORE_UNAVAILABLE. */
  hold: () => Promise<boolean>
  /** Gives it back, so that another node need not wait for its end. */
  release: () => Promise<void>
}

/**
 * The lease `name` for this `node`. Whoever holds it must ask again before each step: it may have ended while the
 * node was held up, so a step must be harmless when two nodes do it.
 */
export function createLease(db: Database, name: string, node: string, ms: number): Lease {
  const mine = () => db('sandhook_leases').where({ name })
  let known = false
  let until = 0
  return guarded({
    async hold() {
      const now = Date.now()
      if (until - now > ms / 2) return true
      if (!known) await db('sandhook_leases').insert({ name, node: '', lease_until: 0 }).onConflict('name').ignore()
      known = true
      const taken = await mine()
        .where(free => free.where({ node }).orWhere('lease_until', '<', now))
        .update({ node, lease_until: now + ms })
      until = taken === 1 ? now + ms : 0
      return taken === 1
    },
    async release() {
      if (until === 0) return
      until = 0
      await mine().where({ node }).update({ lease_until: 0 })
    }
  })
}
