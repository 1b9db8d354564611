import { RuntimeError } from '../errors.ts'
import type { MerId } from '../model.ts'
import type { Cipher } from './cipher.ts'
import { type Also, type Changed, type Database, guarded, transact } from './database.ts'
import { raiseRevision } from './hooks.ts'
import { fromText, merIdOf, ownerOf, type Page, type PageRequest, pageOf, toText } from './row.ts'

/** A setting for scripts; a secret's value never leaves by this noun. */
export interface EnvItem {
  key: string
  value: string | null
  secret: boolean
  /** The only hosts that `http` sends it to; null: any. */
  hosts: string[] | null
  merId: MerId | null
  updatedAt: number
}

/** A value as it is set; what is left out stays as it was, or is no secret and bound to no hosts. */
export interface GivenValue {
  value: string
  secret?: boolean | undefined
  hosts?: string[] | null | undefined
}

/** What one hook's `env` holds, and which of it is secret. */
export interface GrantedEnv {
  values: Record<string, string>
  secrets: string[]
  /** Those that may be sent to some hosts only. */
  bound: { key: string; value: string; hosts: string[] }[]
}

interface EnvRow {
  owner: string
  name: string
  value: string
  secret: number
  hosts: string | null
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

  function toRow(merId: MerId | null, name: string, given: GivenValue, held: EnvRow | undefined): EnvRow {
    const secret = given.secret ?? Boolean(held?.secret)
    return {
      owner: ownerOf(merId),
      name,
      value: secret ? cipher.seal(given.value) : given.value,
      secret: Number(secret),
      hosts: given.hosts === undefined ? (held?.hosts ?? null) : toText(given.hosts),
      updated_at: Date.now()
    }
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
      const row = await find(db, merId, key)
      return row ? toItem(row) : null
    },

    /** Sets a value. */
    async put(merId: MerId | null, key: string, given: GivenValue, also?: Also<Changed<EnvItem>>): Promise<EnvItem> {
      return transact(db, async trx => {
        const held = await find(trx, merId, key).forUpdate()
        const row = toRow(merId, key, given, held)
        await trx('sandhook_env').insert(row).onConflict(['owner', 'name']).merge()
        await raiseRevision(trx)
        // A value that is a secret from now on was one before, too.
        const before = held ? { ...toItem(held), ...(row.secret && { value: null }) } : null
        await also?.(trx, { before, after: toItem(row) })
        return toItem(row)
      })
    },

    /** Throws NOT_FOUND. */
    async remove(merId: MerId | null, key: string, also?: Also<Changed<EnvItem>>): Promise<void> {
      await transact(db, async trx => {
        const held = await find(trx, merId, key).forUpdate()
        if (!held) throw new RuntimeError('NOT_FOUND', `No value is set for ${key}.`)
        await trx('sandhook_env').where({ owner: held.owner, name: key }).delete()
        await raiseRevision(trx)
        await also?.(trx, { before: toItem(held), after: null })
      })
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
      const granted: GrantedEnv = { values: {}, secrets: [], bound: [] }
      for (const row of rows.filter(row => (grants ? grants.includes(row.name) : row.owner === own))) {
        const value = open(row)
        granted.values[row.name] = value
        if (row.secret) granted.secrets.push(value)
        const hosts = fromText<string[]>(row.hosts)
        if (hosts) granted.bound.push({ key: row.name, value, hosts })
      }
      return granted
    }
  })
}

const find = (db: Database, merId: MerId | null, name: string) =>
  db<EnvRow>('sandhook_env')
    .where({ owner: ownerOf(merId), name })
    .first()

const toItem = (row: EnvRow): EnvItem => ({
  key: row.name,
  value: row.secret ? null : row.value,
  secret: Boolean(row.secret),
  hosts: fromText<string[]>(row.hosts),
  merId: merIdOf(row.owner),
  updatedAt: row.updated_at
})
