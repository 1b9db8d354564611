import { type Database, guarded } from './database.ts'

export type StateStore = ReturnType<typeof createStateStore>

/** Small facts that outlive a process and that all nodes share. */
export function createStateStore(db: Database) {
  return guarded({
    /** Null when it was never set. */
    async get(name: string): Promise<string | null> {
      const row: { value: string } | undefined = await db('sandhook_state').where({ name }).first('value')
      return row?.value ?? null
    },
    async set(name: string, value: string): Promise<void> {
      await db('sandhook_state').insert({ name, value }).onConflict('name').merge()
    },
    /** Throws STORE_UNAVAILABLE when the database does not answer. */
    async ping(): Promise<void> {
      await db.raw('SELECT 1')
    }
  })
}
