import { RuntimeError } from '../../errors.ts'
import type { Param } from '../shop.ts'

/** What a statement fails with as a whole, before it has looked at any row. */
const BEFORE_ROWS = /^42/
const CONFLICTS = new Set(['DB_CONFLICT', 'DB_UNAVAILABLE'])

/**
 * The failure of a merchant's statement without values that it has read: the server may have looked at another
 * merchant's row, and quotes what it found. What the merchant's own statement or parameters say stays.
 */
export function conceal(error: unknown, sql: string, params: Param[]): unknown {
  if (!(error instanceof RuntimeError) || error.code !== 'DB_ERROR') return error
  const { code, message, data, cause } = error
  if (CONFLICTS.has(code) || BEFORE_ROWS.test(String(data?.sqlState ?? ''))) return error
  const said = `${sql}\n${params.join('\n')}`
  const clean = message.replace(/'((?:[^'\\]|\\.|'')*)'/gs, (quoted, inner: string) =>
    said.includes(inner) ? quoted : "'…'"
  )
  return clean === message ? error : new RuntimeError(code, clean, { cause, ...(data ? { data } : {}) })
}
