import type { Statement } from '../sql/statement.ts'
import { type Draft, draftOf, endsOperand, findWord, isWord, textOf, unsupported } from './draft.ts'
import { translateExpressions } from './expressions.ts'

/** More steps than this end a recursive WITH: nothing else could, once SQLite is at it. */
const RECURSION = 100_000

/**
 * The statement in SQLite's dialect, its placeholders in the same order. Throws DB_ERROR, with a remedy, for what has no
 * counterpart: variables, XOR and `^`, UPDATE and DELETE over several tables, DEFAULT as a value, WITH ROLLUP.
 *
 * What differs without notice: text compares by bytes (MySQL's default ignores case), a number in a string equals the
 * number only where a column's type converts it, quotients are not rounded to four digits, `%` takes whole numbers,
 * JSON functions write no blanks and JSON_EXTRACT gives strings without quotes, and an upsert or REPLACE counts one row
 * however many it touched.
 */
export function translate(statement: Statement): string {
  const draft = draftOf(statement)
  translateExpressions(draft)
  const { verb, ast } = statement
  if (verb === 'insert' || verb === 'replace') insert(draft)
  const tables = (ast as { table?: unknown[] | null }).table
  if (verb === 'update') update(draft, tables?.length ?? 1)
  if (verb === 'delete') remove(draft)
  for (const at of draft.tokens.keys()) query(draft, at)
  if (verb === 'select') nameColumns(draft)
  return textOf(draft)
}

/** Words that SQLite keeps for itself and MySQL does not. */
const KEYWORDS = new Set(
  'AUTOINCREMENT COMMIT DEFERRABLE ISNULL NOTHING NOTNULL RAISE RETURNING TRANSACTION'.split(' ')
)

/** What may stand anywhere in a query. */
function query(draft: Draft, at: number): void {
  const { tokens, out } = draft
  const { text, kind } = tokens[at] as (typeof tokens)[number]
  if (text === '(' && isWord(draft, at + 1, 'SELECT') && joinsSet(draft, at)) out[at] = 'SELECT * FROM ('
  if (text === '(' && isWord(draft, at - 1, 'IN')) rows(draft, at)
  if (kind !== 'word' || tokens[at - 1]?.text === '.') {
    if (kind === 'word' && tokens[at + 1]?.text !== '(') out[at] = `\`${tokens[at]?.value}\``
    return
  }
  if (KEYWORDS.has(text) && tokens[at + 1]?.text !== '(') out[at] = `\`${tokens[at]?.value}\``
  if (text === 'DUAL' && isWord(draft, at - 1, 'FROM')) out[at] = out[at - 1] = ''
  if (text === 'STRAIGHT_JOIN') out[at] = 'JOIN'
  if (text === 'DISTINCT' && isWord(draft, at - 1, 'UNION')) out[at] = ''
  if (text === 'SQL_NO_CACHE' || text === 'SQL_CACHE') out[at] = ''
  if (text === 'SQL_CALC_FOUND_ROWS') throw unsupported(text, 'count with a second query')
  if (text === 'ROLLUP' && isWord(draft, at - 1, 'WITH')) throw unsupported('WITH ROLLUP', 'add up in the script')
  if (text === 'DEFAULT' && tokens[at + 1]?.text !== '(')
    throw unsupported('DEFAULT as a value', 'leave the column out')
  if (text === 'RECURSIVE') boundRecursion(draft, at)
}

/** Whether a query in parentheses is a member of a UNION: SQLite wants none there. */
const joinsSet = (draft: Draft, at: number): boolean =>
  at === 0 ||
  isWord(draft, at - 1, 'UNION', 'EXCEPT', 'INTERSECT') ||
  (isWord(draft, at - 1, 'ALL', 'DISTINCT') && isWord(draft, at - 2, 'UNION'))

/** `(a, b) IN ((1, 2), (3, 4))`: SQLite wants VALUES before the rows. */
function rows({ tokens, partner, out }: Draft, open: number): void {
  if (tokens[open + 1]?.text !== '(' || tokens[open + 2]?.text === 'SELECT') return
  const end = partner[open] as number
  for (let at = open + 1; at < end; at = (partner[at] as number) + 2) {
    const after = tokens[(partner[at] ?? at) + 1]?.text
    if (tokens[at]?.text !== '(' || (after !== ',' && after !== ')')) return
  }
  out[open] = '(VALUES '
}

function boundRecursion(draft: Draft, at: number): void {
  const { tokens, partner, out } = draft
  for (let open = at; open < tokens.length; open++) {
    if (tokens[open]?.text !== '(' || !isWord(draft, open - 1, 'AS') || draft.depth[open] !== draft.depth[at]) continue
    const close = partner[open] as number
    if (findWord(draft, open + 1, close, 'LIMIT') < 0) out[close] = ` LIMIT ${RECURSION})`
  }
}

function insert(draft: Draft): void {
  const { tokens, out } = draft
  const end = tokens.length
  if (isWord(draft, 1, 'IGNORE')) {
    out[0] = 'INSERT OR IGNORE'
    out[1] = ''
  }
  const first = isWord(draft, 1, 'IGNORE') ? 2 : 1
  if (!isWord(draft, first, 'INTO')) out[first - 1] += ' INTO'
  const conflict = findWord(draft, 0, end, 'DUPLICATE') - 1
  const body = conflict < 0 ? end : conflict
  const value = findWord(draft, 0, body, 'VALUE')
  if (value >= 0) out[value] = 'VALUES'
  const set = findWord(draft, 0, body, 'SET')
  if (set >= 0) assignments(draft, set, body)
  if (conflict >= 0) upsert(draft, conflict)
}

/** `SET a = 1, b = 2` of an INSERT becomes `(a, b) VALUES (1, 2)`. */
function assignments(draft: Draft, set: number, end: number): void {
  const { tokens, out, depth } = draft
  const names: string[] = []
  for (let at = set; at < end; at++) {
    if (at !== set && (depth[at] !== depth[set] || tokens[at]?.text !== ',')) continue
    let equals = at
    while (equals < end && tokens[equals]?.text !== '=') equals++
    names.push(out[equals - 1] as string)
    for (let index = at + 1; index <= equals; index++) out[index] = ''
  }
  out[set] = `(${names.join(', ')}) VALUES (`
  out[end - 1] += ')'
}

function upsert(draft: Draft, at: number): void {
  const { tokens, out, partner } = draft
  out[at] = 'ON CONFLICT DO UPDATE SET'
  out[at + 1] = out[at + 2] = out[at + 3] = ''
  for (let index = at + 4; index < tokens.length; index++) {
    if (!isWord(draft, index, 'VALUES') || tokens[index + 1]?.text !== '(') continue
    out[index] = 'excluded.'
    out[index + 1] = out[partner[index + 1] as number] = ''
  }
  // Without a WHERE, SQLite would read ON as the condition of a join.
  const select = findWord(draft, 0, at, 'SELECT')
  if (select >= 0 && findWord(draft, select, at, 'WHERE', 'GROUP', 'HAVING', 'ORDER', 'LIMIT') < 0)
    out[at - 1] += ' WHERE true'
}

const ONE_TABLE = 'change one table, with the others in a subquery'

function update(draft: Draft, tables: number): void {
  const { tokens, out, depth } = draft
  const verb = findWord(draft, 0, tokens.length, 'UPDATE')
  if (tables > 1) throw unsupported('UPDATE over several tables', ONE_TABLE)
  if (isWord(draft, verb + 1, 'IGNORE')) out[verb + 1] = 'OR IGNORE'
  const set = findWord(draft, verb, tokens.length, 'SET')
  // UPDATE table alias SET …
  if (endsOperand(draft, set - 2) && !isWord(draft, set - 2, 'UPDATE', 'IGNORE', 'AS') && tokens[set - 2]?.text !== '.')
    out[set - 1] = `AS ${out[set - 1]}`
  const tail = findWord(draft, set, tokens.length, 'WHERE', 'ORDER', 'LIMIT')
  for (let at = set; at < (tail < 0 ? tokens.length : tail); at++) {
    const begins = at === set || (depth[at] === depth[set] && tokens[at]?.text === ',')
    // The column to set takes no table's name before it.
    for (let point = at + 2; begins && tokens[point]?.text === '.'; point += 2) out[point] = out[point - 1] = ''
  }
}

function remove(draft: Draft): void {
  const { tokens, out } = draft
  const verb = findWord(draft, 0, tokens.length, 'DELETE')
  const ignore = isWord(draft, verb + 1, 'IGNORE')
  if (ignore) out[verb + 1] = ''
  const from = findWord(draft, verb, tokens.length, 'FROM')
  if (from !== verb + (ignore ? 2 : 1) || findWord(draft, from, tokens.length, 'JOIN', 'USING') >= 0)
    throw unsupported('DELETE over several tables', ONE_TABLE)
}

const CLAUSES = ['FROM', 'WHERE', 'UNION', 'EXCEPT', 'INTERSECT', 'GROUP', 'HAVING', 'WINDOW', 'ORDER', 'LIMIT']

/** Columns without an alias are named by what the statement says, not by what became of it. */
function nameColumns(draft: Draft): void {
  const { tokens, depth } = draft
  const select = findWord(draft, 0, tokens.length, 'SELECT')
  if (select < 0) return
  const clause = findWord(draft, select, tokens.length, ...CLAUSES)
  const end = clause < 0 ? tokens.length : clause
  let first = isWord(draft, select + 1, 'DISTINCT', 'ALL') ? select + 2 : select + 1
  for (let at = first; at <= end; at++) {
    if (at < end && (tokens[at]?.text !== ',' || depth[at] !== depth[select])) continue
    nameColumn(draft, first, at - 1)
    first = at + 1
  }
}

function nameColumn(draft: Draft, first: number, last: number): void {
  const { tokens, out, sql } = draft
  const column = tokens.slice(first, last + 1)
  const untouched = column.every(({ start, end }, index) => out[first + index] === sql.slice(start, end))
  const plain = column.every(({ kind, text }) => kind === 'word' || kind === 'name' || text === '.' || text === '*')
  if (untouched || (plain && column.length !== 1) || hasAlias(draft, first, last)) return
  const said =
    column.length === 1 && column[0]?.kind === 'string'
      ? column[0].value
      : sql.slice(column[0]?.start, column.at(-1)?.end)
  out[last] += ` AS \`${said.replaceAll('`', '``')}\``
}

function hasAlias(draft: Draft, first: number, last: number): boolean {
  const { tokens, spans } = draft
  if (first === last || tokens[last - 1]?.text === '.' || spans.has(last) || isWord(draft, last, 'END')) return false
  if (!/^(word|name|string)$/.test(tokens[last]?.kind ?? '')) return false
  return isWord(draft, last - 1, 'AS') || endsOperand(draft, last - 1)
}
