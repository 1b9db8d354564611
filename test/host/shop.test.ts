import { readFileSync } from 'node:fs'
import Database from 'better-sqlite3'
import mysql from 'mysql2/promise'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openMysqlShop } from '../../runtime/host/mysql/shop.ts'
import type { Answer, Param, Row, ShopDatabase, ShopTransaction } from '../../runtime/host/shop.ts'
import { parseStatement } from '../../runtime/host/sql/statement.ts'
import { openSqliteShop } from '../../runtime/host/sqlite/shop.ts'
import { engines, type TestDatabase } from '../support/databases.ts'

const expressions: [string, ...Param[]][] = JSON.parse(
  readFileSync(new URL('expressions.json', import.meta.url), 'utf8')
)

const BOUNDS = { rows: 1_000, bytes: 8_000_000 }
const never = new AbortController().signal

const TABLES = {
  sqlite: [
    `CREATE TABLE sample (id INTEGER PRIMARY KEY, name TEXT UNIQUE, amount INTEGER, price DECIMAL(30,2), rate REAL,
       flag INTEGER, document TEXT, data BLOB, day TEXT, at TEXT)`,
    'CREATE TABLE pair (a INTEGER, b TEXT, PRIMARY KEY (a, b))'
  ],
  mysql: [
    `CREATE TABLE sample (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(100) COLLATE utf8mb4_bin UNIQUE, amount BIGINT,
       price DECIMAL(30,2), rate DOUBLE, flag BIT(1), document JSON, data LONGBLOB, day DATE, at DATETIME)`,
    'CREATE TABLE pair (a INT, b VARCHAR(20), PRIMARY KEY (a, b))'
  ]
}

/** Runs DDL, which no script may. */
async function prepare(engine: 'sqlite' | 'mysql', url: string, statements: string[]): Promise<void> {
  if (engine === 'sqlite') {
    const connection = new Database(url.slice('sqlite:'.length))
    for (const sql of statements) connection.exec(sql)
    connection.close()
    return
  }
  const connection = await mysql.createConnection(url)
  for (const sql of statements) await connection.query(sql)
  await connection.end()
}

const open = (engine: 'sqlite' | 'mysql', url: string): ShopDatabase =>
  engine === 'sqlite' ? openSqliteShop(url.slice('sqlite:'.length)) : openMysqlShop(url, { connections: 3 })

type Runner = ShopDatabase | ShopTransaction

const run = (on: Runner, sql: string, params: Param[] = [], bounds = BOUNDS, signal = never): Promise<Answer> =>
  on.run(parseStatement(sql), params, { bounds, signal })

const rows = async (on: Runner, sql: string, ...params: Param[]): Promise<Row[]> =>
  ((await run(on, sql, params)) as { rows: Row[] }).rows

const value = async (on: Runner, sql: string, ...params: Param[]) =>
  Object.values((await rows(on, sql, ...params))[0] ?? {})[0]

describe.each(engines)('the shop on $name', ({ engine, make, missing }) => {
  describe.skipIf(missing)('with two tables', () => {
    let database: TestDatabase
    let shop: ShopDatabase

    beforeAll(async () => {
      database = await make()
      await prepare(engine, database.url, TABLES[engine])
      shop = open(engine, database.url)
    })
    afterAll(async () => {
      await shop?.close()
      await database?.drop()
    })
    beforeEach(async () => {
      await run(shop, 'DELETE FROM sample')
      await run(shop, 'DELETE FROM pair')
    })

    test.each<[string, string, Param, Param]>([
      ['Chinese and emoji', 'name', '订单🎉 "x" \'y\' \\ `z` ?', '订单🎉 "x" \'y\' \\ `z` ?'],
      ['null', 'name', null, null],
      ['an empty text', 'name', '', ''],
      ['a whole number', 'amount', 42, 42],
      ['a negative number', 'amount', -42, -42],
      ['the largest exact number', 'amount', Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
      ['a number beyond 2^53 as text', 'amount', '9223372036854775807', '9223372036854775807'],
      ['its negative', 'amount', '-9007199254740993', '-9007199254740993'],
      ['a decimal', 'price', '230.10', 230.1],
      ['a fraction', 'rate', 0.1, 0.1],
      ['true', 'flag', true, 1],
      ['false', 'flag', false, 0],
      ['a JSON text', 'document', '{"a":[1,"二"]}', '{"a":[1,"二"]}'],
      ['a date', 'day', '2024-02-29', '2024-02-29'],
      ['a date and time', 'at', '2024-02-29 23:59:59', '2024-02-29 23:59:59']
    ])('carries %s there and back', async (_, column, given, expected) => {
      await run(shop, `INSERT INTO sample (${column}) VALUES (?)`, [given])
      expect(await value(shop, `SELECT ${column} FROM sample`)).toBe(expected)
    })

    test('carries bytes as Base64', async () => {
      await run(shop, "INSERT INTO sample (data) VALUES (x'00ff10')")
      expect(await value(shop, 'SELECT data FROM sample')).toBe('AP8Q')
    })

    test('leaves question marks in texts and comments alone', async () => {
      expect(await rows(shop, "SELECT '?' AS a, ? AS b /* ? */ -- ?", 7)).toEqual([{ a: '?', b: 7 }])
    })

    test('answers a result without rows', async () => {
      expect(await run(shop, 'SELECT id, name FROM sample WHERE id = ?', [1])).toEqual({ rows: [] })
    })

    test('answers the new id, and none where the table counts nothing', async () => {
      const first = (await run(shop, 'INSERT INTO sample (name) VALUES (?)', ['a'])) as { insertId: number }
      expect(first).toEqual({ affected: 1, insertId: expect.any(Number) })
      const several = await run(shop, "INSERT INTO sample (name) VALUES ('b'), ('c')")
      expect(several).toEqual({ affected: 2, insertId: first.insertId + 1 })
      expect(await run(shop, "INSERT INTO pair (a, b) VALUES (1, 'x')")).toEqual({ affected: 1, insertId: null })
    })

    test('counts the rows that a change matches, changed or not', async () => {
      await run(shop, "INSERT INTO sample (name, amount) VALUES ('a', 1), ('b', 1), ('c', 2)")
      expect(await run(shop, 'UPDATE sample SET amount = 1 WHERE amount = ?', [1])).toEqual({
        affected: 2,
        insertId: null
      })
      expect(await run(shop, 'DELETE FROM sample WHERE amount = 1 ORDER BY id LIMIT ?', [1])).toMatchObject({
        affected: 1
      })
    })

    test('takes LIMIT and OFFSET as parameters', async () => {
      await run(shop, "INSERT INTO sample (name) VALUES ('a'), ('b'), ('c'), ('d')")
      expect(await rows(shop, 'SELECT name FROM sample ORDER BY name LIMIT ?, ?', 1, 2)).toEqual([
        { name: 'b' },
        { name: 'c' }
      ])
      expect(await rows(shop, 'SELECT name FROM sample ORDER BY name LIMIT ? OFFSET ?', 1, 3)).toEqual([{ name: 'd' }])
    })

    test('ignores, replaces and updates what is there already', async () => {
      await run(shop, "INSERT INTO pair SET a = 1, b = 'x'")
      expect(await run(shop, "INSERT IGNORE INTO pair (a, b) VALUES (1, 'x')")).toMatchObject({ affected: 0 })
      await run(shop, "INSERT INTO sample (name, amount) VALUES ('a', 1)")
      const upsert =
        'INSERT INTO sample (name, amount) VALUES (?, ?) ON DUPLICATE KEY UPDATE amount = amount + VALUES(amount)'
      await run(shop, upsert, ['a', 5])
      await run(shop, upsert, ['b', 5])
      await run(shop, "REPLACE INTO sample (name, amount) VALUES ('b', 9)")
      expect(await rows(shop, 'SELECT name, amount FROM sample ORDER BY name')).toEqual([
        { name: 'a', amount: 6 },
        { name: 'b', amount: 9 }
      ])
    })

    test('names a duplicate as MySQL does', async () => {
      await run(shop, "INSERT INTO sample (name) VALUES ('a')")
      await expect(run(shop, "INSERT INTO sample (name) VALUES ('a')")).rejects.toMatchObject({
        code: 'DB_ERROR',
        message: expect.stringContaining('Duplicate entry'),
        data: { errno: 1062, sqlState: '23000' }
      })
    })

    test.each([
      ['table', 'SELECT * FROM nowhere', 1146, '42S02'],
      ['column', 'SELECT nothing FROM sample', 1054, '42S22']
    ])('says which %s is missing', async (_, sql, errno, sqlState) => {
      await expect(run(shop, sql)).rejects.toMatchObject({ code: 'DB_ERROR', data: { errno, sqlState } })
    })

    test('wants a value for each placeholder', async () => {
      await expect(run(shop, 'SELECT ?, ?', [1])).rejects.toMatchObject({
        code: 'ARGUMENT_INVALID',
        message: 'The statement has 2 placeholders (?) but got 1 values: give one for each'
      })
    })

    test('stops a result at its bounds', async () => {
      const series =
        'WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 50) SELECT i, ? AS t FROM n'
      expect(((await run(shop, series, ['x'])) as { rows: Row[] }).rows).toHaveLength(50)
      await expect(run(shop, series, ['x'], { rows: 49, bytes: 1e6 })).rejects.toMatchObject({
        code: 'HOOK_DB_LIMIT',
        message: 'The result has more than 49 rows: add a LIMIT, or read it page by page'
      })
      await expect(run(shop, series, ['x'.repeat(1_000)], { rows: 100, bytes: 20_000 })).rejects.toMatchObject({
        code: 'HOOK_DB_LIMIT',
        message: expect.stringMatching(/larger than 20000 bytes after 19 rows/)
      })
      expect(await value(shop, 'SELECT 1')).toBe(1)
    })

    test('refuses a row of 5 MB', async () => {
      const five = "SELECT CONCAT(REPEAT('x', 2500000), '') AS a, CONCAT(REPEAT('y', 2500000), '') AS b"
      await expect(run(shop, five)).rejects.toMatchObject({
        code: 'HOOK_DB_LIMIT',
        message: expect.stringMatching(/row of 4.8 MB, and 4 MB is the limit/)
      })
      expect(await value(shop, 'SELECT 1')).toBe(1)
    })

    test('shows nobody what is not committed', async () => {
      const transaction = await shop.begin(never)
      await run(transaction, "INSERT INTO sample (name) VALUES ('a')")
      expect(await value(transaction, 'SELECT COUNT(*) FROM sample FOR UPDATE')).toBe(1)
      expect(await value(shop, 'SELECT COUNT(*) FROM sample')).toBe(0)
      await transaction.commit()
      expect(await value(shop, 'SELECT COUNT(*) FROM sample')).toBe(1)
    })

    test('takes back what is not committed, and ends only once', async () => {
      const transaction = await shop.begin(never)
      await run(transaction, "INSERT INTO sample (name) VALUES ('a')")
      await transaction.rollback()
      await transaction.rollback()
      await transaction.commit()
      expect(await value(shop, 'SELECT COUNT(*) FROM sample')).toBe(0)
      await expect(run(transaction, 'SELECT 1')).rejects.toMatchObject({ code: 'DB_ERROR' })
    })

    test('goes back to a savepoint', async () => {
      const transaction = await shop.begin(never)
      await run(transaction, "INSERT INTO sample (name) VALUES ('a')")
      await transaction.savepoint(1)
      await run(transaction, "INSERT INTO sample (name) VALUES ('b')")
      await transaction.undo(1)
      await transaction.savepoint(2)
      await run(transaction, "INSERT INTO sample (name) VALUES ('c')")
      await transaction.release(2)
      await transaction.commit()
      expect(await rows(shop, 'SELECT name FROM sample ORDER BY name')).toEqual([{ name: 'a' }, { name: 'c' }])
    })

    test('goes on with a transaction after a statement that failed', async () => {
      const transaction = await shop.begin(never)
      await run(transaction, "INSERT INTO sample (name) VALUES ('a')")
      await expect(run(transaction, "INSERT INTO sample (name) VALUES ('a')")).rejects.toMatchObject({
        code: 'DB_ERROR'
      })
      await run(transaction, "INSERT INTO sample (name) VALUES ('b')")
      await transaction.commit()
      expect(await value(shop, 'SELECT COUNT(*) FROM sample')).toBe(2)
    })

    test('lets whoever waits for a transaction give up', async () => {
      const held = await Promise.all(Array.from({ length: engine === 'mysql' ? 3 : 1 }, () => shop.begin(never)))
      const impatient = new AbortController()
      const waiting = shop.begin(impatient.signal)
      const patient = shop.begin(never)
      impatient.abort(new Error('the run has ended'))
      await expect(waiting).rejects.toMatchObject({
        code: 'DB_ERROR',
        message: expect.stringContaining('run has ended')
      })
      for (const transaction of held) await transaction.rollback()
      await (await patient).rollback()
    })

    test('takes writers in the order in which they came', async () => {
      const names = ['first', 'second', 'third', 'fourth']
      await Promise.all(names.map(name => run(shop, 'INSERT INTO sample (name) VALUES (?)', [name])))
      expect(await value(shop, 'SELECT COUNT(*) FROM sample')).toBe(4)
    })

    test('answers a ping', async () => {
      await expect(shop.ping()).resolves.toBeUndefined()
    })

    // A MariaDB server gave the answers.
    test.each(expressions)('reckons %s as MySQL does', async (expression, expected, ...params) => {
      expect(await value(shop, `SELECT ${expression} AS answer`, ...params)).toEqual(expected)
    })
  })
})

describe.each(engines)('the event doc on $name', ({ engine, make, missing }) => {
  const sqlite = engine === 'sqlite'
  const id = sqlite ? 'INTEGER PRIMARY KEY' : 'INT AUTO_INCREMENT PRIMARY KEY'
  const text = sqlite ? 'TEXT' : 'VARCHAR(200)'
  const tables = [
    `CREATE TABLE eb_store_order (id ${id}, order_id ${text}, uid INT, mer_id INT, total_price INT, pay_price INT,
       pay_type ${text}, pay_time ${text}, status INT, refund_status INT, delivery_name ${text}, delivery_id ${text}, mark ${text})`,
    `CREATE TABLE eb_store_order_info (id ${id}, order_no ${text}, product_id INT, product_name ${text}, sku ${text},
       cart_num INT, price INT)`,
    `CREATE TABLE eb_store_order_address (id ${id}, order_no ${text}, real_name ${text}, user_phone ${text})`,
    `CREATE TABLE eb_store_refund_order (id ${id}, refund_order_no ${text}, order_no ${text}, refund_price INT, refund_reason_wap ${text})`,
    `CREATE TABLE eb_merchant (id ${id}, mer_name ${text}, alert_phone ${text})`,
    `CREATE TABLE eb_user (uid ${id}, nickname ${text}, phone ${text}, spread_uid INT, brokerage_price INT)`,
    `CREATE TABLE eb_user_brokerage_record (id ${id}, uid INT, link_id ${text}, link_type ${text}, type INT, title ${text},
       price INT, status INT, create_time ${sqlite ? 'TEXT' : 'DATETIME'})`,
    "INSERT INTO eb_store_order VALUES (7, 'A1', 2, 1, 2990, 2500, 'weixin', '2024-01-01 10:00:00', 0, 0, '顺丰', 'SF1', NULL)",
    "INSERT INTO eb_store_order_info VALUES (1, 'A1', 9, '杯子', '红', 2, 1495)",
    "INSERT INTO eb_store_order_address VALUES (1, 'A1', '张三', '13800000000')",
    "INSERT INTO eb_store_refund_order VALUES (1, 'R1', 'A1', 500, '不想要')",
    "INSERT INTO eb_merchant VALUES (1, '小店', '13900000000')",
    "INSERT INTO eb_user VALUES (2, '阿明', '13700000000', 3, 0), (3, '推荐人', '13600000000', 0, 100)"
  ]

  test.skipIf(missing)('runs the statements of its sample scripts as they are', async () => {
    const database = await make()
    await prepare(engine, database.url, tables)
    const shop = open(engine, database.url)
    const one = async (sql: string, ...params: Param[]) => (await rows(shop, sql, ...params))[0]

    expect(await one(SAMPLES.create, 'A1')).toMatchObject({
      order_id: 'A1',
      total_price: 2990,
      mer_name: '小店',
      nickname: '阿明'
    })
    expect(await one(SAMPLES.lines, 'A1')).toEqual({
      product_id: 9,
      product_name: '杯子',
      sku: '红',
      num: 2,
      price: 1495
    })
    expect(await one(SAMPLES.address, 'A1')).toMatchObject({ real_name: '张三', user_phone: '13800000000' })
    expect(await run(shop, SAMPLES.mark, ['E-1', 'A1'])).toMatchObject({ affected: 1 })
    expect(await run(shop, SAMPLES.mark, [null, 'A1'])).toMatchObject({ affected: 1 })
    expect(await value(shop, 'SELECT mark FROM eb_store_order')).toBeNull()
    expect(await one(SAMPLES.shipping, 'A1')).toEqual({
      order_id: 'A1',
      uid: 2,
      phone: '13700000000',
      nickname: '阿明'
    })
    expect(await run(shop, SAMPLES.commission, [3, 7, 250])).toEqual({ affected: 1, insertId: 1 })
    expect(await run(shop, SAMPLES.balance, [250, 3])).toMatchObject({ affected: 1 })
    expect(await one('SELECT brokerage_price FROM eb_user WHERE uid = 3')).toEqual({ brokerage_price: 350 })
    expect(await one('SELECT link_id, price, create_time FROM eb_user_brokerage_record')).toEqual({
      link_id: '7',
      price: 250,
      create_time: expect.stringMatching(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/)
    })
    expect(await one(SAMPLES.refund, 'R1')).toMatchObject({
      refund_order_no: 'R1',
      mer_id: 1,
      alert_phone: '13900000000'
    })
    await shop.close()
    await database.drop()
  })
})

/** Word for word from the event doc. */
const SAMPLES = {
  create: `
SELECT o.*, m.mer_name, u.nickname, u.phone
FROM eb_store_order o
LEFT JOIN eb_merchant m ON o.mer_id = m.id
LEFT JOIN eb_user u ON o.uid = u.uid
WHERE o.order_id = ?
`,
  lines: `
SELECT product_id, product_name, sku, cart_num as num, price
FROM eb_store_order_info
WHERE order_no = ?
`,
  address: `
SELECT * FROM eb_store_order_address
WHERE order_no = ?
`,
  mark: `
UPDATE eb_store_order
SET mark = CONCAT(IFNULL(mark,''), ' ERP:', ?)
WHERE order_id = ?
`,
  shipping: `
SELECT o.order_id, o.uid, u.phone, u.nickname
FROM eb_store_order o
LEFT JOIN eb_user u ON o.uid = u.uid
WHERE o.order_id = ?
`,
  commission: `
INSERT INTO eb_user_brokerage_record
(uid, link_id, link_type, type, title, price, status, create_time)
VALUES (?, ?, 'order', 1, '订单佣金', ?, 1, NOW())
`,
  balance: `
UPDATE eb_user
SET brokerage_price = brokerage_price + ?
WHERE uid = ?
`,
  refund: `
SELECT r.*, o.mer_id, m.mer_name, m.alert_phone
FROM eb_store_refund_order r
LEFT JOIN eb_store_order o ON r.order_no = o.order_id
LEFT JOIN eb_merchant m ON o.mer_id = m.id
WHERE r.refund_order_no = ?
`
}
