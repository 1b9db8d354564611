import type { MerId } from '../model.ts'
import { type Database, guarded, type Transaction } from './database.ts'
import { fromText, merIdOf, ownerOf, type Page, type PageRequest, pageOf, toText } from './row.ts'

/** Who changed what; secrets are not in it. */
export interface AuditEntry {
  id: string
  at: number
  /** The token's name and id. */
  actor: string
  merId: MerId | null
  /** `hook.create`, `env.put`, `execution.replay` … */
  action: string
  /** The thing: a hook's path, an env key, an id. */
  subject: string
  before: object | null
  after: object | null
}

interface AuditRow {
  id: string
  at: number
  actor: string
  owner: string
  action: string
  subject: string
  state_before: string | null
  state_after: string | null
}

export type AuditStore = ReturnType<typeof createAuditStore>

/** The log of changes made over HTTP. */
export function createAuditStore(db: Database) {
  return guarded({
    /** Writes an entry in the transaction of what it tells of; one with the same id is replaced. */
    async write(trx: Transaction, entry: AuditEntry): Promise<void> {
      const row: AuditRow = {
        id: entry.id,
        at: entry.at,
        actor: entry.actor,
        owner: ownerOf(entry.merId),
        action: entry.action,
        subject: entry.subject,
        state_before: toText(entry.before),
        state_after: toText(entry.after)
      }
      await trx('sandhook_audit').insert(row).onConflict('id').merge()
    },

    /** One page of entries, the newest first; a merchant's own when given. */
    async list(merId: MerId | undefined, page: PageRequest): Promise<Page<AuditEntry>> {
      const query = db('sandhook_audit').orderBy('id', 'desc')
      if (merId !== undefined) query.where('owner', ownerOf(merId))
      if (page.cursor) query.where('id', '<', page.cursor)
      const rows: AuditRow[] = await query.limit(page.limit + 1)
      return pageOf(rows, page, row => row.id, toEntry)
    }
  })
}

const toEntry = (row: AuditRow): AuditEntry => ({
  id: row.id,
  at: row.at,
  actor: row.actor,
  merId: merIdOf(row.owner),
  action: row.action,
  subject: row.subject,
  before: fromText<object>(row.state_before),
  after: fromText<object>(row.state_after)
})
