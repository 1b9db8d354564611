import { type Database, guarded, transact } from './database.ts'

interface TargetRow {
  name: string
  state: string
}

/** Changes a target's state: answers the new state and what the change found out. */
export type Change<State, T> = (before: State | null) => { state: State; answer: T }

export type TargetStore = ReturnType<typeof createTargetStore>

/** What all nodes know of outside systems; each change is a transaction under the row's lock. */
export function createTargetStore(db: Database) {
  return guarded({
    change: <State, T>(name: string, change: Change<State, T>): Promise<T> =>
      transact(db, async trx => {
        const row: TargetRow | undefined = await trx('sandhook_targets').where({ name }).forUpdate().first()
        const { state, answer } = change(row ? JSON.parse(row.state) : null)
        const next = { name, state: JSON.stringify(state), updated_at: Date.now() }
        await trx('sandhook_targets').insert(next).onConflict('name').merge()
        return answer
      }),

    /** All that have ever been called, by name. */
    async all<State>(): Promise<{ name: string; state: State }[]> {
      const rows: TargetRow[] = await db('sandhook_targets').orderBy('name')
      return rows.map(({ name, state }) => ({ name, state: JSON.parse(state) }))
    }
  })
}
