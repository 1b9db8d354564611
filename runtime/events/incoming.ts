/** What senders give that no schema has checked: texts that may be JSON, times in whatever unit. */
import type { Json } from '../model.ts'
import type { IncomingEvent } from './accept.ts'
import { parseExactly } from './canonical-json.ts'

/**
 * A payload from a text: what begins as an object, a list or a quoted text is JSON; all else is the text itself, so
 * that an order number of digits stays a text. Throws SyntaxError for JSON that is none.
 */
export const payloadOf = (text: string): Json => (/^\s*[{["]/.test(text) ? parseExactly(text) : text)

/** Earlier, in milliseconds, there was no shop online (1973): it must be seconds. */
const LEAST_MS = 100_000_000_000
const MAX_AHEAD_MS = 86_400_000

/**
 * A time as milliseconds since the epoch, from a number or its digits, in milliseconds or seconds; undefined when it is
 * none, or lies more than a day ahead.
 */
export function timeOf(given: unknown, now: number): number | undefined {
  if (typeof given !== 'number' && !(typeof given === 'string' && /^\d{1,16}$/.test(given))) return undefined
  const number = Math.round(Number(given))
  const time = number < LEAST_MS ? number * 1000 : number
  return time > 0 && time <= now + MAX_AHEAD_MS ? time : undefined
}

/** What keeps an event from being stored, or null. */
export function problemOf({ id, eventKey, payload, merId, key }: IncomingEvent): string | null {
  if (eventKey.trim() === '') return 'it has no event key'
  if (payload === null || payload === undefined || payload === '') return 'it has no payload'
  const long = Object.entries({
    'event key': [eventKey, 100],
    id: [id, 128],
    merId: [merId, 64],
    key: [key, 191]
  }).find(([, [value, most]]) => String(value ?? '').length > Number(most))
  return long ? `its ${long[0]} has more than ${long[1][1]} characters` : null
}
