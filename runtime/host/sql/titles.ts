import type { Token } from './tokens.ts'

const AFTER = new Set('FROM WHERE UNION EXCEPT INTERSECT GROUP HAVING WINDOW ORDER LIMIT FOR LOCK ON'.split(' '))
const OPTIONS = /^(DISTINCT|ALL|SQL_\w+)$/
/** Longest name of a column, in characters. */
const LONGEST = 64

/** What MySQL calls each column without an alias, for every SELECT in the order of the text: its own text. */
export function titlesOf(sql: string, tokens: readonly Token[]): string[][] {
  const titles: string[][] = []
  tokens.forEach((token, at) => {
    if (token.kind !== 'word' || token.text !== 'SELECT' || tokens[at - 1]?.text === '.') return
    titles.push(itemsFrom(tokens, at + 1).map(item => titleOf(sql, item)))
  })
  return titles
}

function itemsFrom(tokens: readonly Token[], start: number): Token[][] {
  const items: Token[][] = [[]]
  let depth = 0
  let at = start
  while (tokens[at]?.kind === 'word' && OPTIONS.test(tokens[at]?.text ?? '')) at++
  for (; at < tokens.length; at++) {
    const token = tokens[at] as Token
    if (token.text === ')' && depth === 0) break
    if (depth === 0 && token.kind === 'word' && AFTER.has(token.text) && tokens[at - 1]?.text !== '.') break
    if (token.text === '(') depth++
    if (token.text === ')') depth--
    if (token.text === ',' && depth === 0) items.push([])
    else items.at(-1)?.push(token)
  }
  return items
}

function titleOf(sql: string, item: Token[]): string {
  if (item.length === 1 && item[0]?.kind === 'string') return item[0].value
  return [...sql.slice(item[0]?.start, item.at(-1)?.end)].slice(0, LONGEST).join('').trim()
}
