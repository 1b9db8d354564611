/** A moment on the calendar, in no time zone: milliseconds as if it were UTC. `day`: it has no time of day. */
export interface Moment {
  at: number
  day: boolean
}

const SHAPE = /^\s*(\d{4})-(\d{1,2})-(\d{1,2})(?:[ T](\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.(\d{1,6}))?)?)?\s*$/

/** Reads `YYYY-MM-DD[ HH:mm[:ss]]`; null for anything else, and for days that no calendar has. */
export function readMoment(text: string): Moment | null {
  const parts = SHAPE.exec(text)
  if (!parts) return null
  const [year, month, day, hour, minute, second] = parts.slice(1, 7).map(part => Number(part ?? 0)) as [
    number,
    number,
    number,
    number,
    number,
    number
  ]
  const at = Date.UTC(year, month - 1, day, hour, minute, second)
  const date = new Date(at)
  const exists = date.getUTCMonth() === month - 1 && hour < 24 && minute < 60 && second < 60
  return exists ? { at, day: parts[4] === undefined } : null
}

/** `YYYY-MM-DD`, with ` HH:mm:ss` unless it is a day. */
export function writeMoment({ at, day }: Moment): string {
  const text = new Date(at).toISOString()
  return day ? text.slice(0, 10) : text.slice(0, 19).replace('T', ' ')
}

/** What the clock on the wall shows at this moment of the epoch, in the time zone of the process. */
export function wallClock(epoch: number): Moment {
  const date = new Date(epoch)
  return { at: epoch - date.getTimezoneOffset() * 60_000, day: false }
}

/** The moment of the epoch, in seconds, at which the clock on the wall shows this. */
export function epochOf({ at }: Moment): number {
  const date = new Date(at)
  const local = new Date(
    date.getUTCFullYear(),
    date.getUTCMonth(),
    date.getUTCDate(),
    date.getUTCHours(),
    date.getUTCMinutes(),
    date.getUTCSeconds()
  )
  return Math.floor(local.getTime() / 1000)
}

const LENGTHS: Record<string, number> = {
  SECOND: 1_000,
  MINUTE: 60_000,
  HOUR: 3_600_000,
  DAY: 86_400_000,
  WEEK: 604_800_000
}
const MONTHS: Record<string, number> = { MONTH: 1, QUARTER: 3, YEAR: 12 }

/** The moment so many units later; a day that the month does not have becomes its last one. */
export function addTo({ at, day }: Moment, amount: number, unit: string): Moment {
  const months = MONTHS[unit]
  if (months === undefined) {
    const keepsDay = unit === 'DAY' || unit === 'WEEK'
    return { at: at + Math.round(amount) * (LENGTHS[unit] ?? 0.001), day: day && keepsDay }
  }
  const date = new Date(at)
  const first = new Date(at)
  first.setUTCDate(1)
  first.setUTCMonth(date.getUTCMonth() + Math.round(amount) * months)
  const last = new Date(Date.UTC(first.getUTCFullYear(), first.getUTCMonth() + 1, 0)).getUTCDate()
  first.setUTCDate(Math.min(date.getUTCDate(), last))
  return { at: first.getTime(), day }
}

/** How many whole units lie between two moments; negative when the second one is earlier. */
export function unitsBetween(from: Moment, to: Moment, unit: string): number {
  const months = MONTHS[unit]
  if (months === undefined) return Math.trunc((to.at - from.at) / (LENGTHS[unit] ?? 0.001))
  const [early, late, sign] = from.at <= to.at ? [from, to, 1] : [to, from, -1]
  const a = new Date(early.at)
  const b = new Date(late.at)
  let between = (b.getUTCFullYear() - a.getUTCFullYear()) * 12 + b.getUTCMonth() - a.getUTCMonth()
  const within = (date: Date) => date.getUTCDate() * 86_400_000 + (date.getTime() % 86_400_000)
  if (within(b) < within(a)) between--
  return sign * Math.trunc(between / months)
}

const MONTH_NAMES = 'January,February,March,April,May,June,July,August,September,October,November,December'.split(',')
const DAY_NAMES = 'Sunday,Monday,Tuesday,Wednesday,Thursday,Friday,Saturday'.split(',')

const two = (value: number): string => String(value).padStart(2, '0')
const twelve = (hour: number): number => hour % 12 || 12

/** Day of the year, from 1. */
export const dayOfYear = (date: Date): number =>
  Math.floor((date.getTime() - Date.UTC(date.getUTCFullYear(), 0, 1)) / 86_400_000) + 1

const FORMATS: Record<string, (date: Date) => string> = {
  Y: date => String(date.getUTCFullYear()).padStart(4, '0'),
  y: date => two(date.getUTCFullYear() % 100),
  m: date => two(date.getUTCMonth() + 1),
  c: date => String(date.getUTCMonth() + 1),
  M: date => MONTH_NAMES[date.getUTCMonth()] as string,
  b: date => (MONTH_NAMES[date.getUTCMonth()] as string).slice(0, 3),
  d: date => two(date.getUTCDate()),
  e: date => String(date.getUTCDate()),
  j: date => String(dayOfYear(date)).padStart(3, '0'),
  W: date => DAY_NAMES[date.getUTCDay()] as string,
  a: date => (DAY_NAMES[date.getUTCDay()] as string).slice(0, 3),
  w: date => String(date.getUTCDay()),
  H: date => two(date.getUTCHours()),
  k: date => String(date.getUTCHours()),
  h: date => two(twelve(date.getUTCHours())),
  I: date => two(twelve(date.getUTCHours())),
  l: date => String(twelve(date.getUTCHours())),
  i: date => two(date.getUTCMinutes()),
  s: date => two(date.getUTCSeconds()),
  S: date => two(date.getUTCSeconds()),
  f: () => '000000',
  p: date => (date.getUTCHours() < 12 ? 'AM' : 'PM'),
  T: date => date.toISOString().slice(11, 19),
  r: date =>
    `${two(twelve(date.getUTCHours()))}:${date.toISOString().slice(14, 19)} ${date.getUTCHours() < 12 ? 'AM' : 'PM'}`
}

/** DATE_FORMAT: `%Y`, `%m` … as in MySQL, except the weeks of the year. */
export function formatMoment({ at }: Moment, format: string): string {
  const date = new Date(at)
  return format.replace(/%(.)/gs, (_, letter: string) => FORMATS[letter]?.(date) ?? letter)
}
