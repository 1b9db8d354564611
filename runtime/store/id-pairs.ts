import { type Database, guarded } from './database.ts'

/** What the ERP and the front call the same thing, of one kind (refund). */
export interface IdPair {
  kind: string
  erpId: string
  frontId: string
}

export type IdPairStore = ReturnType<typeof createIdPairStore>

const MAX_ID = 128

/** Which id of the ERP's stands for which of the front's; what is told last holds. */
export function createIdPairStore(db: Database) {
  return guarded({
    async remember(pairs: IdPair[]): Promise<void> {
      const now = Date.now()
      const rows = new Map(
        pairs
          .filter(({ erpId, frontId }) => erpId.length <= MAX_ID && frontId.length <= MAX_ID)
          .map(({ kind, erpId, frontId }) => [
            JSON.stringify([kind, erpId]),
            { kind, erp_id: erpId, front_id: frontId, updated_at: now }
          ])
      )
      if (rows.size > 0)
        await db('sandhook_id_pairs')
          .insert([...rows.values()])
          .onConflict(['kind', 'erp_id'])
          .merge()
    },

    /** The front's ids, as a function of kind and ERP id; undefined: nobody has told that one. */
    async find(wanted: Omit<IdPair, 'frontId'>[]): Promise<(kind: string, erpId: string) => string | undefined> {
      const known = new Map<string, string>()
      for (const [kind, ids] of Map.groupBy(wanted, ({ kind }) => kind)) {
        const rows: { erp_id: string; front_id: string }[] = await db('sandhook_id_pairs')
          .where({ kind })
          .whereIn('erp_id', [...new Set(ids.map(({ erpId }) => erpId))])
          .select('erp_id', 'front_id')
        for (const row of rows) known.set(JSON.stringify([kind, row.erp_id]), row.front_id)
      }
      return (kind, erpId) => known.get(JSON.stringify([kind, erpId]))
    }
  })
}
