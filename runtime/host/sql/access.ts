import { LRUCache } from 'lru-cache'
import { RuntimeError } from '../../errors.ts'
import type { MerId } from '../../model.ts'
import { checkParams } from '../result.ts'
import type { Param } from '../shop.ts'
import { guard } from './guard.ts'
import { type Constant, keepToMerchant, type MerchantText } from './merchant.ts'
import { parseStatement, type Statement } from './statement.ts'
import { type Tables, VALUE } from './tables.ts'

/** A statement of a script's, as its owner may run it. */
export interface ScriptStatement {
  /** What runs. */
  readonly statement: Statement
  /** What the script said. */
  readonly original: string
  /** The values for the statement's placeholders. Throws ARGUMENT_INVALID, and DB_DENIED for another merchant's id. */
  bind: (params: Param[]) => Param[]
  /** What has to answer a row each, in the same transaction, before the statement may run. */
  checks: (params: Param[]) => Check[]
  /** Whether errors may speak of rows that are not the owner's. */
  readonly scoped: boolean
  readonly hidesId: boolean
}

/** A question to the database, and what to say when it answers no row. */
export interface Check {
  statement: Statement
  params: Param[]
  denial: RuntimeError
}

/** Reads a script's statement. Throws DB_DENIED for what its owner may not run. */
export type ReadScript = (sql: string) => ScriptStatement

interface Kept {
  text: MerchantText
  original: Statement
  statement: Statement
}

const bounds = <T>(size: (value: T) => number) => ({ max: 1_000, maxSize: 1_000_000, sizeCalculation: size })

/**
 * What scripts may run, by their owner: platform scripts (null) everything that `guard` lets through, merchants' those
 * of it that can be kept to the merchant's own rows. Texts that were read before come from a cache.
 */
export function createAccess(tables: Tables): (owner: MerId | null) => ReadScript {
  const guarded = new LRUCache<string, Statement>(bounds(({ sql }) => sql.length + 1))
  const kept = new LRUCache<string, Kept>(bounds(({ text }) => text.sql.length + 1))

  const read = (sql: string): Statement => {
    const known = guarded.get(sql)
    if (known) return known
    const statement = parseStatement(sql)
    guard(statement)
    guarded.set(sql, statement)
    return statement
  }
  const keep = (sql: string): Kept => {
    const known = kept.get(sql)
    if (known) return known
    const original = read(sql)
    const text = keepToMerchant(original, tables)
    const entry = { text, original, statement: parseStatement(text.sql) }
    kept.set(sql, entry)
    return entry
  }
  return owner => (owner === null ? sql => asItIs(read(sql)) : sql => forMerchant(keep(sql), owner))
}

const asItIs = (statement: Statement): ScriptStatement => ({
  ...{ statement, original: statement.sql, bind: params => params, checks: () => [], scoped: false, hidesId: false }
})

function forMerchant({ text, original, statement }: Kept, owner: MerId): ScriptStatement {
  // A server takes a text for the number that it begins with, or for 0.
  const asksForOwner = text.plan.includes(-1) || text.own.length > 0 || text.linked.length > 0
  if (asksForOwner && !Number.isSafeInteger(owner))
    throw new RuntimeError('DB_DENIED', `The merchant ${owner} has no number, and so no rows in the shop`)
  const valueIn = (constant: Constant, params: Param[]): Param =>
    'param' in constant ? (params[constant.param] ?? null) : constant.literal
  return {
    ...{ statement, original: original.sql, scoped: true, hidesId: text.hidesId },
    bind(params) {
      checkParams(original, params)
      const foreign = text.own.find(constant => String(valueIn(constant, params)) !== String(owner))
      if (foreign) throw new RuntimeError('DB_DENIED', `A row of another merchant than ${owner} cannot be made`)
      return text.plan.map(index => (index < 0 ? owner : (params[index] as Param)))
    },
    checks(params) {
      const values = new Map(text.linked.map(link => [`${valueIn(link.value, params)}`, link]))
      if (values.size > MAX_LINKS)
        throw new RuntimeError(
          'DB_DENIED',
          `Rows of ${values.size} others are inserted at once: at most ${MAX_LINKS} can be`
        )
      return [...values.values()].map(link => checkOf(link, valueIn(link.value, params), owner))
    }
  }
}

/** How many different rows the rows of one INSERT may lead to: each is looked for. */
const MAX_LINKS = 100

function checkOf({ known, table, column }: MerchantText['linked'][number], value: Param, owner: MerId): Check {
  const denial = new RuntimeError('DB_DENIED', `${table}.${column} has to lead to a row of the merchant’s own`)
  const params: Param[] = []
  const sql = known.replace(/[\ue000\ue001]/g, mark => {
    // As text, which is what it is compared as: a number like 12.0 has one spelling.
    params.push(mark === VALUE ? (typeof value === 'boolean' || value === null ? null : String(value)) : owner)
    return '?'
  })
  return { statement: parseStatement(sql), params, denial }
}
