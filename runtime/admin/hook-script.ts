import { excerptOf, RuntimeError } from '../errors.ts'
import type { Hook } from '../model.ts'
import type { CheckResult } from '../sandbox/wire.ts'
import type { CompiledScript } from '../store/hooks.ts'

/** Does this text compile? */
export type Check = (script: string) => Promise<CheckResult>

const CHECK_MS = 10_000

/** A script that compiles, ready to be stored. Throws HOOK_SYNTAX with its place, RUNNER_LOST when nobody can tell. */
export async function compiledBy(check: Check, script: string): Promise<CompiledScript> {
  const result = await withinTime(check(script))
  if (result.ok) return { script, compiled: result.compiled }
  const { message, line, column } = result
  throw new RuntimeError('HOOK_SYNTAX', `The script does not compile: line ${line}, column ${column}: ${message}`, {
    position: { line, column, excerpt: excerptOf(script.split('\n')[line - 1] ?? '', column) }
  })
}

async function withinTime<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    const error = new RuntimeError('RUNNER_LOST', 'No runner could check the script within 10 s; try again.', {
      retryAfterMs: 2_000
    })
    timer = setTimeout(reject, CHECK_MS, error)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

/** What is allowed but probably not meant; `knows` tells whether a key or pattern fits any event of the catalog. */
export function warningsOf(hook: Hook, script: string, knows: (pattern: string) => boolean): string[] {
  const unknown = hook.events.filter(pattern => !knows(pattern))
  const idle = hook.events.length === 0 && hook.path.startsWith('/custom/')
  const library = hook.events.length > 0 && hook.path.startsWith('/lib/')
  return [
    ...unknown.map(pattern => `The event catalog has nothing for ${pattern}; check its spelling.`),
    ...(idle ? ['It subscribes to no event: it runs only when it is called over HTTP.'] : []),
    ...(library ? ['It is a library: events never run it, whatever it subscribes to.'] : []),
    ...linesOfBuiltSql(script).map(
      line => `Line ${line}: SQL built by string interpolation; pass values as ? parameters.`
    )
  ]
}

/**
 * A `db` call whose first argument is a template with `${`, or joins strings by `+`. SQL that a variable holds is not
 * looked into. Bounded, so that no text makes it slow.
 */
const BUILT_SQL =
  /\bdb\s{0,9}\.\s{0,9}(?:select\w{0,9}|insert|update|delete|batch|page)\s{0,9}\(\s{0,99}(?:`(?:[^`\\$]|\\.|\$(?!\{)){0,2000}\$\{|(?:'(?:[^'\\\n]|\\.){0,1000}'|"(?:[^"\\\n]|\\.){0,1000}"|[\w.]{1,99})\s{0,99}\+)/g

const MAX_WARNINGS = 5

function linesOfBuiltSql(script: string): number[] {
  const found = [...script.matchAll(BUILT_SQL)].slice(0, MAX_WARNINGS)
  return found.map(({ index }) => script.slice(0, index).split('\n').length)
}
