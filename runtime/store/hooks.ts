import type { Knex } from 'knex'
import { v7 as uuid } from 'uuid'
import { RuntimeError } from '../errors.ts'
import type { Hook, HookVersion, MerId } from '../model.ts'
import { type Also, type Changed, type Database, guarded, isDuplicate, transact } from './database.ts'
import { fromText, merIdOf, ownerOf, type Page, type PageRequest, pageOf, toText } from './row.ts'

/** What the author of a hook decides; everything else the runtime keeps. */
export type HookFields = Omit<Hook, 'id' | 'version' | 'createdAt' | 'updatedAt'>

/** A script that compiles, ready to become a version. */
export interface CompiledScript {
  script: string
  compiled: string | null
}

/** A hook together with its published text: what the dispatcher runs. */
export interface PublishedHook {
  hook: Hook
  version: HookVersion
}

/** A hook with its published text, as changes of it are told; null: it has none yet. */
export interface HookState {
  hook: Hook
  script: string | null
}

export interface HookFilter {
  path?: string | undefined
  merId?: MerId | undefined
  /** Only hooks that this merchant may see: its own and the platform's. */
  visibleTo?: MerId | undefined
}

interface HookRow {
  id: string
  owner: string
  path: string
  name: string
  description: string
  events: string
  enabled: number
  builtin: number
  is_public: number
  version: number | null
  limits: string
  retry: string
  transaction_mode: string
  env: string | null
  created_at: number
  updated_at: number
}

interface VersionRow {
  hook_id: string
  version: number
  script: string
  compiled: string | null
  created_by: string
  created_at: number
}

export type HookStore = ReturnType<typeof createHookStore>

/** Hooks and their versions. Every change raises the revision, by which nodes notice that their copy is old. */
export function createHookStore(db: Database) {
  return guarded({
    revision: () => readRevision(db),

    /** All hooks with their published versions, and the revision that they belong to. */
    async published(): Promise<{ revision: string; hooks: PublishedHook[] }> {
      const revision = await readRevision(db)
      const rows: HookRow[] = await db('sandhook_hooks').whereNotNull('version').orderBy('path')
      const versions: VersionRow[] = await db('sandhook_versions as v')
        .join('sandhook_hooks as h', join => join.on('h.id', 'v.hook_id').andOn('h.version', 'v.version'))
        .select('v.*')
      const byHook = new Map(versions.map(row => [row.hook_id, toVersion(row)]))
      const hooks = rows.flatMap(row => {
        const version = byHook.get(row.id)
        return version ? [{ hook: toHook(row), version }] : []
      })
      return { revision, hooks }
    },

    /** One page of hooks by path. */
    async list(filter: HookFilter, page: PageRequest): Promise<Page<Hook>> {
      const query = db('sandhook_hooks')
        .orderBy(['path', 'owner'])
        .limit(page.limit + 1)
      if (filter.path !== undefined) query.where('path', filter.path)
      if (filter.merId !== undefined) query.where('owner', ownerOf(filter.merId))
      if (filter.visibleTo !== undefined) query.whereIn('owner', ['', ownerOf(filter.visibleTo)])
      if (page.cursor) {
        const [path, owner] = JSON.parse(page.cursor) as [string, string]
        query.whereRaw('(path > ? OR (path = ? AND owner > ?))', [path, path, owner])
      }
      const rows: HookRow[] = await query
      return pageOf(rows, page, row => JSON.stringify([row.path, row.owner]), toHook)
    },

    /** Throws NOT_FOUND. */
    get: (id: string) => findHook(db, id),

    /** Throws NOT_FOUND. */
    async version(hookId: string, version: number): Promise<HookVersion> {
      const row: VersionRow | undefined = await db('sandhook_versions').where({ hook_id: hookId, version }).first()
      if (!row) throw new RuntimeError('NOT_FOUND', `Hook ${hookId} has no version ${version}.`)
      return toVersion(row)
    },

    /** One page of a hook's versions, the newest first. */
    async versions(hookId: string, page: PageRequest): Promise<Page<HookVersion>> {
      const query = db('sandhook_versions').where({ hook_id: hookId }).orderBy('version', 'desc')
      if (page.cursor) query.where('version', '<', Number(page.cursor))
      const rows: VersionRow[] = await query.limit(page.limit + 1)
      return pageOf(rows, page, row => String(row.version), toVersion)
    },

    /** Adds a hook with its first version, published. Throws HOOK_PATH_TAKEN. */
    async create(
      fields: HookFields,
      script: CompiledScript,
      author: string,
      also?: Also<Changed<HookState>>
    ): Promise<Hook> {
      const now = Date.now()
      const row = { ...fieldsToRow(fields), id: uuid(), version: 1, created_at: now, updated_at: now } as HookRow
      return transact(db, async trx => {
        await trx('sandhook_hooks').insert(row).catch(pathTaken(fields.path))
        await insertVersion(trx, row.id, 1, script, author)
        await raiseRevision(trx)
        await also?.(trx, { before: null, after: { hook: toHook(row), script: script.script } })
        return toHook(row)
      })
    },

    /** Changes what is given; a new script becomes the next version, published. Throws NOT_FOUND, HOOK_PATH_TAKEN. */
    async update(
      id: string,
      fields: Partial<HookFields>,
      script: CompiledScript | null,
      author: string,
      also?: Also<Changed<HookState>>
    ): Promise<Hook> {
      return transact(db, async trx => {
        const changes: Partial<HookRow> = { ...fieldsToRow(fields), updated_at: Date.now() }
        const before = await stateOf(trx, await findHook(trx, id, true))
        if (script) {
          const [newest] = await trx('sandhook_versions').where({ hook_id: id }).max('version as version')
          changes.version = Number(newest?.version ?? 0) + 1
          await insertVersion(trx, id, changes.version, script, author)
        }
        await trx('sandhook_hooks')
          .where({ id })
          .update(changes)
          .catch(pathTaken(fields.path ?? ''))
        await raiseRevision(trx)
        const hook = await findHook(trx, id)
        await also?.(trx, { before, after: await stateOf(trx, hook) })
        return hook
      })
    },

    /** Publishes an existing version: forward or back. Throws NOT_FOUND. */
    async publish(id: string, version: number, also?: Also<Changed<HookState>>): Promise<Hook> {
      return transact(db, async trx => {
        const before = await stateOf(trx, await findHook(trx, id, true))
        const known = await trx('sandhook_versions').where({ hook_id: id, version }).first('version')
        if (!known) throw new RuntimeError('NOT_FOUND', `Hook ${id} has no version ${version}.`)
        await trx('sandhook_hooks').where({ id }).update({ version, updated_at: Date.now() })
        await raiseRevision(trx)
        const hook = await findHook(trx, id)
        await also?.(trx, { before, after: await stateOf(trx, hook) })
        return hook
      })
    },

    /** Removes the hook and its versions; what it has done stays in the history. Throws NOT_FOUND. */
    async remove(id: string, also?: Also<Changed<HookState>>): Promise<void> {
      await transact(db, async trx => {
        const before = await stateOf(trx, await findHook(trx, id, true))
        await trx('sandhook_versions').where({ hook_id: id }).delete()
        await trx('sandhook_hooks').where({ id }).delete()
        await raiseRevision(trx)
        await also?.(trx, { before, after: null })
      })
    }
  })
}

/** The hooks' revision, read in the caller's transaction: rises with every change of a hook. */
export async function readRevision(db: Knex): Promise<string> {
  const row: { value: string } | undefined = await db('sandhook_state').where({ name: 'hooks_revision' }).first('value')
  return row?.value ?? ''
}

/** Tells all nodes that hooks, or the settings that they read, have changed. */
export async function raiseRevision(trx: Knex.Transaction): Promise<void> {
  await trx('sandhook_state').insert({ name: 'hooks_revision', value: uuid() }).onConflict('name').merge()
}

async function findHook(db: Knex, id: string, lock = false): Promise<Hook> {
  const query = db('sandhook_hooks').where({ id }).first()
  const row: HookRow | undefined = await (lock ? query.forUpdate() : query)
  if (!row) throw new RuntimeError('NOT_FOUND', `There is no hook with the id ${id}.`)
  return toHook(row)
}

async function stateOf(trx: Knex, hook: Hook): Promise<HookState> {
  const { id, version } = hook
  const row: VersionRow | undefined =
    version === null ? undefined : await trx('sandhook_versions').where({ hook_id: id, version }).first('script')
  return { hook, script: row?.script ?? null }
}

async function insertVersion(
  trx: Knex.Transaction,
  hookId: string,
  version: number,
  { script, compiled }: CompiledScript,
  author: string
): Promise<void> {
  const row: VersionRow = {
    hook_id: hookId,
    version,
    script,
    compiled,
    created_by: author,
    created_at: Date.now()
  }
  await trx('sandhook_versions').insert(row)
}

const pathTaken = (path: string) => (error: unknown) => {
  if (!isDuplicate(error)) throw error
  throw new RuntimeError(
    'HOOK_PATH_TAKEN',
    `A hook with the path ${path} exists already for this owner; choose another path or change that hook.`
  )
}

const toHook = (row: HookRow): Hook => ({
  id: row.id,
  path: row.path,
  name: row.name,
  description: row.description,
  events: JSON.parse(row.events),
  enabled: Boolean(row.enabled),
  merId: merIdOf(row.owner),
  builtin: Boolean(row.builtin),
  public: Boolean(row.is_public),
  version: row.version,
  limits: JSON.parse(row.limits),
  retry: JSON.parse(row.retry),
  transaction: row.transaction_mode as Hook['transaction'],
  env: fromText<string[]>(row.env),
  createdAt: row.created_at,
  updatedAt: row.updated_at
})

const toVersion = (row: VersionRow): HookVersion => ({
  hookId: row.hook_id,
  version: row.version,
  script: row.script,
  compiled: row.compiled,
  createdBy: row.created_by,
  createdAt: row.created_at
})

function fieldsToRow(fields: Partial<HookFields>): Partial<HookRow> {
  const row: Partial<HookRow> = {}
  if (fields.merId !== undefined) row.owner = ownerOf(fields.merId)
  if (fields.path !== undefined) row.path = fields.path
  if (fields.name !== undefined) row.name = fields.name
  if (fields.description !== undefined) row.description = fields.description
  if (fields.events !== undefined) row.events = JSON.stringify(fields.events)
  if (fields.enabled !== undefined) row.enabled = Number(fields.enabled)
  if (fields.builtin !== undefined) row.builtin = Number(fields.builtin)
  if (fields.public !== undefined) row.is_public = Number(fields.public)
  if (fields.limits !== undefined) row.limits = JSON.stringify(fields.limits)
  if (fields.retry !== undefined) row.retry = JSON.stringify(fields.retry)
  if (fields.transaction !== undefined) row.transaction_mode = fields.transaction
  if (fields.env !== undefined) row.env = toText(fields.env)
  return row
}
