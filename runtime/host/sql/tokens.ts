import { RuntimeError } from '../../errors.ts'

/**
 * A piece of a statement. `word`: a keyword or a bare name; `name`: in backticks; `string`: its text is in `value`;
 * `number`: hexadecimal and bit literals too; `variable`: `@x` or `@@x`; `param`: `?`; `symbol`: everything else.
 */
export interface Token {
  kind: 'word' | 'name' | 'string' | 'number' | 'variable' | 'param' | 'symbol'
  /** As it stands in the statement; words in capitals, so that keywords compare. */
  text: string
  /** What a string says, or a name without its backticks. */
  value: string
  /** Where it stands: offsets in UTF-16 units, `end` exclusive. */
  start: number
  end: number
}

// MySQL's blanks are ASCII only: a full-width space is a letter to the server, and so it must be here.
const GAP = /(?:[ \t\n\v\f\r]+|#[^\n]*|--(?=[ \t\n\v\f\r]|$)[^\n]*|\/\*(?![!+]|M!).*?\*\/)+/sy
const WORD = /[A-Za-z0-9_$\u0080-\uffff]+/y
const NUMBER =
  /(?:0x[0-9a-f]+|x'[0-9a-f]*'|0b[01]+|b'[01]*'|(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?)(?![a-z0-9_$\u0080-\uffff])/iy
const STRING = /'[^'\\]*(?:(?:''|\\.)[^'\\]*)*'|"[^"\\]*(?:(?:""|\\.)[^"\\]*)*"/sy
const NAME = /`(?:[^`]|``)+`/y
const VARIABLE = /@@?[A-Za-z0-9_.$\u0080-\uffff]+/y
const SYMBOL = /<=>|->>|->|<=|>=|<>|!=|:=|\|\||&&|<<|>>|[-+*/%=<>!~^|&(),.;:]/y

const ESCAPES: Record<string, string> = { 0: '\0', b: '\b', n: '\n', r: '\r', t: '\t', Z: '\x1a' }

/**
 * Splits a MySQL statement as the server does with its default quoting (backslash escapes, `"` quotes a string).
 * Comments vanish. Throws DB_DENIED for comments that the server would execute and for text that has no end.
 */
export function tokenize(sql: string): Token[] {
  const tokens: Token[] = []
  let at = 0
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at
    return pattern.exec(sql)?.[0]
  }
  const kinds = [
    ['string', STRING],
    ['number', NUMBER],
    ['word', WORD],
    ['name', NAME],
    ['variable', VARIABLE],
    ['param', /\?/y],
    ['symbol', SYMBOL]
  ] as const
  while (at < sql.length) {
    at += take(GAP)?.length ?? 0
    if (at === sql.length) break
    if (sql.startsWith('/*', at)) throw unreadable(sql, at)
    // In `t.1` the point belongs to the name before it, not to a number.
    const after = tokens.at(-1)
    const named = sql[at] === '.' && after?.end === at && (after.kind === 'word' || after.kind === 'name')
    const found = kinds.find(([kind, pattern]) => !(named && kind === 'number') && take(pattern))
    if (!found) throw unreadable(sql, at)
    const text = take(found[1]) as string
    tokens.push(token(found[0], text, at))
    at += text.length
  }
  return tokens
}

function token(kind: Token['kind'], text: string, start: number): Token {
  const end = start + text.length
  if (kind === 'word') return { kind, text: text.toUpperCase(), value: text, start, end }
  if (kind === 'name') return { kind, text, value: text.slice(1, -1).replaceAll('``', '`'), start, end }
  if (kind === 'string') return { kind, text, value: unquote(text), start, end }
  return { kind, text, value: text, start, end }
}

function unquote(text: string): string {
  const quote = text[0] as string
  const inner = text.slice(1, -1)
  if (!inner.includes('\\') && !inner.includes(quote)) return inner
  // `\%` and `\_` stay as they are: they mean something to LIKE.
  return inner.replace(/\\(.)|(['"])\2/gs, (pair, escaped: string | undefined, doubled: string | undefined) => {
    if (doubled) return doubled === quote ? doubled : pair
    return escaped === '%' || escaped === '_' ? pair : (ESCAPES[escaped as string] ?? (escaped as string))
  })
}

function unreadable(sql: string, at: number): RuntimeError {
  const where = `at ${position(sql, at)}`
  if (/^\/\*(!|M!)/.test(sql.slice(at, at + 4)))
    return new RuntimeError('DB_DENIED', `The server would execute the comment ${where}: write it as plain SQL`)
  if (sql.startsWith('/*+', at))
    return new RuntimeError('DB_DENIED', `Optimizer hints like the one ${where} are not allowed: leave it out`)
  if (/['"`]|\/\*/.test(sql.slice(at, at + 2)))
    return new RuntimeError('DB_DENIED', `The statement has a quote or comment ${where} that never ends`)
  return new RuntimeError('DB_DENIED', `The statement has ${JSON.stringify(sql[at])} ${where}, which is no SQL`)
}

/** An offset in words: "line l column c", both counted from 1. */
export function position(text: string, offset: number): string {
  const before = text.slice(0, offset).split('\n')
  return `line ${before.length} column ${(before.at(-1) as string).length + 1}`
}

/** Whether this token is the name of a function that is called: quoted or not, the server takes both. */
export const isCalled = (tokens: readonly Token[], index: number): boolean =>
  /^(word|name)$/.test(tokens[index]?.kind ?? '') && tokens[index + 1]?.text === '(' && tokens[index - 1]?.text !== '.'
