import vm from 'node:vm'
import sqlParser, { type AST } from 'node-sql-parser/build/mysql.js'
import { RuntimeError } from '../../errors.ts'
import { position, type Token } from './tokens.ts'

/** The parser's worst case is exponential; what takes longer than this, in milliseconds, is refused. */
const PATIENCE = 250

const parser = new sqlParser.Parser()
const box = { astify: () => parser.astify(box.text), tableList: () => parser.tableList(box.text), text: '' }
const context = vm.createContext(box)
const scripts = { astify: new vm.Script('astify()'), tableList: new vm.Script('tableList()') }

/** Runs the parser. On a busy machine time passes without it: what ran out of time unused is tried again. */
function patiently(what: keyof typeof scripts, text: string, attempts = 5): unknown {
  box.text = text
  const before = process.threadCpuUsage()
  try {
    return scripts[what].runInContext(context, { timeout: PATIENCE })
  } catch (error) {
    const { user, system } = process.threadCpuUsage(before)
    if (!isTimeout(error) || attempts === 1 || (user + system) / 1000 > PATIENCE / 2) throw error
  } finally {
    box.text = ''
  }
  return patiently(what, text, attempts - 1)
}

const isTimeout = (thrown: unknown): boolean => (thrown as { code?: string }).code === 'ERR_SCRIPT_EXECUTION_TIMEOUT'

/**
 * The parse tree of one statement, for looking at (which tables, which columns), not for running: what the parser
 * does not know is left out or respelled (see `respell`), so that a tree never names fewer tables than the statement.
 * Throws DB_DENIED, naming the place, for text that the parser does not understand.
 */
export function parseTree(sql: string, tokens: Token[]): AST {
  const { text, starts } = respell(sql, tokens)
  try {
    return astify(text)
  } catch (thrown) {
    throw thrown instanceof RuntimeError ? thrown : unparsed(sql, tokens, { starts, length: text.length }, thrown)
  }
}

/** The parse tree of a text as it is. Throws DB_DENIED for several statements, and whatever the parser throws. */
export function astify(text: string): AST {
  const tree = patiently('astify', text) as AST | AST[]
  const trees = Array.isArray(tree) ? tree : [tree]
  if (trees.length === 1) return trees[0] as AST
  throw new RuntimeError('DB_DENIED', 'A call runs exactly one statement: split the text into several calls')
}

/** The names of all tables that a text touches, as the parser itself lists them; a schema's name stands before a point. */
export const tablesIn = (text: string): string[] =>
  (patiently('tableList', text) as string[]).map(entry =>
    entry
      .split('::')
      .slice(1)
      .join('.')
      .replace(/^null\./, '')
  )

/** The text of a parse tree. */
export const sqlify = (tree: AST): string => parser.sqlify(tree)

/** The call whose parentheses are open, and whether its type (of a CAST) has begun. */
interface Frame {
  call: string
  type: boolean
}

/** The tokens as the parser understands them, and where in that text each token begins. */
function respell(sql: string, tokens: Token[]): { text: string; starts: number[] } {
  const frames: Frame[] = []
  const starts: number[] = []
  let text = ''
  tokens.forEach((token, index) => {
    if (token.text === ')') frames.pop()
    const frame = frames.at(-1)
    if (frame && token.text !== ')') frame.type ||= beginsType(frame.call, token.text)
    if ((tokens[index - 1]?.end ?? 0) < token.start) text += ' '
    starts.push(text.length)
    if (!frame?.type) text += separator(frame?.call, token) ?? spelling(token, tokens, index, sql)
    if (token.text === '(') frames.push({ call: tokens[index - 1]?.text ?? '', type: frame?.type ?? false })
  })
  return { text, starts }
}

// Nested CASTs and TRIMs are what the parser is slowest at: it sees plain calls, without the type.
const RENAMED: Record<string, string> = { CAST: 'CAST_', CONVERT: 'CAST_', TRIM: 'TRIM_' }

const beginsType = (call: string, text: string): boolean =>
  (call === 'CAST' && text === 'AS') || (call === 'CONVERT' && (text === ',' || text === 'USING'))

/** Words that stand for a comma, or for nothing, between the arguments of some functions. */
function separator(call: string | undefined, { kind, text }: Token): string | undefined {
  if (kind !== 'word') return undefined
  if (call === 'TRIM' && /^(BOTH|LEADING|TRAILING)$/.test(text)) return ''
  if (call === 'TRIM' && text === 'FROM') return ','
  if ((call === 'SUBSTRING' || call === 'SUBSTR') && (text === 'FROM' || text === 'FOR')) return ','
  return call === 'POSITION' && text === 'IN' ? ',' : undefined
}

/** Without quotes and control characters: a parser that ends a string elsewhere would see another statement. */
const harmless = (value: string): string => value.replace(/[\\'"`\p{Cc}]/gu, '\ufffd')

function spelling(token: Token, tokens: Token[], index: number, sql: string): string {
  const { kind, text, value } = token
  const before = tokens[index - 1]
  if (kind === 'string') return before?.kind === 'string' ? '' : `'${harmless(value)}'`
  if (kind === 'name') return `\`${harmless(value)}\``
  if (kind === 'number') return text.startsWith('.') ? `0${text}` : text
  if (text === '<=>') return '='
  if (kind !== 'word' || before?.text === '.') return sql.slice(token.start, token.end)
  // A string's character set: N'…', _utf8mb4'…'.
  if (tokens[index + 1]?.kind === 'string' && /^(N|_\w+)$/.test(text)) return ''
  if (text === 'DEFAULT' && tokens[index + 1]?.text !== '(') return 'NULL'
  if (text === 'REGEXP' || text === 'RLIKE') return 'LIKE'
  if (text === 'STRAIGHT_JOIN') return 'JOIN'
  if (tokens[index + 1]?.text === '(' && Object.hasOwn(RENAMED, text)) return RENAMED[text] as string
  // The parser knows Latin and Chinese letters only; between backticks it takes any.
  return /[\u0080-\uffff]/.test(value) ? `\`${value}\`` : value
}

function unparsed(
  sql: string,
  tokens: Token[],
  { starts, length }: { starts: number[]; length: number },
  thrown: unknown
): RuntimeError {
  const failure = thrown as { location?: { start: { offset: number } } }
  if (isTimeout(thrown))
    return new RuntimeError('DB_DENIED', 'The statement is nested too deeply to be read: split it into several')
  if (!failure.location) return new RuntimeError('DB_DENIED', 'The statement cannot be read', { cause: thrown })
  const offset = failure.location.start.offset
  const found = starts.findLastIndex(start => start <= offset)
  // The parser stops behind the word that it cannot take; so show that one too.
  const near = offset >= length ? undefined : tokens[Math.max(found - 1, 0)]
  const excerpt = near && sql.slice(near.start, near.start + 40).replace(/\s+/g, ' ')
  const place = near ? `near “${excerpt}”, ${position(sql, near.start)}` : 'at its end: something is missing'
  const remedy = 'Check the spelling, put names that are also keywords in `backticks`, or say it in a simpler way'
  return new RuntimeError('DB_DENIED', `The statement cannot be read ${place}. ${remedy}`)
}
