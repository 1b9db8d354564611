/**
 * Reads the fields of a Haidian-like request one by one. A field that is wrong ends the request with a Refusal, whose
 * message is the answer's `msg`.
 *
 *   const { user_id, page } = fields.read(body, { user_id: fields.required(fields.id), page: fields.page })
 *
 * Assumed: the document types ids as int and the rest as strings, so both spellings are taken ("12" and 12). Amounts are
 * yuan with at most two decimals. Times are yyyy-MM-dd HH:mm:ss, or seconds since 1970 as user-info gives them; dates are
 * yyyy-MM-dd with or without a time. Times are the shop's, Asia/Shanghai.
 */

/** A request that is answered with code -1; its message is for the caller. */
class Refusal extends Error {}
exports.Refusal = Refusal

/** Ends the request with code -1 and this message. */
exports.refuse = message => {
  throw new Refusal(message)
}

const wrong = (name, what) => exports.refuse(`参数错误：${name} ${what}`)
const isEmpty = value => value === undefined || value === null || value === ''

/** The fields that the rules name, each as its rule reads it; an empty one is null. Others are left out. */
exports.read = (body, rules) =>
  Object.fromEntries(Object.entries(rules).map(([name, rule]) => [name, rule(body[name], name)]))

/** The rule, for a field that must not be empty. */
exports.required = rule => (value, name) => (isEmpty(value) ? wrong(name, '不能为空') : rule(value, name))

/** Ends the request unless one of these fields has a value. */
exports.requireOne = (found, ...names) => {
  if (names.every(name => found[name] === null)) wrong(names.join('、'), '至少填一个')
}

const rule = read => (value, name) => (isEmpty(value) ? null : read(value, name))

// What a rule that reads text gets: a string, or a whole number as its digits.
const textOf = (value, name) => {
  if (typeof value === 'string') return value.trim()
  if (Number.isSafeInteger(value)) return String(value)
  return wrong(name, '类型错误')
}

/** Text of at most so many characters, without blanks at its ends. */
exports.text = longest =>
  rule((value, name) => {
    const text = textOf(value, name)
    return text.length > longest ? wrong(name, `不能超过 ${longest} 个字符`) : text || null
  })

const whole = (pattern, what, largest = Number.MAX_SAFE_INTEGER) =>
  rule((value, name) => {
    const text = textOf(value, name)
    return pattern.test(text) && Math.abs(Number(text)) <= largest ? Number(text) : wrong(name, what)
  })

/** An id, 1 or more. */
exports.id = whole(/^[1-9]\d{0,15}$/, '必须是正整数')

/** A number of pieces, 1 or more. */
exports.count = whole(/^[1-9]\d{0,8}$/, '必须是正整数', 1000000)

/** A change of points: whole, not 0, taken off when negative. */
exports.points = whole(/^-?[1-9]\d{0,8}$/, '必须是非零整数')

const pageNumber = whole(/^[1-9]\d{0,5}$/, '必须是正整数')
/** A page's number from 1; 1 when it is left out. */
exports.page = (value, name) => pageNumber(value, name) ?? 1

/** An amount in yuan, as fen. */
exports.money = rule((value, name) => {
  const text = typeof value === 'number' ? String(value) : textOf(value, name)
  const [, yuan, cents = ''] = /^(\d{1,9})(?:\.(\d{1,2}))?$/.exec(text) ?? []
  return yuan === undefined
    ? wrong(name, '必须是金额（元，最多两位小数）')
    : Number(yuan) * 100 + Number(cents.padEnd(2, '0'))
})

/** A phone number. */
exports.mobile = rule((value, name) => {
  const text = textOf(value, name)
  return /^\+?\d{5,17}$/.test(text) ? text : wrong(name, '不是手机号')
})

/** One of these words. */
exports.oneOf = (...words) =>
  rule((value, name) => {
    const text = textOf(value, name)
    return words.includes(text) ? text : wrong(name, `只能是 ${words.join('、')}`)
  })

/** A moment, as yyyy-MM-dd HH:mm:ss. */
exports.time = rule((value, name) => {
  const text = textOf(value, name)
  if (/^\d{9,10}$/.test(text)) return shanghai(Number(text))
  return isMoment(text) ? text : wrong(name, '时间格式应为 yyyy-MM-dd HH:mm:ss')
})

/** A day or a moment, as it was given. */
exports.date = rule((value, name) => {
  const text = textOf(value, name)
  return isMoment(text) || isMoment(`${text} 00:00:00`) ? text : wrong(name, '日期格式应为 yyyy-MM-dd')
})

/**
 * The first and the last moment of a span of two dates, at most three calendar months long; null without dates. A day as
 * the end means all of it.
 */
exports.span = (start, end) => {
  if (start === null && end === null) return null
  if (start === null || end === null) wrong('start_date、end_date', '须同时填写')
  const from = start.length === 10 ? `${start} 00:00:00` : start
  const to = end.length === 10 ? `${end} 23:59:59` : end
  if (from > to) wrong('start_date', '不能晚于 end_date')
  const latest = `${threeMonthsAfter(start.slice(0, 10))} ${start.length === 10 ? '23:59:59' : start.slice(11)}`
  if (to > latest) wrong('start_date、end_date', '时间段间隔不可超过3月')
  return { from, to }
}

// The 31st of January and three months are the 30th of April.
const threeMonthsAfter = day => {
  const [year, month, date] = day.split('-').map(Number)
  const lastDate = new Date(Date.UTC(year, month + 3, 0)).getUTCDate()
  return new Date(Date.UTC(year, month + 2, Math.min(date, lastDate))).toISOString().slice(0, 10)
}

const isMoment = text => {
  if (!/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/.test(text)) return false
  const moment = new Date(`${text.replace(' ', 'T')}Z`)
  // The 30th of February would silently become the 1st of March.
  return !Number.isNaN(moment.getTime()) && moment.toISOString().startsWith(text.replace(' ', 'T'))
}

const shanghai = seconds => new Date((seconds + 8 * 3600) * 1000).toISOString().slice(0, 19).replace('T', ' ')
