import mysql, { type FieldPacket } from 'mysql2'
import type { Cell, Param } from '../shop.ts'

/** A value as SQL text. Relies on backslash escapes being on, which the connection's settings see to. */
export function literal(param: Param): string {
  if (typeof param === 'string') return mysql.escape(param)
  if (typeof param === 'boolean') return param ? '1' : '0'
  // The blank keeps a negative number from making `--`, which begins a comment, out of a minus before it.
  return param === null || !Number.isFinite(param) ? 'NULL' : ` ${param}`
}

/** Turns what mysql2 reads for a column into what crosses to a script. */
export type Convert = (raw: unknown) => Cell

/** One conversion for each column of a result. */
export const converters = (fields: FieldPacket[]): Convert[] =>
  fields.map(({ columnType }) => convertersByType[columnType as number] ?? plain)

const plain: Convert = raw => {
  if (raw === null || typeof raw !== 'object') return raw as Cell
  return Buffer.isBuffer(raw) ? raw.toString('base64') : JSON.stringify(raw)
}

const decimal: Convert = raw => (raw === null ? null : numberIfExact(raw as string))

const bits: Convert = raw => {
  if (raw === null) return null
  const value = BigInt(`0x${(raw as Buffer).toString('hex')}`)
  return value <= Number.MAX_SAFE_INTEGER ? Number(value) : String(value)
}

const convertersByType: Record<number, Convert> = {
  [mysql.Types.DECIMAL]: decimal,
  [mysql.Types.NEWDECIMAL]: decimal,
  [mysql.Types.BIT]: bits
}

/** A decimal as a number when that says exactly the same value (`230.10` → 230.1), else as it is. */
export function numberIfExact(text: string): number | string {
  // Up to 15 significant digits survive the way into a double and back.
  if (text.length <= 16) return Number(text)
  const shortest = text.includes('.') ? text.replace(/\.?0+$/, '') : text
  const value = Number(shortest)
  return String(value) === shortest ? value : text
}
