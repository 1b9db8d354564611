import { RuntimeError } from '../errors.ts'
import type { Page, PageRequest } from '../store/row.ts'

/** What a store's cursors look like inside: an id, a number, or a pair of sort keys. */
export type CursorShape = 'id' | 'number' | 'pair'

const DEFAULT_LIMIT = 50

/** Which page a query asks for. Throws REQUEST_INVALID for a cursor that no such list gave. */
export function pageRequest(query: { limit?: number; cursor?: string }, shape: CursorShape): PageRequest {
  const limit = query.limit ?? DEFAULT_LIMIT
  if (query.cursor === undefined) return { limit }
  const cursor = Buffer.from(query.cursor, 'base64url').toString('utf8')
  if (FITS[shape](cursor)) return { limit, cursor }
  throw new RuntimeError('REQUEST_INVALID', 'This cursor is none of this list; begin again without one.', {
    fields: [{ path: '/cursor', message: 'must be the nextCursor of an earlier page' }]
  })
}

/** A store's page as an answer; clients take the cursor as it is. */
export const pageAnswer = <T, U>({ items, nextCursor }: Page<T>, show: (item: T) => U): Page<U> => ({
  items: items.map(show),
  nextCursor: nextCursor === null ? null : Buffer.from(nextCursor).toString('base64url')
})

const FITS: Record<CursorShape, (cursor: string) => boolean> = {
  id: cursor => /^[\w-]{1,64}$/.test(cursor),
  number: cursor => /^\d{1,9}$/.test(cursor),
  pair: isPair
}

function isPair(cursor: string): boolean {
  try {
    const pair: unknown = JSON.parse(cursor)
    const [first, second] = pair as unknown[]
    // JSON has numbers, 1e999, that no database has.
    const sortable = typeof first === 'string' || Number.isSafeInteger(first)
    return Array.isArray(pair) && pair.length === 2 && sortable && typeof second === 'string'
  } catch {
    return false
  }
}
