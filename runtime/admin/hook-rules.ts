import type { Config } from '../config.ts'
import { RuntimeError } from '../errors.ts'
import type { Hook, Limits } from '../model.ts'
import type { HookFields } from '../store/hooks.ts'
import type { Token } from '../store/tokens.ts'
import { ownerFor, visibleMerId } from './auth.ts'
import type { HookPatch } from './hook-schema.ts'

const MAX_SCRIPT_BYTES = 256 * 1024

/**
 * What a token may make of a hook (`held`; null: a new one) with the members that it gave. Throws FORBIDDEN for what is
 * an admin's, HOOK_INVALID with every limit that is too high.
 */
export function allowedFields(
  token: Token,
  { script, ...given }: HookPatch,
  held: Hook | null,
  limits: Config['limits']
): Partial<HookFields> {
  const bound = visibleMerId(token) !== undefined
  if (bound) refuseGrants(given, held)
  const ceiling = bound ? limits.defaults : limits.maximum
  const wrong = [...tooHigh(given.limits ?? {}, ceiling, held?.limits ?? {}, bound), ...tooLong(script)]
  const [first] = wrong
  if (first) throw new RuntimeError('HOOK_INVALID', `${first.path} ${first.message}.`, { fields: wrong })
  return { ...given, ...ownership(token, given, held) }
}

/** An admin that does not mention the owner of an existing hook leaves it as it is. */
function ownership(token: Token, given: HookPatch, held: Hook | null): Partial<HookFields> {
  if (held && given.merId === undefined) return {}
  return { merId: ownerFor(token, given.merId) }
}

/**
 * `env` is an admin's: a name in its list stands for the platform's value wherever the merchant has none of its own, so
 * a merchant that could write it would read the platform's secrets.
 */
function refuseGrants(given: HookPatch, held: Hook | null): void {
  if (given.public === true && held?.public !== true)
    throw new RuntimeError('FORBIDDEN', 'Only an admin may make a hook public; leave `public` out.')
  const granted = held?.env ?? []
  if (given.env?.some(key => !granted.includes(key)))
    throw new RuntimeError('FORBIDDEN', 'Only an admin may grant env keys; leave `env` out to see all of your own.')
}

function tooHigh(given: Partial<Limits>, ceiling: Config['limits']['defaults'], held: Partial<Limits>, bound: boolean) {
  const names = Object.keys(ceiling) as (keyof typeof ceiling)[]
  return names.flatMap(name => {
    const most = Math.max(ceiling[name], held[name] ?? 0)
    if ((given[name] ?? 0) <= most) return []
    return [{ path: `/limits/${name}`, message: `must be at most ${most}${bound ? ' without an admin' : ''}` }]
  })
}

const tooLong = (script = '') =>
  Buffer.byteLength(script) <= MAX_SCRIPT_BYTES
    ? []
    : [{ path: '/script', message: `must be at most ${MAX_SCRIPT_BYTES} bytes` }]

/** A new hook's members, where they were not given. */
export const completed = (path: string, fields: Partial<HookFields>): HookFields => ({
  name: path,
  description: '',
  events: [],
  enabled: true,
  merId: null,
  public: false,
  limits: {},
  retry: {},
  transaction: 'run',
  env: null,
  ...fields,
  path,
  builtin: false
})
