import { randomUUID } from 'node:crypto'
import { readMoment, writeMoment } from './dates.ts'
import { bytes, chars, type Implementation, number, text, type Value } from './values.ts'

/** Cuts a number after so many digits, towards zero, without the error that multiplying it would bring in. */
function truncate(value: Value | undefined, digits: Value | undefined): number {
  const places = number(digits)
  const [whole = '0', fraction = ''] = number(value).toString().split('.')
  if (/e/.test(whole + fraction)) return number(value)
  if (places > 0) return Number(`${whole}.${fraction.slice(0, places)}`)
  return Math.trunc(Number(whole) / 10 ** -places) * 10 ** -places
}

/** GREATEST and LEAST: as texts when all are texts, else as numbers. */
function extreme(values: (Value | undefined)[], direction: 1 | -1): Value {
  const texts = values.every(value => typeof value === 'string')
  const below = (a: Value | undefined, b: Value | undefined) => (texts ? text(a) < text(b) : number(a) < number(b))
  return (
    values.reduce((best, value) => ((direction === 1 ? below(best, value) : below(value, best)) ? value : best)) ?? null
  )
}

/** CAST(value AS type): whole numbers beyond 2^53 stay exact. */
function cast(
  value: Value | undefined,
  type: Value | undefined,
  length: Value | undefined,
  scale: Value | undefined
): Value {
  const kind = text(type)
  if (/^(SIGNED|UNSIGNED|INT|INTEGER)$/.test(kind)) return toInteger(value)
  if (/^(DECIMAL|DEC|NUMERIC)$/.test(kind)) return Number(number(value).toFixed(number(scale ?? 0n)))
  if (/^(DOUBLE|FLOAT|REAL)$/.test(kind)) return number(value)
  if (/^(DATE|DATETIME|TIME)$/.test(kind)) return castMoment(text(value), kind)
  if (kind === 'BINARY') return bytes(value)
  return length === undefined ? text(value) : chars(value).slice(0, number(length)).join('')
}

function toInteger(value: Value | undefined): bigint {
  if (typeof value === 'bigint') return value
  const digits = typeof value === 'number' ? undefined : /^\s*[-+]?\d+/.exec(text(value))?.[0]
  return digits === undefined ? BigInt(Math.round(number(value))) : BigInt(digits.trim().replace(/^\+/, ''))
}

function castMoment(value: string, kind: string): string | null {
  const moment = readMoment(value)
  if (kind === 'TIME') return /\d{1,2}:\d{2}:\d{2}/.exec(value)?.[0] ?? null
  return moment && writeMoment({ at: moment.at, day: kind === 'DATE' })
}

/** MySQL’s functions on numbers, and those on nothing at all. */
export const NUMBERS: Record<string, Implementation> = {
  truncate,
  greatest: (...values) => extreme(values, 1),
  least: (...values) => extreme(values, -1),
  log: (base, value) =>
    value === undefined ? Math.log(number(base)) : Math.log(number(value)) / Math.log(number(base)),
  mysql_format: (value, digits) =>
    number(value).toLocaleString('en-US', {
      minimumFractionDigits: number(digits),
      maximumFractionDigits: number(digits)
    }),
  mysql_cast: cast,
  rand: () => Math.random(),
  uuid: () => randomUUID(),
  database: () => 'main',
  version: () => 'SQLite'
}
