import type { Json, MerId } from '../model.ts'

/** A merchant's id as the `owner` column holds it; the platform's is ''. */
export const ownerOf = (merId: MerId | null | undefined): string =>
  merId === null || merId === undefined ? '' : String(merId)

/** An `owner` column as a merchant's id: digits are a number, as in the shop's own tables. */
export const merIdOf = (owner: string): MerId | null =>
  owner === '' ? null : /^(0|[1-9]\d{0,14})$/.test(owner) ? Number(owner) : owner

/**
 * A time as RFC 3339 writes it, in milliseconds since the epoch. That has leap seconds, and JavaScript has none. NaN for
 * what is no time.
 */
export const instantOf = (text: string): number => Date.parse(text.replace(/:60(?=[.Z+-])/i, ':59'))

/** A document as its column holds it. */
export const toText = (value: Json | object | null | undefined): string | null =>
  value === null || value === undefined ? null : JSON.stringify(value)

/** A document's column as a value. */
export const fromText = <T>(text: string | null): T | null => (text === null ? null : (JSON.parse(text) as T))

/** One page of a list, and where the next one starts. */
export interface Page<T> {
  items: T[]
  nextCursor: string | null
}

/** Which page: at most `limit` items after `cursor`, as an earlier page gave it. */
export interface PageRequest {
  limit: number
  cursor?: string | undefined
}

/** Cuts the extra row that a query fetched to learn whether a next page exists. */
export function pageOf<Row, T>(
  rows: Row[],
  { limit }: PageRequest,
  cursorOf: (row: Row) => string,
  itemOf: (row: Row) => T
): Page<T> {
  const shown = rows.slice(0, limit)
  const last = shown.at(-1)
  return { items: shown.map(itemOf), nextCursor: rows.length > limit && last ? cursorOf(last) : null }
}
