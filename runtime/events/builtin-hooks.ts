import { readFile } from 'node:fs/promises'
import type { BuiltinHook } from '../config-files.ts'
import { RuntimeError } from '../errors.ts'
import type { HookStore } from '../store/hooks.ts'

const HOOKS = new URL('../../hooks/', import.meta.url)
/** The author of versions that come with the product; whoever changes a built-in hook becomes its author. */
const AUTHOR = 'sandhook'

/**
 * Publishes the hooks that come with the product: new ones are added, and those whose published text nobody else wrote
 * follow the shipped one. Answers the paths that changed.
 */
export async function publishBuiltins(store: HookStore, shipped: BuiltinHook[]): Promise<string[]> {
  const { hooks } = await store.published()
  const known = new Map(hooks.filter(({ hook }) => hook.merId === null).map(entry => [entry.hook.path, entry]))
  const changed: string[] = []
  for (const { file, ...fields } of shipped) {
    const { path } = fields
    const script = await readFile(new URL(file, HOOKS), 'utf8')
    const there = known.get(path)
    if (there && (there.version.script === script || there.version.createdBy !== AUTHOR)) continue
    if (there) await store.update(there.hook.id, {}, { script, compiled: null }, AUTHOR)
    else await store.create({ ...FRESH, ...fields }, { script, compiled: null }, AUTHOR).catch(madeByAnotherNode)
    changed.push(path)
  }
  return changed
}

/** Nodes that start together publish the same. */
function madeByAnotherNode(error: unknown): void {
  if (!(error instanceof RuntimeError) || error.code !== 'HOOK_PATH_TAKEN') throw error
}

const FRESH = {
  ...{ enabled: true, merId: null, builtin: true, public: false, env: null },
  ...{ limits: {}, retry: {}, transaction: 'run' as const }
}
