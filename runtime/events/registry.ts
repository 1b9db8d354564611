import type { MerId } from '../model.ts'
import type { HookStore, PublishedHook } from '../store/hooks.ts'
import { ownerOf } from '../store/row.ts'
import { matchPath } from './router.ts'

/** All published hooks as they stood at one revision. */
export interface Snapshot {
  readonly revision: string
  readonly hooks: PublishedHook[]
  byId: (id: string) => PublishedHook | undefined
  /** The hook that answers a call over HTTP, seen by a caller of this merchant: its own before the platform's. */
  byPath: (path: string, merId: MerId | null) => { found: PublishedHook; variables: Record<string, string> } | undefined
  /** A library that a hook of this owner may require. */
  library: (path: string, merId: MerId | null) => PublishedHook | undefined
}

export interface Registry {
  /** The hooks as they are published now: whatever any node has changed before this call is in it. */
  current: () => Promise<Snapshot>
}

/** Keeps this node's copy of the hooks, read again when their revision has changed. */
export function createRegistry(store: Pick<HookStore, 'revision' | 'published'>): Registry {
  let held: { revision: string; snapshot: Snapshot } | null = null
  let asking: Promise<Snapshot> | null = null

  async function look(): Promise<Snapshot> {
    if (held && held.revision === (await store.revision())) return held.snapshot
    const { revision, hooks } = await store.published()
    held = { revision, snapshot: toSnapshot(revision, hooks) }
    return held.snapshot
  }

  return {
    current() {
      asking ??= Promise.resolve().then(() => {
        asking = null
        return look()
      })
      return asking
    }
  }
}

function toSnapshot(revision: string, hooks: PublishedHook[]): Snapshot {
  const ids = new Map(hooks.map(published => [published.hook.id, published]))
  const paths = new Map(hooks.map(published => [keyOf(published.hook.path, published.hook.merId), published]))
  const patterns = hooks.filter(({ hook }) => hook.path.includes('{'))

  const seenBy = (path: string, merId: MerId | null) => paths.get(keyOf(path, merId)) ?? paths.get(keyOf(path, null))

  return {
    revision,
    hooks,
    byId: id => ids.get(id),
    byPath(path, merId) {
      const exact = seenBy(path, merId)
      if (exact) return { found: exact, variables: {} }
      const owners = [ownerOf(merId), '']
      for (const owner of owners)
        for (const found of patterns.filter(({ hook }) => ownerOf(hook.merId) === owner)) {
          const variables = matchPath(found.hook.path, path)
          if (variables) return { found, variables }
        }
      return undefined
    },
    library: (path, merId) => (path.startsWith('/lib/') ? seenBy(path, merId) : undefined)
  }
}

const keyOf = (path: string, merId: MerId | null): string => `${ownerOf(merId)} ${path}`
