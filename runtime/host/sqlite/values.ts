/** A value inside SQLite as functions get it. Integers are always bigint. */
export type Value = null | bigint | number | string | Buffer
/** One of MySQL's functions. `register` keeps null away from it, unless it is said to want it. */
export type Implementation = (...values: (Value | undefined)[]) => Value | boolean

/** Longest text that a function makes, in UTF-16 units. */
const LONGEST = 4_000_000

export const text = (value: Value | undefined): string => (Buffer.isBuffer(value) ? value.toString() : String(value))

/** As MySQL reads a number: from the beginning of a text, or 0. */
export const number = (value: Value | undefined): number =>
  typeof value === 'bigint' || typeof value === 'number' ? Number(value) : Number.parseFloat(text(value)) || 0

/** A text's characters; one outside the basic plane counts as one, as in MySQL. */
export const chars = (value: Value | undefined): string[] => [...text(value)]

export const bytes = (value: Value | undefined): Buffer => (Buffer.isBuffer(value) ? value : Buffer.from(text(value)))

/** The part so many times. Fails before the memory is gone, not after. */
export function repeat(part: string, times: number): string {
  if (part.length * times > LONGEST) throw tooLong()
  return part.repeat(Math.max(0, Math.floor(times)))
}

const tooLong = (): Error => new Error(`A text of more than ${LONGEST} characters: make it shorter`)

/** What SQLite keeps of a result: whole numbers as integers, so that they do not turn into `5.0`. */
export function stored(result: Value | boolean): Value {
  if (typeof result === 'boolean') return result ? 1n : 0n
  if (typeof result === 'number')
    return Number.isSafeInteger(result) ? BigInt(result) : Number.isFinite(result) ? result : null
  if (typeof result === 'string' && result.length > LONGEST) throw tooLong()
  return result
}
