import type { AST } from 'node-sql-parser/build/mysql.js'
import { RuntimeError } from '../../errors.ts'
import { astify, sqlify, tablesIn } from './parser.ts'
import { type Token, tokenize } from './tokens.ts'

/**
 * A statement on its way through the parser and back. Literals and quoted names travel as codes (`sandhook_s12`: what
 * token 12 says), so that no text of the script's is ever read by one and written by another: it comes out as it went in.
 */
export interface Coded {
  readonly ast: AST
  /** A name as the script wrote it, for one as the tree has it. */
  nameOf: (name: string) => string
  /** The number of the `?` that this is the code of, from 0; -1: of none. */
  paramOf: (code: string) => number
  /** What the string says that this is the code of; null: it is not that of one plain string. */
  stringOf: (code: string) => string | null
  /** A name for the tree that is written as this SQL, in which OWNER stands for the merchant's id. */
  put: (sql: string) => string
  /**
   * The tree as SQL, and for each `?` of it the number of the script's own; -1: the merchant's id. Throws DB_DENIED when a
   * table is left in it that was neither `put` nor is one of these queries.
   */
  write: (end: string, queries: ReadonlySet<string>) => { sql: string; plan: number[] }
}

/** In the tree: a call that is written as its argument in parentheses. */
export const GROUP = 'sandhook_q'

/** Before the number of the token that is a `?`, and a semicolon. */
const PARAM = '\ue002'
/** Not one of these may be in a merchant's statement. */
export const MARKS = /[\ue000-\ue002]/

/** Unlike Latin letters and their likes, these are never taken for one another, nor for ASCII, by a server. */
const PLAIN = /^[A-Za-z0-9_$ \u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+$/

const denied = (message: string): RuntimeError => new RuntimeError('DB_DENIED', message)

const UNKEPT = 'The statement has something that cannot be kept to one merchant’s rows: say it in a simpler way'

/**
 * Reads a merchant's statement so that it can be changed and written again. Throws DB_DENIED for what the parser does
 * not write as it has read it: then the tree is not what the statement says.
 */
export function readCoded(sql: string, tokens: Token[]): Coded {
  const pieces = new Map<string, string>()
  const text = encode(sql, tokens, pieces)
  const ast = understood(text)
  const params = tokens.filter(({ kind }) => kind === 'param')
  const put = (piece: string): string => {
    const code = `sandhook_x${pieces.size}`
    pieces.set(code, piece)
    return code
  }
  const nameOf = (name: string): string => (name.startsWith('sandhook_') ? (tokenOf(name)?.value ?? name) : name)
  const tokenOf = (code: string): Token | undefined => tokens[Number(/^sandhook_[a-z](\d+)$/.exec(code)?.[1] ?? -1)]
  return {
    ast,
    nameOf,
    paramOf: code => params.indexOf(tokenOf(code) as Token),
    stringOf(code) {
      const token = tokenOf(code)
      const more = tokens[tokens.indexOf(token as Token) + 1]?.kind === 'string'
      return token?.kind === 'string' && !more ? token.value : null
    },
    put,
    write(end, queries) {
      const written = sqlify(ast)
      const safe = (name: string) => /^sandhook_x\d+$/.test(name) || queries.has(nameOf(name).toLowerCase())
      if (!tablesOf(written).every(safe)) throw denied(UNKEPT)
      const plan: number[] = []
      const out = `${decode(written, pieces)} ${end}`.trim().replace(/\ue000|\ue002(\d+);/g, (_, at?: string) => {
        plan.push(at === undefined ? -1 : params.indexOf(tokens[Number(at)] as Token))
        return '?'
      })
      return { sql: out, plan }
    }
  }
}

/** The tree of a text that the parser writes as it has read it. */
function understood(text: string): AST {
  try {
    const ast = astify(text)
    if (spoken(tokenize(sqlify(ast))) === spoken(tokenize(text))) return ast
  } catch (thrown) {
    if (thrown instanceof RuntimeError) throw thrown
  }
  throw denied(UNKEPT)
}

/** An open pair of parentheses: the call that it belongs to, and where the type of a CAST has begun (0: not yet). */
interface Frame {
  at: number
  call: string
  type: number
}

/** The tokens as the parser gets them; `pieces` says what codes stand for. */
function encode(sql: string, tokens: Token[], pieces: Map<string, string>): string {
  const frames: Frame[] = []
  let out = ''
  let last = -1
  for (let at = 0; at < tokens.length; at++) {
    const token = tokens[at] as Token
    if (token.text === ')') {
      const frame = frames.pop()
      if (frame && frame.type > 0) pieces.set(`sandhook_c${frame.at}`, sql.slice(frame.type, token.start))
    }
    const frame = frames.at(-1)
    if (frame?.type === 0 && token.text !== ')' && beginsType(frame.call, token.text)) frame.type = token.start
    if (token.text === '(') frames.push({ at: at - 1, call: callOf(tokens, at - 1), type: frame?.type ? -1 : 0 })
    if (frame?.type) continue
    const { code, end, text } = coded(sql, tokens, at)
    if (code) pieces.set(code, sql.slice(token.start, tokens[end]?.end))
    if (code?.startsWith('sandhook_p')) pieces.set(code, `${PARAM}${at};`)
    const gap = (tokens[last]?.end ?? 0) < token.start || /[\w$]$/.test(out)
    out += (gap && out !== '' ? ' ' : '') + text
    at = last = end
  }
  return out
}

/** How the parser gets the token at `at`, and those up to `end` with it. */
function coded(sql: string, tokens: Token[], at: number): { code?: string; end: number; text: string } {
  const { kind, text, value, start, end } = tokens[at] as Token
  const next = tokens[at + 1]
  if (kind === 'string' || (kind === 'word' && next?.kind === 'string' && /^(N|_\w+)$/.test(text))) {
    let last = at
    while (tokens[last + 1]?.kind === 'string') last++
    return { code: `sandhook_s${at}`, end: last, text: `'sandhook_s${at}'` }
  }
  if (kind === 'number' && !/^\d{1,15}$/.test(text))
    return { code: `sandhook_s${at}`, end: at, text: `'sandhook_s${at}'` }
  if (kind === 'param') return { code: `sandhook_p${at}`, end: at, text: `:sandhook_p${at}` }
  const negated = kind === 'word' && text === 'NOT' && isRegexp(next)
  if (negated || isRegexp(tokens[at])) {
    const last = negated ? at + 1 : at
    return { code: `sandhook_o${at}`, end: last, text: `= :sandhook_o${at} =` }
  }
  if (text === '<=>') return { code: `sandhook_o${at}`, end: at, text: `= :sandhook_o${at} =` }
  if (kind === 'name' || (kind === 'word' && !/^[A-Za-z0-9_$]+$/.test(value))) {
    if (!PLAIN.test(value)) throw denied(`The name ${value} has characters that a merchant’s statement may not have`)
    return { code: `sandhook_n${at}`, end: at, text: `sandhook_n${at}` }
  }
  if (kind === 'word' && text === 'DEFAULT' && next?.text !== '(')
    return { code: `sandhook_w${at}`, end: at, text: `sandhook_w${at}` }
  if (/^(CAST|CONVERT)$/.test(callOf(tokens, at))) return { code: `sandhook_c${at}`, end: at, text: `sandhook_c${at}` }
  const values = kind === 'word' && text === 'VALUE' && next?.text === '(' && tokens[at - 1]?.text !== '.'
  return { end: at, text: values ? 'VALUES' : sql.slice(start, end) }
}

/** The parser does not take all that the server does on its right side. */
const isRegexp = (token: Token | undefined): boolean => token?.kind === 'word' && /^(REGEXP|RLIKE)$/.test(token.text)

const callOf = (tokens: Token[], at: number): string =>
  tokens[at]?.kind === 'word' && tokens[at + 1]?.text === '(' && tokens[at - 1]?.text !== '.'
    ? (tokens[at] as Token).text
    : ''

const beginsType = (call: string, text: string): boolean =>
  (call === 'CAST' && text === 'AS') || (call === 'CONVERT' && (text === ',' || text === 'USING'))

/** The tables of a text that the parser itself has written. */
function tablesOf(text: string): string[] {
  try {
    return tablesIn(text)
  } catch {
    throw denied(UNKEPT)
  }
}

/** What the parser may add or leave out without another meaning. */
const SILENT = new Set(['AS', 'INNER', 'OUTER', 'ASC'])

/** What a statement says, however it is spelled. */
const spoken = (tokens: Token[]): string =>
  tokens
    .filter(({ kind, text }) => kind !== 'word' || !SILENT.has(text))
    .map(({ kind, text, value }) => (kind === 'string' || kind === 'name' ? value.toUpperCase() : text))
    .join(' ')

/** The parser's text with what the codes stand for. */
function decode(text: string, pieces: Map<string, string>): string {
  const tokens = tokenize(text)
  const closing: string[] = []
  let out = ''
  tokens.forEach((token, at) => {
    const { kind, value, start, end } = token
    const coded = /^(word|name|string)$/.test(kind) && value.startsWith('sandhook_')
    const before = tokens[at - 1]
    if ((before?.end ?? 0) < start || coded) out += ' '
    if (token.text === ')') {
      out += `${closing.pop() ?? ''})`
      return
    }
    if (token.text === '(')
      closing.push(before?.value.startsWith('sandhook_c') ? ` ${pieces.get(before.value) ?? ''}` : '')
    if (!coded) {
      const part = text.slice(start, end)
      // The `=` around an operator's code, and the colon before a parameter's, are the code's own.
      const own = (code: Token | undefined, kind: string) => code?.value.startsWith(`sandhook_${kind}`)
      if (part === ':' || (part === '=' && (own(tokens[at + 2], 'o') || own(before, 'o')))) return
      out += part
      return
    }
    if (value === GROUP) return
    const piece = pieces.get(value)
    if (piece === undefined) throw denied(UNKEPT)
    out += value.startsWith('sandhook_c') ? (tokens[at + 1]?.text === '(' ? castName(value, pieces) : '') : piece
  })
  return out
}

/** CONVERT takes `USING` or a comma before its type, CAST takes `AS`. */
const castName = (code: string, pieces: Map<string, string>): string =>
  /^\s*AS\b/i.test(pieces.get(code) ?? '') ? 'CAST' : 'CONVERT'
