import { RuntimeError } from '../errors.ts'
import type { MerId } from '../model.ts'
import type { Cipher } from './cipher.ts'
import { type Database, guarded, transact } from './database.ts'
import { raiseRevision } from './hooks.ts'
import { merIdOf, ownerOf, type Page, type PageRequest, pageOf } from './row.ts'

/** A setting for scripts; a secret's value never leaves by this noun. */
export interface EnvItem {
  key: string
  value: string | null
  secret: boolean
  merId: MerId | null
  updatedAt: number
}

/** What one hook's `env` holds, and which of it is secret. */
export interface GrantedEnv {
  values: Record<string, string>
  secrets: string[]
}

interface EnvRow {
  owner: string
  name: string
  value: string
  secret: number
  updated_at: number
}

export type EnvStore = ReturnType<typeof createEnvStore>

/** Settings for scripts; secrets lie encrypted. */
export function createEnvStore(db: Database, cipher: Cipher) {
  const open = (row: EnvRow): string => {
    if (!row.secret) return row.value
    try {
      return cipher.open(row.value)
    } catch (cause) {
      const message = `The secret ${row.name} was sealed with another SANDHOOK_SECRET_KEY; set that key, or store the value again.`
      throw new RuntimeError('INTERNAL', message, { cause })
    }
  }

  /** The rows of the last revision that was asked for, being read or read. */
  let held: { revision: string | null; rows: Promise<EnvRow[]> } = { revision: null, rows: Promise.resolve([]) }

  function read(revision: string): typeof held {
    const rows = Promise.resolve(db<EnvRow>('sandhook_env').orderBy('owner'))
    rows.catch(() => {
      if (held.rows === rows) held = { revision: null, rows: Promise.resolve([]) }
    })
    return { revision, rows }
  }

  return guarded({
    /** One page by key; `owners`: whose (undefined: everybody's). */
    async list(owners: (MerId | null)[] | undefined, page: PageRequest): Promise<Page<EnvItem>> {
      const query = db('sandhook_env')
        .orderBy(['name', 'owner'])
        .limit(page.limit + 1)
      if (owners) query.whereIn('owner', owners.map(ownerOf))
      if (page.cursor) {
        const [name, owner] = JSON.parse(page.cursor) as [string, string]
        query.whereRaw('(name > ? OR (name = ? AND owner > ?))', [name, name, owner])
      }
      const rows: EnvRow[] = await query
      return pageOf(rows, page, row => JSON.stringify([row.name, row.owner]), toItem)
    },

    /** Null when it is not set. */
    async get(merId: MerId | null, key: string): Promise<EnvItem | null> {
      const row: EnvRow | undefined = await db('sandhook_env')
        .where({ owner: ownerOf(merId), name: key })
        .first()
      return row ? toItem(row) : null
    },

    async put(merId: MerId | null, key: string, value: string, secret: boolean): Promise<EnvItem> {
      const row: EnvRow = {
        owner: ownerOf(merId),
        name: key,
        value: secret ? cipher.seal(value) : value,
        secret: Number(secret),
        updated_at: Date.now()
      }
      await transact(db, async trx => {
        await trx('sandhook_env').insert(row).onConflict(['owner', 'name']).merge()
        await raiseRevision(trx)
      })
      return toItem(row)
    },

    /** Throws NOT_FOUND. */
    async remove(merId: MerId | null, key: string): Promise<void> {
      const gone = await transact(db, async trx => {
        await raiseRevision(trx)
        return trx('sandhook_env')
          .where({ owner: ownerOf(merId), name: key })
          .delete()
      })
      if (gone === 0) throw new RuntimeError('NOT_FOUND', `No value is set for ${key}.`)
    },

    /**
     * What a hook may read. A platform hook: the platform's values. A merchant's hook: its merchant's own, and of the
     * platform's only those that `grants` names. `grants` null: everything of the owner's. What was read at a
     * `revision` (see HookStore) serves until another one is asked for.
     */
    async granted(merId: MerId | null, grants: string[] | null, revision: string): Promise<GrantedEnv> {
      const own = ownerOf(merId)
      if (held.revision !== revision) held = read(revision)
      const rows = (await held.rows).filter(({ owner }) => owner === '' || owner === own)
      const granted: GrantedEnv = { values: {}, secrets: [] }
      for (const row of rows.filter(row => (grants ? grants.includes(row.name) : row.owner === own))) {
        granted.values[row.name] = open(row)
        if (row.secret) granted.secrets.push(open(row))
      }
      return granted
    }
  })
}

const toItem = (row: EnvRow): EnvItem => ({
  key: row.name,
  value: row.secret ? null : row.value,
  secret: Boolean(row.secret),
  merId: merIdOf(row.owner),
  updatedAt: row.updated_at
})
