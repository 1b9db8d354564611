import { needsGathering } from './fence.ts'
import { writeInsert } from './insert.ts'
import { MARKS, readCoded } from './render.ts'
import {
  both,
  denied,
  fenced,
  frameOf,
  type Node,
  type Scope,
  type Target,
  visit,
  visitQuery,
  visitTargets,
  visitWith
} from './scope.ts'
import { lockingClause, type Statement } from './statement.ts'
import type { TableRule, Tables } from './tables.ts'
import { titlesOf } from './titles.ts'
import { type Token, tokenize } from './tokens.ts'

/** A constant in a statement: a literal's text, or the number of a parameter. */
export type Constant = { literal: string } | { param: number }

/** A merchant's statement kept to the merchant's own rows. */
export interface MerchantText {
  /** What runs instead. */
  sql: string
  /** For each `?` of it, the number of the script's own; -1: the merchant's id. */
  plan: number[]
  /** Values that must be the merchant's id. */
  own: Constant[]
  /** Values that must lead to a row of the merchant's, as `known` of a rule says. */
  linked: { known: string; table: string; column: string; value: Constant }[]
  /** Whether the id that it answers may be another merchant's row's. */
  hidesId: boolean
}

/**
 * Rewrites a statement so that it sees and changes the merchant's rows only, and nothing of undeclared tables. It is
 * written again from the parse tree, so what runs is what was understood. Throws DB_DENIED for what cannot be kept so.
 */
export function keepToMerchant(statement: Statement, tables: Tables): MerchantText {
  const { sql } = statement
  if (MARKS.test(sql)) throw denied('The statement has a character between U+E000 and U+E002: pass it in a parameter')
  const { tokens, end } = withoutLock(statement)
  const coded = readCoded(sql, tokens)
  const titles = titlesOf(sql, tokens)
  const tree = coded.ast as unknown as Node
  const names = new Set(
    ((tree.with ?? []) as { name: { value: string } }[]).map(({ name }) => coded.nameOf(name.value).toLowerCase())
  )
  const gathered = needsGathering(tree, names, coded.nameOf)
  const scope: Scope = { coded, tables, queries: new Set(), titles, frames: [], gathered, seen: new Set() }
  const found: Pick<MerchantText, 'own' | 'linked' | 'hidesId'> = { own: [], linked: [], hidesId: false }
  if (tokens[0]?.text === 'WITH') visitWith(scope, tree.with)
  else if (tree.with) throw denied('WITH stands at the beginning of a merchant’s statement only')
  if (tree.type === 'select') writeSelect(scope, tree, end !== '')
  else if (tree.type === 'update') writeUpdate(scope, tree)
  else if (tree.type === 'delete') writeDelete(scope, tree)
  else if (tree.type === 'insert') writeInsert(scope, tree, found)
  else throw denied('REPLACE is not open to merchants: use INSERT … ON DUPLICATE KEY UPDATE')
  return { ...coded.write(end, scope.queries), ...found }
}

/** The tokens without a locking clause at the end, and that clause. Throws DB_DENIED for other hints of how to run. */
function withoutLock({ sql, tokens: kept }: Statement): { tokens: Token[]; end: string } {
  const tokens = tokenize(sql)
  while (tokens.at(-1)?.text === ';') tokens.pop()
  if (kept.length === tokens.length) return { tokens, end: '' }
  const from = kept.length
  const first = tokens[from] as Token
  if (lockingClause(tokens, from) !== tokens.length - from || tokens[from - 1]?.end !== kept[from - 1]?.end)
    throw denied('Hints of how to run a statement are not open to merchants, and FOR UPDATE at its very end only')
  return { tokens: tokens.slice(0, from), end: sql.slice(first.start, tokens.at(-1)?.end) }
}

function writeSelect(scope: Scope, tree: Node, locks: boolean): void {
  if (locks && (tree._next || tree.parentheses_symbol))
    throw denied('A UNION cannot lock rows: lock them in a statement of its own')
  const queries = tree.with
  tree.with = null
  const conditions: Node[] = []
  visitQuery(scope, tree, locks ? conditions : null)
  tree.with = queries
  for (const condition of conditions.reverse()) tree.where = both(condition, tree.where)
}

/** The table of a target that a column belongs to. */
function targetOf(targets: Target[], table: unknown): TableRule {
  const [only] = targets
  if (table === null || table === undefined) {
    if (only && targets.length === 1) return only.rule
    throw denied('Several tables are changed: say of each column which one it belongs to (orders.status = …)')
  }
  const target = targets.find(({ alias }) => alias.toLowerCase() === String(table).toLowerCase())
  if (target) return target.rule
  throw denied('What is changed has to be a table of the statement’s own list')
}

const writable = (rule: TableRule): TableRule => {
  if (rule.writable) return rule
  throw denied(`Merchants may read ${rule.name} and not change it`)
}

/** Whether a merchant may set this column: not what decides whose a row is, and what other tables' rows belong to. */
export function checkSet(scope: Scope, rule: TableRule, name: unknown): void {
  const column = scope.coded.nameOf(String(name))
  const lower = column.toLowerCase()
  const decides = [rule.tenant, rule.link?.column].some(own => own?.toLowerCase() === lower)
  if (!decides && !rule.anchors.has(lower)) return
  throw denied(`${rule.name}.${column} decides whose rows these are: a merchant cannot set it`)
}

function writeUpdate(scope: Scope, tree: Node): void {
  const conditions: Node[] = []
  const single = Array.isArray(tree.table) && (tree.table as unknown[]).length === 1
  scope.frames.push(frameOf(tree.table))
  const targets = visitTargets(scope, tree.table as unknown as Node[], conditions)
  for (const { column, table, value } of tree.set as { column: string; table?: string; value: unknown }[]) {
    checkSet(scope, writable(single && !table ? (targets[0] as Target).rule : targetOf(targets, table)), column)
    visit(scope, value)
  }
  finish(scope, tree, conditions)
}

function writeDelete(scope: Scope, tree: Node): void {
  const conditions: Node[] = []
  const named = tree.table as unknown as (Node & { addition?: boolean })[]
  scope.frames.push(frameOf(tree.from))
  const targets = visitTargets(scope, tree.from, conditions)
  for (const { table, addition } of named) writable(addition ? (targets[0] as Target).rule : targetOf(targets, table))
  finish(scope, tree, conditions)
}

function finish(scope: Scope, tree: Node, conditions: Node[]): void {
  for (const key of ['where', 'orderby', 'limit']) visit(scope, tree[key])
  tree.where = fenced(scope, tree.where as Node | null)
  for (const condition of conditions.reverse()) tree.where = both(condition, tree.where)
}
