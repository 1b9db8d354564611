import {
  addTo,
  dayOfYear,
  epochOf,
  formatMoment,
  type Moment,
  readMoment,
  unitsBetween,
  wallClock,
  writeMoment
} from './dates.ts'
import { type Implementation, number, text, type Value } from './values.ts'

const read = (value: Value | undefined): Moment | null => readMoment(text(value))

const date =
  (act: (moment: Date) => Value): Implementation =>
  value => {
    const moment = read(value)
    return moment && act(new Date(moment.at))
  }

const add =
  (sign: 1 | -1): Implementation =>
  (value, amount, unit = 'DAY') => {
    const moment = read(value)
    return moment && writeMoment(addTo(moment, sign * number(amount), text(unit)))
  }

const now = (): string => writeMoment(wallClock(Date.now()))

const clock = (value: Value | undefined): string | null => /(\d{1,2}:\d{2}(?::\d{2})?)/.exec(text(value))?.[1] ?? null

const timePart =
  (index: number): Implementation =>
  value => {
    const parts = clock(value)?.split(':')
    return Number(parts?.[index] ?? 0)
  }

/** MySQL’s functions on dates and times, which are `YYYY-MM-DD HH:mm:ss` texts in the time zone of the process. */
export const DATES: Record<string, Implementation> = {
  now,
  sysdate: now,
  curdate: () => now().slice(0, 10),
  curtime: () => now().slice(11),
  utc_timestamp: () => writeMoment({ at: Date.now(), day: false }),
  date_format: (value, format) => {
    const moment = read(value)
    return moment && formatMoment(moment, text(format))
  },
  unix_timestamp: value => {
    if (value === undefined) return Math.floor(Date.now() / 1000)
    const moment = read(value)
    return moment ? epochOf(moment) : 0
  },
  from_unixtime: (seconds, format) => {
    const moment = wallClock(Math.floor(number(seconds)) * 1000)
    return format === undefined ? writeMoment(moment) : formatMoment(moment, text(format))
  },
  datediff: (a, b) => {
    const [to, from] = [read(a), read(b)]
    return to && from && Math.floor(to.at / 86_400_000) - Math.floor(from.at / 86_400_000)
  },
  timestampdiff: (unit, a, b) => {
    const [from, to] = [read(a), read(b)]
    return from && to && unitsBetween(from, to, text(unit))
  },
  timestampadd: (unit, amount, value) => add(1)(value, amount, unit),
  date_add: add(1),
  adddate: add(1),
  date_sub: add(-1),
  subdate: add(-1),
  date: value => read(value) && text(value).trim().slice(0, 10),
  year: date(moment => moment.getUTCFullYear()),
  quarter: date(moment => Math.floor(moment.getUTCMonth() / 3) + 1),
  month: date(moment => moment.getUTCMonth() + 1),
  day: date(moment => moment.getUTCDate()),
  dayofmonth: date(moment => moment.getUTCDate()),
  dayofweek: date(moment => moment.getUTCDay() + 1),
  weekday: date(moment => (moment.getUTCDay() + 6) % 7),
  dayofyear: date(dayOfYear),
  dayname: value => DATES.date_format?.(value, '%W') ?? null,
  monthname: value => DATES.date_format?.(value, '%M') ?? null,
  last_day: date(moment =>
    writeMoment({ at: Date.UTC(moment.getUTCFullYear(), moment.getUTCMonth() + 1, 0), day: true })
  ),
  hour: timePart(0),
  minute: timePart(1),
  second: timePart(2)
}
