import type { Draft } from './draft.ts'
import { endsOperand, findWord, isWord, operandEnd, operandStart, unsupported } from './draft.ts'

/** Writes the operators, literals and calls of a draft as SQLite has them; see `functions.ts` for the functions. */
export function translateExpressions(draft: Draft): void {
  for (const rule of [literal, call, operator]) for (const at of draft.tokens.keys()) rule(draft, at)
}

/** As an SQL string of the kind that both databases read the same way. */
export const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`

const CLOCKS: Record<string, string> = {
  CURRENT_TIMESTAMP: 'NOW',
  LOCALTIME: 'NOW',
  LOCALTIMESTAMP: 'NOW',
  CURRENT_DATE: 'CURDATE',
  CURRENT_TIME: 'CURTIME',
  UTC_TIMESTAMP: 'UTC_TIMESTAMP'
}

function literal(draft: Draft, at: number): void {
  const { tokens, out } = draft
  const token = tokens[at]
  const next = tokens[at + 1]
  if (token?.kind === 'variable') throw unsupported(`the variable ${token.text}`, 'keep the value in the script')
  if (token?.kind === 'string') {
    let value = token.value
    for (let more = at + 1; tokens[more]?.kind === 'string'; more++) value += tokens[more]?.value
    out[at] = tokens[at - 1]?.kind === 'string' ? '' : quoted(value)
  }
  if (token?.kind === 'number' && /^(0b|b')/i.test(token.text))
    out[at] = String(Number(`0b${token.text.replace(/[b']|^0b/gi, '')}`))
  if (token?.kind !== 'word' || tokens[at - 1]?.text === '.') return
  const clock = CLOCKS[token.text]
  if (clock) out[at] = next?.text === '(' ? clock : `${clock}()`
  // DATE '…', N'…' and _utf8mb4'…' are strings to SQLite.
  const introduces =
    /^(DATE|TIME|TIMESTAMP|N|_\w+)$/.test(token.text) && next?.kind === 'string' && !endsOperand(draft, at - 1)
  if (introduces || (token.text === 'BINARY' && !endsOperand(draft, at - 1) && !isWord(draft, at - 1, 'AS')))
    out[at] = ''
  if (isWord(draft, at - 1, 'COLLATE')) out[at] = /_CI$/.test(token.text) ? 'NOCASE' : 'BINARY'
}

/** MySQL's names of functions that SQLite takes for something else. */
const RENAMED: Record<string, string> = {
  ANY_VALUE: '',
  FORMAT: 'mysql_format',
  INSERT: 'mysql_insert',
  ISNULL: 'mysql_isnull',
  JSON_ARRAYAGG: 'JSON_GROUP_ARRAY',
  JSON_MERGE_PATCH: 'JSON_PATCH',
  JSON_OBJECTAGG: 'JSON_GROUP_OBJECT',
  LAST_INSERT_ID: 'last_insert_rowid',
  MID: 'SUBSTR',
  POSITION: 'locate',
  SCHEMA: 'database'
}

/** SQLite's own functions that can fill the memory of the process from one small statement. */
const REFUSED = new Set(['ZEROBLOB', 'RANDOMBLOB', 'PRINTF', 'LOAD_EXTENSION', 'FTS3_TOKENIZER'])

function call(draft: Draft, at: number): void {
  const { tokens, out, partner } = draft
  if (tokens[at + 1]?.text !== '(' || tokens[at]?.kind === 'symbol' || tokens[at - 1]?.text === '.') return
  const name = (tokens[at]?.value ?? '').toUpperCase()
  const open = at + 1
  const close = partner[open] as number
  if (REFUSED.has(name)) throw unsupported(`the function ${name}`, 'it is none of MySQL’s')
  if (tokens[at]?.kind !== 'word') return
  const renamed = RENAMED[name]
  if (renamed !== undefined) out[at] = renamed
  if (name === 'LAST_INSERT_ID' && close > open + 1) throw unsupported('LAST_INSERT_ID(value)', 'select the id')
  if (name === 'CAST' || name === 'CONVERT') cast(draft, at, close)
  if (name === 'TIMESTAMPDIFF' || name === 'TIMESTAMPADD') out[open + 1] = quoted(tokens[open + 1]?.text ?? '')
  if (/^(DATE_ADD|DATE_SUB|ADDDATE|SUBDATE)$/.test(name)) {
    const interval = findWord(draft, open + 1, close, 'INTERVAL')
    if (interval >= 0) writeInterval(draft, interval, '(', '')
  }
  if (name === 'GROUP_CONCAT') groupConcat(draft, at, close)
  keywordArguments(draft, name, open, close)
}

/** EXTRACT(YEAR FROM x), TRIM(BOTH 'x' FROM y), SUBSTRING(x FROM 1 FOR 2), POSITION(x IN y): with commas instead. */
function keywordArguments(draft: Draft, name: string, open: number, close: number): void {
  const { tokens, out } = draft
  const from = findWord(draft, open + 1, close, name === 'POSITION' ? 'IN' : 'FROM')
  if (from < 0) return
  if (name === 'POSITION') out[from] = ','
  if (name === 'EXTRACT') {
    out[open - 1] = tokens[open + 1]?.text ?? ''
    out[open + 1] = out[from] = ''
  } else if (name === 'TRIM') {
    const side = isWord(draft, open + 1, 'BOTH', 'LEADING', 'TRAILING') ? (tokens[open + 1]?.text ?? '') : ''
    out[open - 1] = 'mysql_trim'
    if (side) out[open + 1] = ''
    out[open] = `(${quoted(side || 'BOTH')},`
    out[from] = from === open + 2 && side ? "' '," : ','
  } else if (/^SUBSTR(ING)?$/.test(name)) {
    out[from] = ','
    const length = findWord(draft, from, close, 'FOR')
    if (length >= 0) out[length] = ','
  }
}

/** CAST(x AS type) and CONVERT(x, type) become mysql_cast(x, 'type', length, scale); CONVERT(x USING …) just x. */
function cast(draft: Draft, at: number, close: number): void {
  const { tokens, out, depth } = draft
  const using = findWord(draft, at + 2, close, 'USING')
  let as = using >= 0 ? using : findWord(draft, at + 2, close, 'AS')
  for (let comma = close; as < 0 && comma > at; comma--)
    if (tokens[comma]?.text === ',' && depth[comma] === depth[at + 2]) as = comma
  if (as < 0) return
  const sizes = tokens.slice(as + 2, close).filter(({ kind }) => kind === 'number')
  const type = tokens[as + 1]?.text ?? ''
  for (let index = as; index < close; index++) out[index] = ''
  if (using >= 0) out[at] = ''
  else {
    out[at] = 'mysql_cast'
    out[as] = [',', quoted(type), ...sizes.map(({ text }) => `, ${text}`)].join(' ')
  }
}

/** GROUP_CONCAT with a separator or several values: SQLite's own takes neither together with DISTINCT. */
function groupConcat(draft: Draft, at: number, close: number): void {
  const { tokens, out, depth } = draft
  const first = isWord(draft, at + 2, 'DISTINCT') ? at + 3 : at + 2
  const separator = findWord(draft, at + 2, close, 'SEPARATOR')
  const tail = findWord(draft, at + 2, close, 'ORDER', 'SEPARATOR')
  const last = (tail < 0 ? close : tail) - 1
  let several = false
  for (let index = first; index <= last; index++)
    several ||= tokens[index]?.text === ',' && depth[index] === depth[first]
  if (several) {
    out[first] = `CONCAT(${out[first]}`
    out[last] += ')'
  }
  if (separator < 0) return
  out[at] = 'mysql_join(JSON_GROUP_ARRAY'
  out[separator] = '),'
}

const UNITS = ['MICROSECOND', 'SECOND', 'MINUTE', 'HOUR', 'DAY', 'WEEK', 'MONTH', 'QUARTER', 'YEAR']

/** `INTERVAL amount UNIT` becomes `(amount), 'UNIT'`, between these texts. Answers the unit's index. */
function writeInterval({ tokens, out, ...draft }: Draft, at: number, before: string, after: string): number {
  const unit = findWord({ tokens, out, ...draft }, at, tokens.length, ...UNITS)
  if (unit < 0) throw unsupported('this INTERVAL', `units are ${UNITS.join(', ')}`)
  out[at] = before
  out[unit] = `), ${quoted(tokens[unit]?.text ?? '')}${after}`
  return unit
}

function operator(draft: Draft, at: number): void {
  const { tokens, out, spans } = draft
  const text = tokens[at]?.text ?? ''
  if (tokens[at]?.kind === 'symbol') {
    const written = { '/': '*1.0/', '||': ' OR ', '&&': ' AND ', '<=>': ' IS ' }[text]
    if (written) out[at] = written
    if (text === '^') throw unsupported('the operator ^', 'compute it in the script')
    if (text === '!') {
      out[at] = '(NOT '
      out[operandEnd(draft, at + 1)] += ')'
    }
    if ((text === '+' || text === '-') && isWord(draft, at + 1, 'INTERVAL')) {
      const start = operandStart(draft, at - 1)
      const unit = writeInterval(draft, at + 1, '(', ')')
      out[start] = `${text === '+' ? 'DATE_ADD' : 'DATE_SUB'}(${out[start]}`
      out[at] = ','
      spans.set(unit, start)
    }
  }
  if (isWord(draft, at, 'XOR')) throw unsupported('XOR', 'write (a AND NOT b) OR (b AND NOT a)')
  if (isWord(draft, at, 'RLIKE')) out[at] = 'REGEXP'
  if (isWord(draft, at, 'MOD') && endsOperand(draft, at - 1)) out[at] = '%'
  if (isWord(draft, at, 'DIV')) integerDivision(draft, at)
}

/** `a * b DIV c` becomes `CAST(a * b / c AS INTEGER)`: operators of this rank group from the left. */
function integerDivision(draft: Draft, at: number): void {
  const { tokens, out, spans } = draft
  let start = operandStart(draft, at - 1)
  while (/^[*/%]$/.test(tokens[start - 1]?.text ?? '') || isWord(draft, start - 1, 'MOD', 'DIV'))
    start = operandStart(draft, start - 2)
  const end = operandEnd(draft, at + 1)
  out[start] = `CAST(${out[start]}`
  out[at] = '/'
  out[end] += ' AS INTEGER)'
  spans.set(end, start)
}
