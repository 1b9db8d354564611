import { RuntimeError } from '../../errors.ts'
import type { Statement } from '../sql/statement.ts'
import type { Token } from '../sql/tokens.ts'

/** A statement on its way from MySQL's dialect to SQLite's: for each token, the text that it has become. */
export interface Draft {
  readonly sql: string
  readonly tokens: readonly Token[]
  /** What each token is written as; '' leaves it out. */
  readonly out: string[]
  /** For a parenthesis, the index of the one that it belongs to. */
  readonly partner: readonly number[]
  /** How many parentheses are open around each token. */
  readonly depth: readonly number[]
  /** Where an expression begins whose last token this is, beyond what `operandStart` sees by itself. */
  readonly spans: Map<number, number>
}

/** A draft that still says what the statement says. */
export function draftOf({ sql, tokens }: Statement): Draft {
  const partner: number[] = []
  const depth: number[] = []
  const open: number[] = []
  tokens.forEach(({ text }, index) => {
    if (text === ')') {
      const start = open.pop() ?? index
      partner[start] = index
      partner[index] = start
    }
    depth.push(open.length)
    if (text === '(') open.push(index)
  })
  return { sql, tokens, out: tokens.map(({ start, end }) => sql.slice(start, end)), partner, depth, spans: new Map() }
}

/** The draft's text, with a blank wherever the statement has one. */
export function textOf({ tokens, out }: Draft): string {
  let text = ''
  tokens.forEach((token, index) => {
    if ((tokens[index - 1]?.end ?? 0) < token.start && text !== '') text += ' '
    text += out[index]
  })
  return text
}

/** Whether the token at `at` is this bare word (in capitals). A name after a point never is. */
export const isWord = ({ tokens }: Draft, at: number, ...words: string[]): boolean => {
  const token = tokens[at]
  return token?.kind === 'word' && words.includes(token.text) && tokens[at - 1]?.text !== '.'
}

/** Index of the first of these words from `from` up to `to` (exclusive) with as many parentheses around it; or -1. */
export function findWord(draft: Draft, from: number, to: number, ...words: string[]): number {
  const level = draft.depth[from]
  for (let at = from; at < to; at++) if (draft.depth[at] === level && isWord(draft, at, ...words)) return at
  return -1
}

/** Words that stand between operands or before them, so that neither a call nor an operand ends in one. */
const NO_OPERAND = new Set(
  `ALL AND ANY AS ASC BETWEEN BINARY BY CASE COLLATE DESC DISTINCT DIV ELSE ESCAPE EXISTS FROM GROUP HAVING IN INTERVAL
   INTO IS JOIN LIKE LIMIT MOD NOT OFFSET ON OR ORDER OVER REGEXP RLIKE SELECT SEPARATOR SET THEN UNION USING WHEN WHERE
   XOR`.split(/\s+/)
)

/** Whether an operand may end with the token at `at`. */
export function endsOperand({ tokens }: Draft, at: number): boolean {
  const token = tokens[at]
  if (!token || token.kind === 'symbol') return token?.text === ')'
  return token.kind !== 'word' || tokens[at - 1]?.text === '.' || !NO_OPERAND.has(token.text)
}

/** Index of the first token of the operand (a name, a literal, a call, a pair of parentheses) that ends at `end`. */
export function operandStart(draft: Draft, end: number): number {
  const { tokens, partner, spans } = draft
  const known = spans.get(end)
  if (known !== undefined) return known
  let at = end
  if (tokens[at]?.text === ')') {
    at = partner[at] as number
    const named = tokens[at - 1]
    if (named && named.kind !== 'symbol' && endsOperand(draft, at - 1)) at--
  }
  while (tokens[at]?.kind === 'string' && tokens[at - 1]?.kind === 'string') at--
  while (tokens[at - 1]?.text === '.') at -= 2
  return at
}

/** Index of the last token of the operand that begins at `start`, signs included. */
export function operandEnd(draft: Draft, start: number): number {
  const { tokens, partner } = draft
  let at = start
  while (/^[-+~!]$/.test(tokens[at]?.text ?? '')) at++
  while (tokens[at]?.kind === 'string' && tokens[at + 1]?.kind === 'string') at++
  while (tokens[at + 1]?.text === '.') at += 2
  if (tokens[at]?.text !== '(' && tokens[at + 1]?.text === '(') at++
  return tokens[at]?.text === '(' ? (partner[at] as number) : at
}

/** What the embedded engine says to something that only MySQL can do. */
export const unsupported = (what: string, remedy: string): RuntimeError =>
  new RuntimeError('DB_ERROR', `The embedded database (SQLite) does not know ${what}: ${remedy}`)
