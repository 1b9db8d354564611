import { createHash } from 'node:crypto'
import { isDeeper } from '../json.ts'
import type { Json } from '../model.ts'

/** What visits each member, as this file does, overflows the stack at about twice as many levels. */
const MAX_DEPTH = 1_000

/**
 * `JSON.parse` that bends no number: integers beyond 2^53 come as strings of their digits. Throws SyntaxError, or
 * RangeError when the text is nested too deeply.
 */
export function parseExactly(text: string): Json {
  if (isDeeper(text, MAX_DEPTH)) throw new RangeError(`it is nested more than ${MAX_DEPTH} levels deep`)
  return JSON.parse(text, exact as (key: string, value: Json) => Json)
}

const exact = (_key: string, value: Json, context: { source?: string }): Json =>
  typeof value === 'number' && !Number.isSafeInteger(value) && /^-?\d+$/.test(context.source ?? '')
    ? (context.source as string)
    : value

/** A document's one spelling: the same for any order of its members and any white space. */
export const canonicalJson = (value: Json): string =>
  JSON.stringify(value, (_key, member: Json) =>
    member !== null && typeof member === 'object' && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)))
      : member
  )

/** What two copies of one message have in common, as 64 hex digits, however each was serialized. */
export const fingerprintOf = (topic: string, body: Json): string =>
  createHash('sha256').update(`${topic}\n`).update(canonicalJson(body)).digest('hex')
