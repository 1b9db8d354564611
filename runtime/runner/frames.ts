import type { LogLevel } from '../model.ts'
import type { CheckResult, FromRunner, RunEnd } from '../sandbox/wire.ts'

/**
 * A runner in which a script has broken V8 may send anything. What is read here has the shape that its type says;
 * nothing else goes further.
 */
type Shape = Record<string, (value: unknown) => boolean>

const text = (value: unknown): boolean => typeof value === 'string'
const count = (value: unknown): boolean => typeof value === 'number' && value >= 0 && value <= 2 ** 31
const time = (value: unknown): boolean => typeof value === 'number' && Math.abs(value - Date.now()) < 3_600_000
const anything = (): boolean => true
const textOrNull = (value: unknown): boolean => value === null || text(value)
const level = (value: unknown): boolean => LEVELS.includes(value as LogLevel)
const LEVELS: LogLevel[] = ['debug', 'info', 'warn', 'error']

const within = (shape: Shape) => (value: unknown) => fits(value, shape)
const fits = (value: unknown, shape: Shape): boolean =>
  isObject(value) && Object.entries(shape).every(([key, right]) => right(value[key]))
const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** The members of each kind of `Union`, which `Kind` names. */
type Shapes<Union, Kind extends keyof Union> = {
  [K in Union[Kind] & string]: { [Member in keyof Omit<Extract<Union, Record<Kind, K>>, Kind>]-?: Shape[string] }
}

const HEADERS: Shapes<FromRunner, 't'> = {
  ready: {},
  call: { id: text, n: count, method: text },
  log: { id: text, at: time, level, message: text },
  done: { id: text, cpuMs: count, logsCut: count },
  broken: { id: text, reason: text },
  checked: { id: text }
}

const response = (value: unknown): boolean =>
  value === undefined || fits(value, { status: status => status === null || count(status), headers: isObject })

const plain = {}
const ENDS: Record<RunEnd['end'], Shape> = {
  returned: { value: anything, response },
  exited: { code: count, message: text, data: anything },
  threw: { error: within({ name: text, message: text, code: text, stack: text }) },
  syntax: { message: text, line: count, column: count },
  oversized: { bytes: count },
  ...{ pending: plain, cpu: plain, memory: plain, stopped: plain }
}

const ofKind = (value: unknown, kind: string, shapes: Record<string, Shape>): boolean => {
  if (!isObject(value) || typeof value[kind] !== 'string' || !Object.hasOwn(shapes, value[kind])) return false
  return fits(value, shapes[value[kind]] ?? {})
}

/** Is this the header of a frame? */
export const isHeader = (value: unknown): value is FromRunner => ofKind(value, 't', HEADERS)

/** How a run ended; null: this text does not say so. */
export function readEnd(document: string): RunEnd | null {
  const value = parse(document)
  return ofKind(value, 'end', ENDS) ? (value as RunEnd) : null
}

/** What became of a check; null: this text does not say so. */
export function readCheck(document: string): CheckResult | null {
  const value = parse(document)
  const good = fits(value, { ok: ok => ok === true, compiled: textOrNull })
  const bad = fits(value, { ok: ok => ok === false, message: text, line: count, column: count })
  return good || bad ? (value as CheckResult) : null
}

function parse(document: string): unknown {
  try {
    return JSON.parse(document)
  } catch {
    return undefined
  }
}
