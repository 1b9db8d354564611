import { readFileSync } from 'node:fs'
import Database from 'better-sqlite3'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { demoShop } from '../../runtime/demo/shop.ts'

type Row = Record<string, null | number | string>

const rowsOf = (table: string, seed = 1): Row[] => demoShop(seed).find(each => each.table === table)?.rows ?? []
const sum = (rows: Row[], amount: (row: Row) => number) => rows.reduce((total, row) => total + amount(row), 0)

describe('the demo shop', () => {
  test('is the same for the same seed, and another for another', () => {
    expect(demoShop(7)).toEqual(demoShop(7))
    expect(demoShop()).toEqual(demoShop(1))
    expect(demoShop(7)).not.toEqual(demoShop(8))
  })

  test.each([1, 2, 99])('has as much of everything as promised with seed %i', seed => {
    const orders = rowsOf('eb_store_order', seed)
    expect(rowsOf('eb_user', seed)).toHaveLength(50)
    expect(rowsOf('eb_merchant', seed)).toHaveLength(5)
    expect(rowsOf('eb_store_refund_order', seed)).toHaveLength(25)
    expect(orders.map(row => row.order_id)).toEqual(Array.from({ length: 200 }, (_, i) => String(202401010001 + i)))
    expect(new Set(orders.map(row => row.status))).toEqual(new Set([0, 1, 2, 3, 9]))
    const addresses = rowsOf('eb_store_order_address', seed).length
    expect(addresses).toBeGreaterThan(150)
    expect(addresses).toBeLessThan(200)
  })

  test('adds up: total = lines + freight, paid = total - coupon', () => {
    const lines = Map.groupBy(rowsOf('eb_store_order_info'), line => line.order_no)
    for (const order of rowsOf('eb_store_order')) {
      const own = lines.get(order.order_id ?? '') ?? []
      expect(own.length).toBeGreaterThanOrEqual(1)
      expect(own.length).toBeLessThanOrEqual(4)
      expect(order.total_price).toBe(
        sum(own, line => Number(line.cart_num) * Number(line.price)) + Number(order.freight)
      )
      expect(order.total_num).toBe(sum(own, line => Number(line.cart_num)))
      expect(order.pay_price).toBe(Number(order.total_price) - Number(order.coupon_price))
      expect(order.pay_price).toBeGreaterThan(0)
    }
  })

  test('has a time of payment for what is paid, and a carrier for what is shipped', () => {
    for (const order of rowsOf('eb_store_order')) {
      const shipped = [1, 2, 3].includes(Number(order.status))
      expect(Boolean(order.pay_time), String(order.order_id)).toBe(order.paid === 1)
      expect(Boolean(order.delivery_id && order.delivery_name), String(order.order_id)).toBe(shipped)
      expect(order.paid || !shipped).toBeTruthy()
    }
  })

  test('refers only to rows that it has, but for one spreader who is gone', () => {
    const uids = new Set(rowsOf('eb_user').map(user => user.uid))
    const merchants = new Set(rowsOf('eb_merchant').map(merchant => merchant.id))
    const orders = new Map(rowsOf('eb_store_order').map(order => [order.order_id, order]))
    const ids = new Set([...orders.values()].map(order => order.id))
    for (const order of orders.values()) {
      expect(uids).toContain(order.uid)
      expect(merchants).toContain(order.mer_id)
    }
    for (const table of ['eb_store_order_info', 'eb_store_order_address', 'eb_store_refund_order'])
      for (const row of rowsOf(table)) expect(orders.has(row.order_no ?? '')).toBe(true)
    for (const row of rowsOf('eb_store_order_status')) expect(ids).toContain(row.oid)
    const lost = rowsOf('eb_user').filter(user => user.spread_uid && !uids.has(user.spread_uid))
    expect(lost.map(user => user.uid)).toEqual([8])
  })

  test('has the odd users that scripts must cope with', () => {
    const users = rowsOf('eb_user')
    expect(users.filter(user => user.spread_uid === user.uid).map(user => user.uid)).toEqual([7])
    expect(users.filter(user => user.phone === null).length).toBeGreaterThan(3)
    expect(users.filter(user => user.spread_uid).length).toBeGreaterThan(10)
    for (const { phone } of users) expect(phone ?? '13800000000').toMatch(/^1380000\d{4}$/)
  })

  test('refunds paid orders in every state, never more than was paid, paid back only when refunded', () => {
    const orders = new Map(rowsOf('eb_store_order').map(order => [order.order_id, order]))
    const refunds = rowsOf('eb_store_refund_order')
    expect(new Set(refunds.map(refund => refund.refund_status))).toEqual(new Set([0, 1, 2, 3, 4, 5, 6]))
    expect(new Set(refunds.map(refund => refund.order_no)).size).toBe(refunds.length)
    for (const refund of refunds) {
      const order = orders.get(refund.order_no ?? '')
      expect(order).toMatchObject({ paid: 1, uid: refund.uid, mer_id: refund.mer_id })
      expect(refund.refund_price).toBeGreaterThan(0)
      expect(refund.refund_price).toBeLessThanOrEqual(Number(order?.pay_price))
      expect(Boolean(refund.refund_time)).toBe(refund.refund_status === 3)
      const whole = refund.refund_price === order?.pay_price
      if (refund.refund_status === 3) expect(order?.refund_status).toBe(whole ? 2 : 0)
    }
  })

  test.each([1, 2, 99])('has the complete order and refund of the documentation with seed %i', seed => {
    const [order] = rowsOf('eb_store_order', seed)
    const [refund] = rowsOf('eb_store_refund_order', seed)
    const buyer = rowsOf('eb_user', seed).find(user => user.uid === order?.uid)
    expect(order).toMatchObject({
      id: 1,
      order_id: '202401010001',
      uid: 1,
      mer_id: 1,
      paid: 1,
      status: 1,
      refund_status: 0
    })
    expect(buyer).toMatchObject({ phone: '13800000001', spread_uid: 2 })
    expect(rowsOf('eb_store_order_info', seed).filter(line => line.order_no === order?.order_id)).toHaveLength(2)
    expect(rowsOf('eb_store_order_address', seed)[0]).toMatchObject({ order_no: order?.order_id })
    expect(refund).toMatchObject({ refund_order_no: 'RE202401010001', order_no: order?.order_id, refund_status: 3 })
    expect(refund?.refund_price).toBeLessThan(Number(order?.pay_price))
    expect(Object.values(refund ?? {})).not.toContain(null)
  })

  test('logs what each order went through, in order of time', () => {
    const log = rowsOf('eb_store_order_status')
    const times = log.map(row => String(row.create_time))
    expect(times).toEqual(times.toSorted())
    expect(log.filter(row => row.oid === 1).map(row => row.change_type)).toEqual([
      'cache_key_create_order',
      'pay_success',
      'express',
      'apply_refund',
      'refund_price'
    ])
    const paid = rowsOf('eb_store_order').filter(order => order.paid)
    expect(log.filter(row => row.change_type === 'pay_success')).toHaveLength(paid.length)
  })
})

/** What the seven scripts of the order-event document ask of the shop. */
const reads = [
  `SELECT o.*, m.mer_name, u.nickname, u.phone FROM eb_store_order o LEFT JOIN eb_merchant m ON o.mer_id = m.id
   LEFT JOIN eb_user u ON o.uid = u.uid WHERE o.order_id = ?`,
  'SELECT product_id, product_name, sku, cart_num, price FROM eb_store_order_info WHERE order_no = ?',
  'SELECT o.*, u.phone, u.nickname FROM eb_store_order o LEFT JOIN eb_user u ON o.uid = u.uid WHERE o.order_id = ?',
  'SELECT product_id, product_name, sku, cart_num as num, price FROM eb_store_order_info WHERE order_no = ?',
  'SELECT * FROM eb_store_order_address WHERE order_no = ?',
  'SELECT o.order_id, o.uid, u.phone, u.nickname FROM eb_store_order o LEFT JOIN eb_user u ON o.uid = u.uid WHERE o.order_id = ?',
  'SELECT delivery_name, delivery_id FROM eb_store_order WHERE order_id = ?',
  'SELECT * FROM eb_store_order WHERE order_id = ?',
  'SELECT order_id, status, refund_status FROM eb_store_order WHERE order_id = ?'
]
const refundReads = [
  `SELECT r.*, o.mer_id, m.mer_name, m.alert_phone FROM eb_store_refund_order r
   LEFT JOIN eb_store_order o ON r.order_no = o.order_id LEFT JOIN eb_merchant m ON o.mer_id = m.id
   WHERE r.refund_order_no = ?`,
  'SELECT * FROM eb_store_refund_order WHERE refund_order_no = ?'
]

describe('the demo shop in SQLite', () => {
  let db: Database.Database

  beforeEach(() => {
    db = new Database(':memory:')
    const schema = readFileSync(new URL('../../sql/shop/demo.sql', import.meta.url), 'utf8')
    for (const statement of schema.split(/;\s*\n/)) db.exec(statement)
    for (const { table, rows } of demoShop()) {
      const columns = Object.keys(rows[0] ?? {})
      const insert = db.prepare(`INSERT INTO ${table} (${columns}) VALUES (${columns.map(name => `@${name}`)})`)
      for (const row of rows) {
        expect(Object.keys(row)).toEqual(columns)
        insert.run(row)
      }
    }
  })
  afterEach(() => db.close())

  test('takes every row and gives it back as it was', () => {
    for (const { table, rows } of demoShop()) {
      const columns = Object.keys(rows[0] ?? {})
      expect(db.prepare(`SELECT ${columns} FROM ${table} ORDER BY ${columns[0]}`).all()).toEqual(rows)
    }
  })

  test.each(reads)('answers a script: %s', sql => {
    const [row] = db.prepare(sql).all('202401010001') as Row[]
    expect(row).toBeDefined()
    for (const column of ['mer_name', 'nickname', 'phone', 'delivery_id', 'detail', 'pay_time'])
      if (row && column in row) expect(row[column]).toBeTruthy()
  })

  test.each(refundReads)('answers a script about a refund: %s', sql => {
    expect(db.prepare(sql).get('RE202401010001')).toMatchObject({ order_no: '202401010001', mer_id: 1 })
  })

  test('takes the commission record of a script that names few columns, twice if it must', () => {
    db.function('NOW', () => '2024-01-05 10:00:00')
    const insert = db.prepare(`INSERT INTO eb_user_brokerage_record
      (uid, link_id, link_type, type, title, price, status, create_time)
      VALUES (?, ?, 'order', 1, '订单佣金', ?, 1, NOW())`)
    insert.run(2, '1', 3007)
    insert.run(2, '1', 3007)
    expect(
      db.prepare('SELECT uid, link_id, balance, mark, brokerage_level FROM eb_user_brokerage_record').all()
    ).toEqual(Array(2).fill({ uid: 2, link_id: '1', balance: null, mark: '', brokerage_level: 1 }))
  })

  test('refuses a second order, refund or address of the same number', () => {
    const again = (table: string) => () => {
      const row = { ...rowsOf(table)[0], id: 9999 }
      const columns = Object.keys(row)
      db.prepare(`INSERT INTO ${table} (${columns}) VALUES (${columns.map(name => `@${name}`)})`).run(row)
    }
    for (const table of ['eb_store_order', 'eb_store_refund_order', 'eb_store_order_address'])
      expect(again(table)).toThrow(/UNIQUE/)
  })

  test('finds an order’s lines, refunds and commissions by index', () => {
    const plan = (sql: string) => JSON.stringify(db.prepare(`EXPLAIN QUERY PLAN ${sql}`).all())
    expect(plan("SELECT * FROM eb_store_order_info WHERE order_no = 'x'")).toContain('USING INDEX')
    expect(plan("SELECT * FROM eb_store_refund_order WHERE order_no = 'x'")).toContain('USING INDEX')
    expect(plan("SELECT * FROM eb_user_brokerage_record WHERE link_type = 'order' AND link_id = 'x'")).toContain(
      'USING INDEX'
    )
  })
})
