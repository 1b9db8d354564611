import { createHash } from 'node:crypto'
import v8 from 'node:v8'
import { bytes, chars, type Implementation, number, repeat, text, type Value } from './values.ts'

// Patterns come from scripts and run in the main process: the linear engine (flag `l`) cannot be made to hang.
v8.setFlagsFromString('--enable-experimental-regexp-engine')

const hash = (algorithm: string, value: Value | undefined): string =>
  createHash(algorithm).update(bytes(value)).digest('hex')

function pad(value: Value | undefined, length: Value | undefined, filling: Value | undefined, left: boolean): Value {
  const given = chars(value)
  const missing = number(length) - given.length
  if (missing <= 0) return given.slice(0, number(length)).join('')
  const filler = chars(filling)
  if (filler.length === 0) return null
  const rest = [...repeat(filler.join(''), Math.ceil(missing / filler.length))].slice(0, missing).join('')
  return left ? rest + given.join('') : given.join('') + rest
}

function locate(needle: Value | undefined, haystack: Value | undefined, from: Value | undefined = 1n): number {
  const begin = chars(haystack)
    .slice(0, number(from) - 1)
    .join('').length
  const found = text(haystack).toLowerCase().indexOf(text(needle).toLowerCase(), begin)
  return found < 0 ? 0 : [...text(haystack).slice(0, found)].length + 1
}

function substringIndex(value: Value | undefined, delimiter: Value | undefined, count: Value | undefined): string {
  const parts = text(value).split(text(delimiter))
  const wanted = number(count)
  return (wanted >= 0 ? parts.slice(0, wanted) : parts.slice(wanted)).join(text(delimiter))
}

function trim(side: Value | undefined, part: Value | undefined, value: Value | undefined): string {
  const cut = text(part)
  let rest = text(value)
  if (cut === '') return rest
  while (side !== 'TRAILING' && rest.startsWith(cut)) rest = rest.slice(cut.length)
  while (side !== 'LEADING' && rest.endsWith(cut)) rest = rest.slice(0, -cut.length)
  return rest
}

/** LIKE as MySQL has it: case does not matter, and a backslash (or `mark`) takes a wildcard's meaning away. */
function like(pattern: string[], value: string[], mark: string): boolean {
  const parts: string[] = []
  for (let at = 0; at < pattern.length; at++) {
    const literal = pattern[at] === mark && at + 1 < pattern.length
    const char = pattern[literal ? ++at : at] as string
    // Wildcards become what no single character can be.
    parts.push(literal || (char !== '%' && char !== '_') ? char.toLowerCase() : `${char}${char}`)
  }
  let at = 0
  let part = 0
  let retry = -1
  let resume = 0
  while (at < value.length) {
    if (parts[part] === '__' || parts[part] === value[at]?.toLowerCase()) {
      at++
      part++
    } else if (parts[part] === '%%') {
      retry = ++part
      resume = at
    } else if (retry >= 0) {
      part = retry
      at = ++resume
    } else return false
  }
  while (parts[part] === '%%') part++
  return part === parts.length
}

const CLASSES: Record<string, string> = {
  alpha: 'a-z',
  digit: '0-9',
  alnum: 'a-z0-9',
  space: '\\s',
  lower: 'a-z',
  upper: 'a-z',
  punct: '!-\\/:-@\\[-`{-~',
  xdigit: '0-9a-f'
}

/** Case does not matter, as with MySQL's default collation. Back references and look-around are refused. */
const regexp: Implementation = (pattern, value) => {
  const folded = text(pattern)
    .replace(/\\.|[^\\]/gsu, part => (part.length > 1 ? part : part.toLowerCase()))
    .replace(/\[:(\w+):\]/g, (whole, name: string) => CLASSES[name] ?? whole)
  return new RegExp(folded, 'l').test(text(value).toLowerCase())
}

/** MySQL’s functions on text. */
export const TEXT: Record<string, Implementation> = {
  concat: (...values) => values.map(text).join(''),
  left: (value, length) =>
    chars(value)
      .slice(0, Math.max(0, number(length)))
      .join(''),
  right: (value, length) => (number(length) > 0 ? chars(value).slice(-number(length)).join('') : ''),
  lpad: (value, length, filling = ' ') => pad(value, length, filling, true),
  rpad: (value, length, filling = ' ') => pad(value, length, filling, false),
  lower: value => text(value).toLowerCase(),
  lcase: value => text(value).toLowerCase(),
  upper: value => text(value).toUpperCase(),
  ucase: value => text(value).toUpperCase(),
  length: value => bytes(value).length,
  char_length: value => chars(value).length,
  character_length: value => chars(value).length,
  ascii: value => bytes(value)[0] ?? 0,
  locate,
  instr: (value, part) => locate(part, value),
  substring_index: substringIndex,
  find_in_set: (value, list) => (list === '' ? 0 : text(list).split(',').indexOf(text(value)) + 1),
  replace: (value, from, to) => {
    if (text(from) === '') return text(value)
    const parts = text(value).split(text(from))
    repeat(text(to), parts.length - 1)
    return parts.join(text(to))
  },
  reverse: value => chars(value).reverse().join(''),
  repeat: (value, times) => repeat(text(value), number(times)),
  space: times => repeat(' ', number(times)),
  mysql_trim: trim,
  mysql_insert: (value, position, length, part) => {
    const all = chars(value)
    const at = number(position) - 1
    if (at < 0 || at >= all.length) return all.join('')
    all.splice(at, number(length) < 0 ? all.length : number(length), text(part))
    return all.join('')
  },
  like: (pattern, value, mark = '\\') => like(chars(pattern), chars(value), text(mark)),
  regexp,
  strcmp: (a, b) => {
    const [left, right] = [text(a).toLowerCase(), text(b).toLowerCase()]
    return left === right ? 0 : left < right ? -1 : 1
  },
  hex: value =>
    typeof value === 'string' || Buffer.isBuffer(value)
      ? bytes(value).toString('hex').toUpperCase()
      : BigInt(Math.round(number(value)))
          .toString(16)
          .toUpperCase(),
  to_base64: value => bytes(value).toString('base64'),
  from_base64: value => Buffer.from(text(value), 'base64'),
  md5: value => hash('md5', value),
  sha: value => hash('sha1', value),
  sha1: value => hash('sha1', value),
  sha2: (value, bits) => hash(`sha${number(bits) || 256}`, value)
}
