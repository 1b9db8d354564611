import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect } from 'vitest'
import type { Json } from '../../runtime/model.ts'
import { statementsOf } from '../../runtime/store/database.ts'
import { engines } from '../support/databases.ts'
import { openTestShop, runHook } from '../support/run-hook.ts'
import { oneRow } from './fixtures.ts'

export type Shop = Awaited<ReturnType<typeof openTestShop>>
export type Body = Record<string, Json>

export const SECRET = 'haidian-test-secret'

const text = (path: string) => readFile(new URL(`../../${path}`, import.meta.url), 'utf8')

/** The demo shop with the tables of the Haidian hooks. */
export async function openHaidianShop(entry: (typeof engines)[number]): Promise<Shop> {
  const shop = await openTestShop(entry)
  for (const statement of statementsOf(await text('sql/shop/haidian.sql'))) await shop.sql(statement)
  return shop
}

const LIBRARIES = ['sign/haidian', 'haidian', 'haidian-fields', 'haidian-orders', 'haidian-coupons']

export const libraries = async (): Promise<Record<string, string>> =>
  Object.fromEntries(
    await Promise.all(LIBRARIES.map(async name => [`/lib/${name}`, await text(`hooks/lib/${name}.js`)] as const))
  )

export const md5 = (value: string): string => createHash('md5').update(value, 'utf8').digest('hex')

/** The partner's own signature, as WeChat Pay describes it: written apart from the hooks' code. */
export function partnerSign(body: Body, secret = SECRET): string {
  const parts: string[] = []
  for (const name of Object.keys(body).sort()) {
    const value = body[name]
    if (name === 'sign' || value === null || value === undefined || value === '') continue
    const text = typeof value === 'boolean' ? Number(value) : typeof value === 'object' ? JSON.stringify(value) : value
    parts.push(`${name}=${text}`)
  }
  return md5(`${parts.join('&')}&key=${secret}`)
}

export const signed = (body: Body, secret = SECRET): Body => ({ ...body, sign: partnerSign(body, secret) })

/** Calls an incoming hook as the ERP does, with the body as it is; gives its answer and the run. */
export async function post(
  shop: Shop,
  method: string,
  body: Json,
  more: { env?: Record<string, string>; verb?: string } = {}
) {
  const run = await runHook({
    shop,
    file: `haidian/${method}.js`,
    request: {
      request: { method: more.verb ?? 'POST', path: `/api/${method}`, query: {}, headers: {}, body },
      globals: { path: {}, param: {}, body, header: {} }
    },
    env: { HAIDIAN_SECRET: SECRET, ...more.env },
    libraries: await libraries()
  })
  return { ...run, answer: run.report.response?.body, status: run.report.response?.status ?? 200 }
}

let taken = 0
/** A number that no other row of this test file has. */
export const unique = (prefix: string): string => `${prefix}${process.pid}${++taken}`

export const refusal = (msg: string) => ({ code: -1, msg: expect.stringContaining(msg) })

/** One of an order's goods, as the ERP sends it: 2 at ¥99.00. */
export const line = (changes: Body = {}): Body => ({
  ...{ goods_no: 'G1', goods_name: '绿茶', goods_price: '99', goods_number: '2', goods_amount: '198.00' },
  ...changes
})

/** An order as the ERP sends it: ¥230.01 of goods, ¥5.00 freight, ¥10.00 off. */
export const order = (changes: Body = {}): Body => ({
  ...{ user_id: 1, order_sn: unique('H'), order_amount: '225.01', goods_amount: '230.01', shipping_fee: '5.00' },
  ...{ order_type: '2', consignee: '王试用', address: '云川省青石市 1 号' },
  ...{ add_time: '2024-01-01 08:00:00', pay_time: '2024-01-01 08:05:00' },
  order_goods: [line(), line({ goods_no: 'G2', goods_price: '32.01', goods_number: '1', goods_amount: '32.01' })],
  ...changes
})

/** Runs a suite on every engine; its shop is there when its tests run. */
export function onEveryShop(title: string, suite: (at: ReturnType<typeof callerOf>) => void): void {
  for (const engine of engines)
    describe.skipIf(engine.missing)(`${title} on ${engine.name}`, () => {
      const shop = {} as Shop
      beforeAll(async () => {
        Object.assign(shop, await openHaidianShop(engine))
      })
      afterAll(() => shop.close())
      suite(callerOf(shop))
    })
}

type Env = Record<string, string>

/** What the ERP does at a shop, and how a test looks into it. */
function callerOf(shop: Shop) {
  return {
    shop,
    /** A request with a right signature; the whole run. */
    askRun: (method: string, body: Body, env: Env = {}) => post(shop, method, signed(body), { env }),
    /** The same; its answer. */
    ask: async (method: string, body: Body, env: Env = {}) => (await post(shop, method, signed(body), { env })).answer,
    countOf: async (table: string, where: string, value: string) =>
      Number((await oneRow(shop, `SELECT COUNT(*) AS n FROM ${table} WHERE ${where} = ?`, [value])).n),
    /** A coupon of user 1 that can be used; gives the request that names it. */
    async addCoupon(changes: Record<string, number | string | null> = {}) {
      const row = {
        ...{ coupons_sn: unique('C'), coupons_name: '满减券', uid: 1, coupons_price: 1050, min_goods_amount: 9900 },
        ...{ start_time: '2020-01-01 00:00:00', end_time: '2099-01-01 00:00:00', status: 0, is_delete: 0 },
        ...changes
      }
      const names = Object.keys(row)
      const marks = names.map(() => '?').join(', ')
      await shop.sql(`INSERT INTO haidian_coupon (${names.join(', ')}) VALUES (${marks})`, Object.values(row))
      const { id } = await oneRow(shop, 'SELECT id FROM haidian_coupon WHERE coupons_sn = ?', [row.coupons_sn])
      return { user_id: row.uid, coupons_id: String(id), coupons_sn: row.coupons_sn }
    }
  }
}
