import type { Node } from './scope.ts'

/**
 * A server may try a condition on a row before it has found out that the row is not the merchant's. Nothing of such a row
 * gets into a result, but a condition that fails for some values, or takes long for them, would tell about it. Plain
 * conditions do neither: columns and constants compared. All others are only tried on rows known to be the merchant's.
 */
const COMPARISONS = new Set(
  'AND|OR|XOR|=|<>|!=|<|>|<=|>=|LIKE|NOT LIKE|IN|NOT IN|BETWEEN|NOT BETWEEN|IS|IS NOT'.split('|')
)
const VALUES = new Set(['column_ref', 'number', 'param', 'null', 'bool', 'single_quote_string', 'date', 'timestamp'])
/** Plain of constants: they never fail, and are computed once. */
const CONSTANT = new Set(
  'NOW CURDATE CURTIME DATE_SUB DATE_ADD UNIX_TIMESTAMP CONCAT CURRENT_TIMESTAMP CURRENT_DATE'.split(' ')
)
const WITH_QUERY = new Set(['EXISTS', 'ANY', 'ALL', 'SOME', 'NOT', 'SANDHOOK_Q'])

const listOf = (value: unknown): Node[] => (Array.isArray(value) ? value : value ? [value as Node] : [])
const member = (node: Node, key: string): Node => node[key] as Node
const nameOf = (node: Node): string => {
  const name = node.name as string | { name: { value: string }[] }
  return (typeof name === 'string' ? name : (name.name[0]?.value ?? '')).toUpperCase()
}

/** Whether trying this condition on a row tells nothing of the row but by its result. */
export function isPlain(node: Node | null | undefined): boolean {
  if (!node) return true
  if (VALUES.has(node.type ?? '')) return true
  if (node.type === 'binary_expr') {
    const [left, right] = [member(node, 'left'), member(node, 'right')]
    if (!COMPARISONS.has(String(node.operator))) return isConstant(node)
    const within = /IN$/.test(String(node.operator)) && right.type === 'expr_list'
    return isOperand(left) && (within ? listOf(right.value).every(isPlainOrQuery) : isOperand(right))
  }
  if (node.type === 'unary_expr') return /^NOT/.test(String(node.operator)) && isPlainOrQuery(member(node, 'expr'))
  if (node.type === 'expr_list') return listOf(node.value).every(isOperand)
  if (node.type === 'function' && WITH_QUERY.has(nameOf(node)))
    return listOf(member(node, 'args').value).every(isPlainOrQuery)
  return isConstant(node)
}

/** A query for one value fails when it finds two. */
const isOperand = (node: Node): boolean => !isQuery(node) && isPlain(node)
const isPlainOrQuery = (node: Node): boolean => (isQuery(node) ? isPlainQuery(queryOf(node)) : isPlain(node))
const isQuery = (node: Node): boolean => Boolean(node.ast) || node.type === 'select'
const queryOf = (node: Node): Node => (node.ast as Node | undefined) ?? node

function isConstant(node: Node): boolean {
  if (node.type === 'interval') return isConstant(member(node, 'expr'))
  if (node.type === 'function' && CONSTANT.has(nameOf(node)))
    return listOf(member(node, 'args')?.value).every(isConstant)
  if (node.type === 'binary_expr' && /^[-+]$/.test(String(node.operator)))
    return (
      isConstant(member(node, 'left')) && member(node, 'right').type === 'interval' && isConstant(member(node, 'right'))
    )
  return node.type !== 'column_ref' && VALUES.has(node.type ?? '')
}

/** Whether a query's own values are plain; its conditions are looked after by themselves. */
function isPlainQuery(query: Node): boolean {
  const next = query._next as Node | undefined
  return (
    listOf(query.columns).every(({ expr }) => isPlainValue(expr as Node)) &&
    isPlainValue(query.having as Node) &&
    itemsOf(query.from).every(({ expr }) => !expr || isPlainOrQuery(expr as Node)) &&
    (!next || isPlainQuery(next))
  )
}

/** What is added up over rows is computed after rows were chosen. */
const isPlainValue = (node: Node | null | undefined): boolean =>
  !node || isPlain(node) || node.type === 'aggr_func' || (hasAggregate(node) && !hasColumn(node))

const childrenOf = (node: Node): Node[] =>
  Object.entries(node).flatMap(([key, value]) =>
    key !== 'ast' && typeof value === 'object' ? listOf(value).filter(child => child && typeof child === 'object') : []
  )
const hasAggregate = (node: Node): boolean => node.type === 'aggr_func' || childrenOf(node).some(hasAggregate)
const hasColumn = (node: Node): boolean =>
  isQuery(node) || node.type === 'column_ref' || (node.type !== 'aggr_func' && childrenOf(node).some(hasColumn))

/** The tables and queries of a FROM, those in parentheses too. */
function itemsOf(from: unknown): Node[] {
  return listOf(from).flatMap(item => (Array.isArray(item.expr) ? itemsOf(item.expr) : [item]))
}

const isPlainCondition = (node: Node | null | undefined): boolean => {
  const both = node?.type === 'binary_expr' && node.operator === 'AND'
  return both ? isPlainCondition(member(node, 'left')) && isPlainCondition(member(node, 'right')) : isPlain(node)
}

/**
 * Whether conditions reach rows through a query in a FROM, where they cannot be kept from being tried too early one by
 * one: then all rows that are the merchant's have to be gathered first.
 */
export function needsGathering(root: Node, queries: ReadonlySet<string>, nameOf: (name: string) => string): boolean {
  const through = (item: Node) => Boolean(item.expr) || queries.has(nameOf(String(item.table)).toLowerCase())
  const search = (node: Node, outer: boolean, top: boolean): boolean => {
    const query = node.ast ? queryOf(node) : node
    if (query.type !== 'select') return childrenOf(query).some(child => search(child, outer, false))
    const items = itemsOf(query.from)
    const reached = outer || items.some(through)
    const plain = isPlainCondition(query.where as Node) && items.every(({ on }) => isPlainCondition(on as Node))
    if (!plain && reached) return true
    if (!isPlainValue(query.having as Node) || (!top && items.length > 0 && !isPlainQuery(query))) return true
    return childrenOf(query).some(child => search(child, reached, top && child === query._next))
  }
  return search(root, false, true)
}
