import { LRUCache } from 'lru-cache'
import type { AST } from 'node-sql-parser/build/mysql.js'
import { RuntimeError } from '../../errors.ts'
import { parseTree } from './parser.ts'
import { isCalled, type Token, tokenize } from './tokens.ts'

/** One SQL statement that a script may run, in MySQL's dialect, understood as far as the runtime needs to. */
export interface Statement {
  /** The text as the script gave it: what a MySQL server runs, parameters apart. */
  readonly sql: string
  readonly kind: 'read' | 'write'
  readonly verb: 'select' | 'insert' | 'update' | 'delete' | 'replace'
  /** Takes row locks (`FOR UPDATE`, `LOCK IN SHARE MODE`), which last only as long as a transaction. */
  readonly locks: boolean
  /** Uses what belongs to a connection (`@variables`, named locks): the connection must be cleared afterwards. */
  readonly session: boolean
  /** How many `?` it has. */
  readonly placeholders: number
  /** The statement without comments, locking clauses, index hints and priorities: what SQLite's text is made from. */
  readonly tokens: readonly Token[]
  /** The parse tree: names every table and column that the statement touches. See `parseTree` for what it omits. */
  readonly ast: AST
}

/** Length of a statement, in UTF-16 units: reading one takes about a millisecond per thousand. */
const LONGEST = 64_000
const DEEPEST = 64
const DEEPEST_QUERY = 6

const VERBS = ['select', 'insert', 'update', 'delete', 'replace'] as const
const STARTS = new Set(['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'REPLACE', 'WITH'])
/** Functions that reach the server's files, or spend its time where no limit sees it. */
const FORBIDDEN = new Set(['LOAD_FILE', 'BENCHMARK'])
const SESSION = new Set(['GET_LOCK', 'RELEASE_LOCK', 'RELEASE_ALL_LOCKS', 'LAST_INSERT_ID', 'FOUND_ROWS', 'ROW_COUNT'])

const cache = new LRUCache<string, Statement>({
  max: 1_000,
  maxSize: 1_000_000,
  sizeCalculation: ({ sql }) => sql.length + 1
})

/**
 * Reads a statement (MySQL's dialect), from a cache when it has been read before. Throws DB_DENIED unless it is exactly
 * one SELECT, INSERT, UPDATE, DELETE or REPLACE (WITH … included) that is understood; see `parser.ts` for what is not.
 */
export function parseStatement(sql: string): Statement {
  const known = cache.get(sql)
  if (known) return known
  const statement = read(sql)
  cache.set(sql, statement)
  return statement
}

function read(sql: string): Statement {
  if (sql.length > LONGEST)
    throw denied(`The statement is longer than ${LONGEST} characters: pass values as parameters`)
  const all = tokenize(sql)
  while (all.at(-1)?.text === ';') all.pop()
  admit(all)
  const { tokens, locks } = withoutHints(all)
  const ast = parseTree(
    sql,
    tokens.filter(({ text }, index) => text !== 'IGNORE' || tokens[index - 1]?.text === '.')
  )
  const verb = VERBS.find(name => name === ast.type)
  if (!verb) throw denied(`${ast.type.toUpperCase()} is not allowed: ${ALLOWED}`)
  return {
    sql,
    kind: verb === 'select' ? 'read' : 'write',
    verb,
    locks,
    session: tokens.some(
      (token, index) => token.kind === 'variable' || (isCalled(tokens, index) && SESSION.has(token.value.toUpperCase()))
    ),
    placeholders: tokens.filter(token => token.kind === 'param').length,
    tokens,
    ast
  }
}

const ALLOWED = 'a script may SELECT, INSERT, UPDATE, DELETE and REPLACE'

const denied = (message: string): RuntimeError => new RuntimeError('DB_DENIED', message)

/** Refuses by the tokens alone, before any parser may be misled, what a script may never do. */
function admit(tokens: Token[]): void {
  const first = tokens.find(({ text }) => text !== '(')
  if (!first) throw denied('The statement is empty')
  if (!STARTS.has(first.text)) throw denied(`${first.text} is not allowed: ${ALLOWED}`)
  const depth = { all: 0, query: [] as boolean[] }
  tokens.forEach((token, index) => {
    const { kind, text } = token
    const before = tokens[index - 1]
    if (text === ';') throw denied('A call runs exactly one statement: split the text into several calls')
    // Without a blank after it, `--` is two minus signs to the server and a comment to others.
    if (text === '-' && before?.text === '-' && before.end === token.start)
      throw denied('“--” needs a blank after it to start a comment, and one inside it to be two minus signs')
    if (kind === 'word' && text === 'INTO' && before?.text !== '.' && !opensInsert(tokens, index))
      throw denied('SELECT … INTO is not allowed: read the rows and use them in the script')
    const called = isCalled(tokens, index) ? token.value.toUpperCase() : ''
    if (FORBIDDEN.has(called)) throw denied(`The function ${called} is not allowed`)
    if (text === ')') depth.query.pop()
    if (text === '(') depth.query.push(/^(SELECT|WITH)$/.test(tokens[index + 1]?.text ?? ''))
    if (depth.query.length > DEEPEST || depth.query.filter(Boolean).length > DEEPEST_QUERY)
      throw denied('The statement is nested too deeply: split it into several')
  })
}

const PRIORITIES = new Set(['LOW_PRIORITY', 'HIGH_PRIORITY', 'DELAYED', 'QUICK'])

function opensInsert(tokens: Token[], index: number): boolean {
  let at = index - 1
  while (PRIORITIES.has(tokens[at]?.text ?? '') || tokens[at]?.text === 'IGNORE') at--
  return tokens[at]?.text === 'INSERT' || tokens[at]?.text === 'REPLACE'
}

/** Leaves out what says how to run a statement, not what it does; `locks`: whether locking clauses were among it. */
function withoutHints(all: Token[]): { tokens: Token[]; locks: boolean } {
  const tokens: Token[] = []
  let locks = false
  for (let at = 0; at < all.length; ) {
    const token = all[at] as Token
    const lock = token.kind === 'word' ? lockingClause(all, at) : 0
    const skipped = lock || (token.kind === 'word' && all[at - 1]?.text !== '.' ? hint(all, at) : 0)
    if (lock) locks = true
    if (!skipped) tokens.push(token)
    at += skipped || 1
  }
  return { tokens, locks }
}

const says = (tokens: Token[], at: number, ...words: string[]): boolean =>
  words.every((word, index) => tokens[at + index]?.kind === 'word' && tokens[at + index]?.text === word)

/** How many tokens from `at` on are `FOR UPDATE …`, `FOR SHARE …` or `LOCK IN SHARE MODE …`. */
export function lockingClause(tokens: Token[], at: number): number {
  const inShareMode = says(tokens, at, 'LOCK', 'IN', 'SHARE', 'MODE')
  if (!inShareMode && !says(tokens, at, 'FOR', 'UPDATE') && !says(tokens, at, 'FOR', 'SHARE')) return 0
  let end = at + (inShareMode ? 4 : 2)
  if (says(tokens, end, 'OF')) for (end += 2; tokens[end]?.text === ','; ) end += 2
  if (says(tokens, end, 'NOWAIT')) end += 1
  else if (says(tokens, end, 'SKIP', 'LOCKED') || says(tokens, end, 'WAIT')) end += 2
  return end - at
}

/** How many tokens from `at` on are an index hint or a priority. */
function hint(tokens: Token[], at: number): number {
  const { text } = tokens[at] as Token
  const before = tokens[at - 1]?.text ?? ''
  if (PRIORITIES.has(text)) return /^(INSERT|REPLACE|UPDATE|DELETE|SELECT)$/.test(before) ? 1 : 0
  if (text === 'STRAIGHT_JOIN') return /^(SELECT|DISTINCT|ALL|SQL_\w+)$/.test(before) ? 1 : 0
  const index = tokens[at + 1]?.text
  if (!/^(USE|FORCE|IGNORE)$/.test(text) || (index !== 'INDEX' && index !== 'KEY')) return 0
  let end = at + 2
  while (end < tokens.length && tokens[end]?.text !== '(') end++
  while (end < tokens.length && tokens[end]?.text !== ')') end++
  return end - at + 1
}
