import { stripTypeScriptTypes } from 'node:module'
import ivm from 'isolated-vm'
import type { CheckResult } from './wire.ts'

const HEAD = 'async function hook(payload) {\n'
const TAIL = '\n}'

/**
 * Whether a text is a function's body that V8 compiles, as JavaScript or else as TypeScript without its types.
 * Nothing is run. Lines and columns count from 1.
 */
export async function checkScript(script: string): Promise<CheckResult> {
  const plain = await compile(script)
  if (plain.ok) return plain
  const compiled = stripTypes(script)
  if (compiled === null || compiled === script) return plain
  const stripped = await compile(compiled)
  return stripped.ok ? { ok: true, compiled } : stripped
}

/** Stripping puts blanks where types were, so that every line and column stays in place. */
function stripTypes(script: string): string | null {
  try {
    return stripTypeScriptTypes(HEAD + script + TAIL).slice(HEAD.length, -TAIL.length)
  } catch {
    return null
  }
}

async function compile(script: string): Promise<CheckResult> {
  const isolate = new ivm.Isolate({ memoryLimit: 64 })
  try {
    // Compiled as part of a text only to learn the position of an error: this is never run.
    await isolate.compileScript(`(${HEAD}${script}${TAIL})`, { filename: 'hook' })
    const context = await isolate.createContext()
    // What runs is made by the function constructor, which a text that closes the function early does not deceive.
    await context.evalClosure("new (async () => {}).constructor('payload', $0 + '\\n')", [script], { timeout: 1000 })
    return { ok: true, compiled: null }
  } catch (error) {
    return { ok: false, ...positionOf(error as Error, script) }
  } finally {
    if (!isolate.isDisposed) isolate.dispose()
  }
}

function positionOf(error: Error, script: string): { message: string; line: number; column: number } {
  const found = /^(.*) \[hook:(\d+):(\d+)\]$/s.exec(error.message)
  if (!found) return { message: `${error.name}: ${error.message}`, line: 1, column: 1 }
  const [, message = '', line, column] = found
  const lines = script.split('\n')
  const place = { message: `${error.name}: ${message}`, line: Number(line) - 1, column: Number(column) }
  // What is missing at the end is missed only at our closing brace.
  return place.line <= lines.length ? place : { ...place, line: lines.length, column: (lines.at(-1)?.length ?? 0) + 1 }
}
