import stripJsonComments from 'strip-json-comments'
import type { Json } from '../model.ts'
import { parseExactly } from './canonical-json.ts'

/**
 * What a message says: JSON, in which a byte order mark and comments are tolerated. Integers beyond 2^53 come as strings
 * of their digits. Throws SyntaxError, or RangeError when the text is nested too deeply.
 */
export function parseMessage(text: string): Json {
  const plain = text.startsWith('\uFEFF') ? text.slice(1) : text
  try {
    return parseExactly(plain)
  } catch (error) {
    if (!/\/[/*]/.test(plain)) throw error
    return parseExactly(stripJsonComments(plain))
  }
}

/** The same for a text that may be none: then the text itself. */
export function readMessage(text: string): Json {
  try {
    return parseMessage(text)
  } catch {
    return text
  }
}
