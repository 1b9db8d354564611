import tablesFile from '../../config/tables.json' with { type: 'json' }
import { createDbHost } from '../../runtime/host/db.ts'
import type { Param, ShopTransaction, StatementRunner } from '../../runtime/host/shop.ts'
import { createAccess, type ReadScript } from '../../runtime/host/sql/access.ts'
import { parseStatement } from '../../runtime/host/sql/statement.ts'
import { createTables, type TableConfig } from '../../runtime/host/sql/tables.ts'
import type { Json, Limits } from '../../runtime/model.ts'
import type { engines } from '../support/databases.ts'
import { openTestShop, type TestShop } from '../support/run-hook.ts'

/** The merchant whose scripts are tried; 8 and 0 are the others. */
export const MINE = 7
export const access = createAccess(createTables(tablesFile as Record<string, TableConfig>))
const limits = { dbRows: 1_000, dbBytes: 1_000_000, wallMs: 10_000 } as Limits

/** Two shops that differ only in what the rows of other merchants say: in text, and in numbers. */
export const openWorlds = (entry: (typeof engines)[number]): Promise<TestShop[]> =>
  Promise.all([openWorld(entry, 'canary-alpha', 990_017), openWorld(entry, '5zulu-fox', 3)])

/** A demo shop whose rows of other merchants say `secret` wherever they can. */
export async function openWorld(entry: (typeof engines)[number], secret: string, number: number): Promise<TestShop> {
  const shop = await openTestShop(entry)
  for (const table of TABLES) await shop.sql(`DELETE FROM ${table}`)
  for (const row of rowsOf(secret, number)) {
    const [table, values] = row
    const names = Object.keys(values)
    const marks = names.map(() => '?').join(', ')
    await shop.sql(`INSERT INTO ${table} (${names.join(', ')}) VALUES (${marks})`, Object.values(values) as Json[])
  }
  return shop
}

export const TABLES = [
  ...['eb_user', 'eb_merchant', 'eb_store_order', 'eb_store_order_info', 'eb_store_order_address'],
  ...['eb_store_order_status', 'eb_store_refund_order', 'eb_user_brokerage_record', 'hook_effects']
]

const TIME = '2024-01-01 10:00:00'

/** Text that does not fit a phone's column is cut. */
function rowsOf(secret: string, number: number): [string, Record<string, unknown>][] {
  const rows: [string, Record<string, unknown>][] = []
  for (const [merchant, id, text, money] of [
    [MINE, 1, 'own', 100],
    [8, 2, secret, number],
    [0, 3, `${secret}0`, number + 1]
  ] as const) {
    const order = `${merchant === MINE ? 'M' : 'F'}${id}`
    const common = { create_time: TIME }
    rows.push(
      [
        'eb_user',
        { uid: id, nickname: text, real_name: text, phone: text.slice(0, 18), brokerage_price: money, ...common }
      ],
      ['eb_merchant', { id: merchant, mer_name: text, alert_phone: text.slice(0, 18), ...common }],
      ['eb_store_order', { id, order_id: order, uid: id, mer_id: merchant, total_price: money, mark: text, ...common }],
      [
        'eb_store_order_info',
        { id, order_no: order, product_id: id, product_name: text, sku: text, cart_num: 1, price: money }
      ],
      [
        'eb_store_order_address',
        {
          id,
          order_no: order,
          real_name: text,
          user_phone: text.slice(0, 18),
          province: text,
          city: text,
          district: text,
          detail: text
        }
      ],
      ['eb_store_order_status', { id, oid: id, change_type: text, change_message: text, ...common }],
      [
        'eb_store_refund_order',
        {
          id,
          refund_order_no: `R${order}`,
          order_no: order,
          uid: id,
          mer_id: merchant,
          refund_price: money,
          refund_reason_wap: text,
          ...common
        }
      ],
      [
        'eb_user_brokerage_record',
        { id, uid: id, link_id: order, link_type: 'order', title: text, price: money, ...common }
      ]
    )
  }
  rows.push(['hook_effects', { execution_id: secret, result: secret, created_at: number }])
  return rows
}

/** What a script sees of one statement: rows, a count, or a failure. */
export type Seen = { value: unknown } | { code: string; message: string }

/** Tries statements in one run of a script that commits; answers what the script sees, and what `look` finds then. */
export async function tryOut(shop: TestShop, read: ReadScript, statements: [string, ...Param[]][], look = othersOf) {
  const signal = AbortSignal.timeout(20_000)
  let found: string | null = null
  /** As it commits, so that nothing is kept and the next one finds what this one found. */
  const lookAndUndo = async (transaction: ShopTransaction) => {
    found = await look(transaction)
    await transaction.rollback()
  }
  const begin = async (signal: AbortSignal) => {
    const transaction = await shop.database.begin(signal)
    return { ...transaction, commit: () => lookAndUndo(transaction) }
  }
  const database = { ...shop.database, begin }
  const db = createDbHost({ shop: database, limits, mode: 'run', hook: 'h', read, signal })
  const seen: Seen[] = []
  for (const [sql, ...params] of statements) {
    try {
      const reads = /^[\s(]*(SELECT|WITH)\b/i.test(sql) && !/\)\s*(UPDATE|DELETE)\b/i.test(sql)
      seen.push({ value: reads ? await db.query(sql, params) : await db.change(sql, params) })
    } catch (thrown) {
      const { code, message } = thrown as { code: string; message: string }
      seen.push({ code, message })
    }
  }
  await db.commit(null)
  return { seen, found: found ?? (await look(shop.database)) }
}

/** Rows that are merchant 7's, by what is known of its order and its user. */
const OWN: Record<string, string> = {
  eb_user: 'uid = 1',
  eb_merchant: 'id = 7',
  eb_store_order: 'mer_id = 7',
  eb_store_order_info: "order_no = 'M1'",
  eb_store_order_address: "order_no = 'M1'",
  eb_store_order_status: 'oid = 1',
  eb_store_refund_order: 'mer_id = 7'
}

/** Every row that is not merchant 7's. */
const othersOf = (runner: StatementRunner): Promise<string> => rowsNot(runner, OWN)

/** Every row of the shop. */
export const allOf = (runner: StatementRunner): Promise<string> => rowsNot(runner, {})

async function rowsNot(runner: StatementRunner, own: Record<string, string>): Promise<string> {
  const options = { bounds: { rows: 1_000, bytes: 1_000_000 }, signal: AbortSignal.timeout(20_000) }
  const found: unknown[] = []
  for (const table of TABLES) {
    const sql = `SELECT * FROM ${table} WHERE NOT (${own[table] ?? '1 = 0'}) ORDER BY 1`
    found.push(table, await runner.run(parseStatement(sql), [], options))
  }
  return JSON.stringify(found)
}
