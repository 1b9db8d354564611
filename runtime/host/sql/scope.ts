import { RuntimeError } from '../../errors.ts'
import { isPlain } from './fence.ts'
import { FUNCTIONS } from './functions.ts'
import type { Coded } from './render.ts'
import { quoted, type TableRule, type Tables } from './tables.ts'

/** A node of the parse tree, as far as it is looked at. */
export interface Node {
  [key: string]: unknown
  type?: string
  table?: string | null
  as?: string | null
  from?: Node[] | Node | null
  columns?: unknown
}

/** A table in a FROM whose rows a statement changes or locks: it stays a table, with a condition on its rows. */
export interface Target {
  /** The name that the statement calls it by. */
  alias: string
  rule: TableRule
}

/** What rewriting a statement needs. */
export interface Scope {
  coded: Coded
  tables: Tables
  /** Names, in lower case, that WITH has given to queries. */
  queries: Set<string>
  /** What the columns of each SELECT, in the order of the text, are called where they have no alias. */
  titles: string[][]
  /** The tables of the queries around the place that is looked at, the outermost first. */
  frames: Frame[]
  /** Whether a table's rows are gathered before anything is asked of them; see fence.ts. */
  gathered: boolean
  seen: Set<unknown>
}

/** The tables of one FROM; `partial`: an outer join may stand NULL for their rows. */
interface Frame {
  targets: Target[]
  /** Where those begin that an ON can name: a comma ends a list of joins. */
  joined: number
  partial: boolean
}

export const denied = (message: string): RuntimeError => new RuntimeError('DB_DENIED', message)

const PLACE = 'config/tables.json'

/** The kinds of nodes that are understood; a table can only stand in the FROM of a `select`. */
const KNOWN = new Set(
  `select column_ref number string single_quote_string double_quote_string null bool param origin function aggr_func
   binary_expr unary_expr expr_list case when else interval window extract date time datetime timestamp star default
   backticks_quote_string dual values ASC DESC collate fulltext_search ESCAPE limit`.split(/\s+/)
)

/** The table of this name that the statement may use. Throws DB_DENIED for one that no merchant may see. */
export function ruleOf({ coded, tables }: Scope, node: Node): TableRule {
  const name = coded.nameOf(String(node.table))
  if (node.db || node.schema || node.catalog || node.server)
    throw denied(`${name} is named with its schema: a merchant’s statement names tables of the shop alone`)
  const rule = tables.get(name.toLowerCase())
  if (rule) return rule
  throw denied(`The table ${name} is not open to merchants: ${PLACE} declares those that are, and whose rows they hold`)
}

const isQuery = ({ coded, queries }: Scope, node: Node): boolean =>
  !node.db && queries.has(coded.nameOf(String(node.table)).toLowerCase())

/** The condition that a row of the target is the merchant's, as a node. */
export const ownership = ({ coded }: Scope, { alias, rule }: Target): Node | null =>
  rule.owns && { type: 'column_ref', table: null, column: coded.put(`(${rule.owns(aliasAsSql(coded, alias))})`) }

const aliasAsSql = (coded: Coded, alias: string): string => quoted(coded.nameOf(alias))

/** Keeps every SELECT in the tree to the merchant's rows. Throws DB_DENIED for what is not understood. */
export function visit(scope: Scope, value: unknown): void {
  if (Array.isArray(value)) for (const item of value) visit(scope, item)
  else if (typeof value === 'object' && value !== null && !scope.seen.has(value)) {
    scope.seen.add(value)
    visitNode(scope, value as Node)
  }
}

function visitNode(scope: Scope, node: Node): void {
  if (node.type && !KNOWN.has(node.type)) throw denied(`${node.type} is not open to merchants: say it in a simpler way`)
  if (node.type === 'function' || node.type === 'aggr_func') checkFunction(node)
  if (node.type === 'column_ref' && (node.db || node.schema))
    throw denied('A column is named with its schema: a merchant’s statement names tables of the shop alone')
  if (node.ast) visitWrapped(scope, node)
  else if (node.type === 'select') visitQuery(scope, node, null)
  else for (const child of Object.values(node)) visit(scope, child)
}

/** A query inside an expression: its members stand twice in the tree. */
function visitWrapped(scope: Scope, node: Node): void {
  const query = node.ast as Node
  visit(scope, query)
  for (const key of Object.keys(query)) if (key in node && key !== 'type') node[key] = query[key]
}

function checkFunction(node: Node): void {
  const { name } = node as { name: string | { name: { value: string }[]; schema?: unknown } }
  const said = typeof name === 'string' ? name : name.name.map(({ value }) => value).join('.')
  if (typeof name === 'object' && name.schema) throw denied(`The function ${said} is named with its schema`)
  if (said.startsWith('sandhook_c') || FUNCTIONS.has(said.toUpperCase())) return
  throw denied(`The function ${said} is not open to merchants`)
}

/**
 * One SELECT with what it is joined to by UNION. Its tables become queries of the merchant's rows; where it locks them
 * they stay tables, and `conditions` gets what keeps them to those rows.
 */
export function visitQuery(scope: Scope, node: Node, conditions: Node[] | null): void {
  if (node.with) throw denied('WITH stands at the beginning of a merchant’s statement only')
  const into = node.into as { keyword?: unknown; expr?: unknown } | undefined
  if (into?.keyword || into?.expr) throw denied('SELECT … INTO is not allowed')
  titleColumns(scope, node)
  scope.frames.push(frameOf(node.from))
  for (const [key, child] of ordered(node)) {
    if (key === '_next' && child) scope.frames.pop()
    if (key !== 'from') visit(scope, child)
    else if (conditions && node.from) visitTargets(scope, node.from, conditions)
    else visitFrom(scope, node.from)
    if (key === 'where') node.where = fenced(scope, child as Node | null)
  }
  if (!node._next) scope.frames.pop()
}

/** An empty frame for the tables of this FROM. */
export const frameOf = (from: unknown): Frame => ({
  targets: [],
  joined: 0,
  partial: /"join":"(LEFT|RIGHT|FULL)/.test(JSON.stringify(from ?? null))
})

/** A condition (`place`: of a WHERE, or of a join) that is tried only on rows that are the merchant's, if not plain. */
export function fenced(scope: Scope, node: Node | null, place: 'where' | 'on' = 'where'): Node | null {
  if (!node || isPlain(node)) return node
  if (node.type === 'binary_expr' && node.operator === 'AND') {
    node.left = fenced(scope, node.left as Node, place)
    node.right = fenced(scope, node.right as Node, place)
    return node
  }
  const inner = scope.frames.at(-1)
  const guards = scope.frames.flatMap(frame =>
    frame.targets.slice(place === 'on' && frame === inner ? frame.joined : 0).flatMap(({ alias, rule }) => {
      const { partial } = frame
      const name = aliasAsSql(scope.coded, alias)
      const absent = partial && rule.key ? `${name}.${quoted(rule.key)} IS NULL OR ` : ''
      return rule.owns ? [`(${absent}${rule.owns(name)})`] : []
    })
  )
  if (guards.length === 0) return node
  const cond = { type: 'column_ref', table: null, column: scope.coded.put(guards.join(' AND ')) }
  return { type: 'case', expr: null, args: [{ type: 'when', cond, result: group(node) }] }
}

/** The members of a SELECT in the order of the text, in which its queries are counted. */
const ORDER = ['options', 'columns', 'from', 'where', 'groupby', 'having', 'window', 'orderby', 'limit', '_next']
const ordered = (node: Node): [string, unknown][] => Object.entries(node).sort(([a], [b]) => rank(a) - rank(b))
const rank = (key: string): number => (ORDER.includes(key) ? ORDER.indexOf(key) : ORDER.length)

function visitFrom(scope: Scope, from: Node['from']): void {
  if (from) for (const item of Array.isArray(from) ? from : joined(from)) visitItem(scope, item)
}

/** `FROM (a JOIN b)`: the list inside. */
function joined(node: Node): Node[] {
  if (Array.isArray(node.expr)) return node.expr as Node[]
  throw denied('This FROM is not open to merchants: say it in a simpler way')
}

const ITEM = new Set(['db', 'table', 'as', 'join', 'on', 'using', 'expr', 'parentheses', 'prefix', 'type', 'loc'])

function visitItem(scope: Scope, item: Node): void {
  scope.seen.add(item)
  for (const [key, value] of Object.entries(item))
    if (value !== null && value !== undefined && !ITEM.has(key))
      throw denied(`${key} of a table is not open to merchants`)
  if (item.type === 'dual') return
  beginJoins(scope, item)
  if (Array.isArray(item.expr)) visitFrom(scope, item.expr as Node[])
  else if (item.expr) visit(scope, item.expr)
  else if (!isQuery(scope, item)) asQuery(scope, item)
  visit(scope, item.on)
  item.on = fenced(scope, item.on as Node | null, 'on')
}

function beginJoins({ frames }: Scope, item: Node): void {
  const frame = frames.at(-1)
  if (frame && !item.join) frame.joined = frame.targets.length
}

/** Makes a table a query of its rows that are the merchant's. */
function asQuery(scope: Scope, item: Node): void {
  const rule = ruleOf(scope, item)
  item.as ??= item.table ?? null
  scope.frames.at(-1)?.targets.push({ alias: String(item.as), rule })
  const name = quoted(rule.name)
  // With a LIMIT no server takes such a query apart.
  const end = scope.gathered ? ' LIMIT 9223372036854775807' : ''
  const mine = rule.owns && `(SELECT sandhook_0.* FROM ${name} AS sandhook_0 WHERE ${rule.owns('sandhook_0')}${end})`
  item.table = scope.coded.put(mine ?? name)
}

/** Queries of WITH, each of which sees those before it, and itself when the WITH is RECURSIVE. */
export function visitWith(scope: Scope, list: unknown): void {
  for (const item of (list ?? []) as { name: { value: string }; stmt: Node; recursive?: boolean }[]) {
    const name = scope.coded.nameOf(item.name.value).toLowerCase()
    if (scope.tables.has(name)) throw denied(`WITH may not give a query the name of the table ${name}`)
    const recursive = (list as { recursive?: boolean }[])[0]?.recursive
    if (recursive) scope.queries.add(name)
    visit(scope, item.stmt)
    scope.queries.add(name)
  }
}

/** Gives columns without an alias the name that they would have had: what is written for them is another text. */
function titleColumns(scope: Scope, node: Node): void {
  const titles = scope.titles.shift()
  const { columns } = node
  if (!Array.isArray(columns) || !titles || titles.length !== columns.length)
    throw denied('The columns of this SELECT are not understood: say it in a simpler way')
  columns.forEach((column: Node, index) => {
    const title = titles[index]
    if (title && !column.as && (column.expr as Node | undefined)?.type !== 'column_ref')
      column.as = scope.coded.put(quoted(title))
  })
}

/**
 * The tables of a FROM whose rows are changed or locked, left where they are. `conditions` gets what keeps them to the
 * merchant's rows; for the right side of a LEFT JOIN that is part of its ON. Other queries in the FROM are kept to them.
 */
export function visitTargets(scope: Scope, from: Node['from'], conditions: Node[]): Target[] {
  if (!Array.isArray(from)) throw denied('These joined tables are not open to merchants: leave out the parentheses')
  const targets: Target[] = []
  for (const item of from) {
    const join = String(item.join ?? 'INNER JOIN')
    if (item.expr || isQuery(scope, item) || item.type === 'dual') {
      visitItem(scope, item)
      continue
    }
    if (!/^(INNER JOIN|CROSS JOIN|LEFT JOIN)$/.test(join) || (join === 'LEFT JOIN' && !item.on))
      throw denied(`${join} is not open to merchants where rows are changed or locked: use JOIN or LEFT JOIN … ON`)
    const rule = ruleOf(scope, item)
    const target = { alias: String(item.as ?? item.table), rule }
    if (rule.name !== item.table) item.as ??= item.table ?? null
    item.table = scope.coded.put(quoted(rule.name))
    scope.seen.add(item)
    visit(scope, item.on)
    beginJoins(scope, item)
    scope.frames.at(-1)?.targets.push(target)
    item.on = fenced(scope, item.on as Node | null, 'on')
    const condition = ownership(scope, target)
    if (condition && join === 'LEFT JOIN') item.on = both(condition, item.on)
    else if (condition) conditions.push(condition)
    targets.push(target)
  }
  return targets
}

/** `condition AND (rest)`, the condition first: whether a row is the merchant's is asked before anything else of it. */
export const both = (condition: Node, rest: unknown): Node =>
  rest ? { type: 'binary_expr', operator: 'AND', left: condition, right: group(rest) } : condition

const group = (expression: unknown): Node => ({
  type: 'function',
  name: { name: [{ type: 'default', value: 'sandhook_q' }] },
  args: { type: 'expr_list', value: [expression] }
})
