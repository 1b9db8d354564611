import { type Constant, checkSet, type MerchantText } from './merchant.ts'
import { denied, type Node, ownership, ruleOf, type Scope, visit } from './scope.ts'
import { OWNER, quoted, type TableRule } from './tables.ts'

type Found = Pick<MerchantText, 'own' | 'linked' | 'hidesId'>

interface Setting {
  column: string
  value: unknown
}

/** Keeps an INSERT to rows that are the merchant's, and what its ON DUPLICATE KEY UPDATE changes as well. */
export function writeInsert(scope: Scope, tree: Node, found: Found): void {
  const [target] = tree.table as unknown as Node[]
  if (!target) throw denied('This INSERT is not understood')
  const rule = ruleOf(scope, target)
  if (!rule.writable) throw denied(`Merchants may read ${rule.name} and not change it`)
  target.table = scope.coded.put(quoted(rule.name))
  target.as = null
  const { values } = tree as { values?: Node }
  const upsert = tree.on_duplicate_update as { set: Setting[] } | null | undefined
  if (Array.isArray(tree.set)) insertSet(scope, rule, tree as Node & { set: Setting[] }, found)
  else if (values?.type === 'values') insertRows(scope, rule, tree, found)
  else if (values?.type === 'select' && !upsert) insertQuery(scope, rule, tree)
  else throw denied('INSERT … SELECT … ON DUPLICATE KEY UPDATE is not open to merchants: select the rows first')
  if (upsert) keepUpsert(scope, rule, upsert.set)
  found.hidesId = Boolean(upsert)
}

/** The columns that are set, as the statement names them. Throws DB_DENIED for those that no merchant may set. */
function checkColumns({ coded }: Scope, rule: TableRule, columns: unknown): string[] {
  if (!Array.isArray(columns) || columns.length === 0)
    throw denied(`Name the columns: INSERT INTO ${rule.name} (…) VALUES (…)`)
  const names = columns.map(name => coded.nameOf(String(name)).toLowerCase())
  if (new Set(names).size < names.length) throw denied('A column is named twice')
  const anchor = names.find(name => rule.anchors.has(name))
  if (anchor)
    throw denied(`${rule.name}.${anchor} decides whose rows those of other tables are: a merchant cannot set it`)
  const link = rule.link?.column.toLowerCase()
  if (link && !names.includes(link))
    throw denied(`${rule.name}.${rule.link?.column} has to be set: it says whose the row is`)
  return names
}

const ownerNode = ({ coded }: Scope): Node => ({ type: 'column_ref', table: null, column: coded.put(OWNER) })

/** Takes what decides whose the row is from one value: it has to be a constant, which is looked at when it is known. */
function keepValue(scope: Scope, rule: TableRule, setting: Setting, found: Found): unknown {
  const { column, value } = setting
  const isTenant = rule.tenant?.toLowerCase() === column
  if (!isTenant && rule.link?.column.toLowerCase() !== column) return value
  const constant = constantOf(scope, value as Node)
  if (!constant) throw denied(`${rule.name}.${column} has to be a plain value or a parameter: it says whose the row is`)
  if (rule.link && !isTenant) found.linked.push({ known: rule.link.known, table: rule.name, column, value: constant })
  else found.own.push(constant)
  return isTenant ? ownerNode(scope) : value
}

function constantOf({ coded }: Scope, value: Node): Constant | null {
  if (value.parentheses) return null
  if (value.type === 'number') return { literal: String(value.value) }
  const code = String(value.value)
  if (value.type === 'param') return { param: coded.paramOf(code) }
  const literal = /string$/.test(value.type ?? '') ? coded.stringOf(code) : null
  if (literal !== null) return { literal }
  return null
}

function insertSet(scope: Scope, rule: TableRule, tree: Node & { set: Setting[] }, found: Found): void {
  const names = checkColumns(
    scope,
    rule,
    tree.set.map(({ column }) => column)
  )
  tree.set.forEach((setting, index) => {
    visit(scope, setting.value)
    setting.value = keepValue(scope, rule, { column: names[index] as string, value: setting.value }, found)
  })
  if (rule.tenant && !names.includes(rule.tenant.toLowerCase()))
    tree.set.push({ column: scope.coded.put(quoted(rule.tenant)), value: ownerNode(scope) })
}

function insertRows(scope: Scope, rule: TableRule, tree: Node, found: Found): void {
  const names = checkColumns(scope, rule, tree.columns)
  const adds = rule.tenant !== null && !names.includes(rule.tenant.toLowerCase())
  for (const row of (tree.values as { values: { value: unknown[] }[] }).values) {
    if (row.value.length !== names.length) throw denied('A row has not as many values as there are columns')
    visit(scope, row.value)
    row.value = names.map((column, index) => keepValue(scope, rule, { column, value: row.value[index] }, found))
    if (adds) row.value.push(ownerNode(scope))
  }
  if (adds) (tree.columns as string[]).push(scope.coded.put(quoted(rule.tenant as string)))
}

function insertQuery(scope: Scope, rule: TableRule, tree: Node): void {
  const names = checkColumns(scope, rule, tree.columns)
  if (!rule.tenant || names.includes(rule.tenant.toLowerCase()))
    throw denied(
      `INSERT … SELECT into ${rule.name} is open to merchants without ${rule.tenant ?? rule.link?.column} only`
    )
  const query = tree.values as Node
  visit(scope, query)
  const name = scope.coded.put('sandhook_0')
  const item = { expr: { ast: query, parentheses: true, type: 'select' }, as: name }
  const all = { expr: { type: 'column_ref', table: name, column: '*' }, as: null }
  const columns = [all, { expr: ownerNode(scope), as: null }]
  tree.values = { ...query, ...BARE, columns, from: [item] }
  ;(tree.columns as string[]).push(scope.coded.put(quoted(rule.tenant)))
}

/** A SELECT without anything. */
const BARE = {
  ...{
    with: null,
    options: null,
    distinct: null,
    where: null,
    groupby: null,
    having: null,
    orderby: null,
    limit: null
  },
  ...{ window: null, _next: undefined, set_op: undefined, _orderby: null, _limit: null, parentheses_symbol: undefined }
}

/** A row that is there already is changed only when it is the merchant's: another one stays as it is. */
function keepUpsert(scope: Scope, rule: TableRule, set: Setting[]): void {
  for (const setting of set) {
    checkSet(scope, rule, setting.column)
    visit(scope, setting.value)
    const kept = { type: 'column_ref', table: scope.coded.put(quoted(rule.name)), column: setting.column }
    const mine = ownership(scope, { alias: rule.name, rule })
    setting.value = {
      type: 'function',
      name: { name: [{ type: 'default', value: 'IF' }] },
      args: { type: 'expr_list', value: [mine, setting.value, kept] }
    }
  }
}
