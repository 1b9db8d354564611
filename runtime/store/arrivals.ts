import { type Database, guarded } from './database.ts'

const CHUNK = 500

/** Which payloads have come as events. */
export type Arrivals = ReturnType<typeof createArrivals>

export function createArrivals(db: Database) {
  return guarded({
    /** The payloads, as text, of the events of this key that came since `time` with any of these ordering keys. */
    async arrived(eventKey: string, orderingKeys: string[], time: number): Promise<Set<string>> {
      const payloads = new Set<string>()
      for (let from = 0; from < orderingKeys.length; from += CHUNK) {
        const rows: { payload: string }[] = await db('sandhook_events')
          .whereIn('ordering_key', orderingKeys.slice(from, from + CHUNK))
          .where('received_at', '>=', time)
          .where({ event_key: eventKey })
          .select('payload')
        for (const { payload } of rows) payloads.add(String(JSON.parse(payload)))
      }
      return payloads
    }
  })
}
