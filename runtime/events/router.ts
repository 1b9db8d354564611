import type { HookEvent } from '../model.ts'
import type { PublishedHook } from '../store/hooks.ts'

/** Whether an event key fits a subscription: the key itself, or a pattern in which `*` stands for any characters. */
export function keyMatches(pattern: string, eventKey: string): boolean {
  if (!pattern.includes('*')) return pattern === eventKey
  const [first = '', ...rest] = pattern.split('*')
  if (!eventKey.startsWith(first)) return false
  const last = rest.pop() ?? ''
  let at = first.length
  for (const part of rest) {
    const found = eventKey.indexOf(part, at)
    if (found < 0) return false
    at = found + part.length
  }
  return eventKey.length - last.length >= at && eventKey.endsWith(last)
}

/** Whether a path is a hook that can be run; those under `/lib/` are only required. */
export const isRunnable = (path: string): boolean => path.startsWith('/custom/')

/** The hooks that an event goes to: enabled, subscribed, and the platform's or those of the event's own merchant. */
export function route(hooks: PublishedHook[], event: Pick<HookEvent, 'eventKey' | 'merId'>): PublishedHook[] {
  return hooks.filter(({ hook }) => {
    const ours = hook.merId === null || (event.merId !== null && String(hook.merId) === String(event.merId))
    return hook.enabled && ours && subscribes(hook, event.eventKey)
  })
}

/** Whether a merchant's hook would run for this key if only the event's merchant were known. */
export const concernsMerchants = (hooks: PublishedHook[], eventKey: string): boolean =>
  hooks.some(({ hook }) => hook.enabled && hook.merId !== null && subscribes(hook, eventKey))

const subscribes = (hook: PublishedHook['hook'], eventKey: string): boolean =>
  isRunnable(hook.path) && hook.events.some(pattern => keyMatches(pattern, eventKey))

/** Matches `/custom/user/7` with a hook's path `/custom/user/{id}`: its variables, or null. */
export function matchPath(pattern: string, path: string): Record<string, string> | null {
  const wanted = pattern.split('/')
  const given = path.split('/')
  if (wanted.length !== given.length) return null
  const variables: Record<string, string> = {}
  for (const [i, part] of wanted.entries()) {
    const value = given[i] ?? ''
    const name = /^\{(\w+)\}$/.exec(part)?.[1]
    if (name === undefined ? part !== value : value === '') return null
    if (name !== undefined) variables[name] = value
  }
  return variables
}
