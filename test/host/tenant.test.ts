import { globSync, readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Param, StatementRunner } from '../../runtime/host/shop.ts'
import { createAccess } from '../../runtime/host/sql/access.ts'
import { createTables } from '../../runtime/host/sql/tables.ts'
import { engines } from '../support/databases.ts'
import type { TestShop } from '../support/run-hook.ts'
import { access, allOf, MINE, openWorld, type Seen, TABLES, tryOut } from './tenant-world.ts'

const denial = (sql: string, ...params: Param[]): string => {
  try {
    access(MINE)(sql).bind(params)
  } catch (error) {
    expect(error).toMatchObject({ code: 'DB_DENIED' })
    return (error as Error).message
  }
  throw new Error('It was not refused')
}

const LINE =
  'INSERT INTO eb_store_order_info (order_no, product_id, product_name, cart_num, price) VALUES (?, 1, ?, 1, 1)'
const REFUND =
  'INSERT INTO eb_store_refund_order (refund_order_no, order_no, uid, refund_price, create_time) VALUES (?, ?, 1, ?, NOW())'

describe('what a merchant’s statement is refused with', () => {
  test.each<[string, string, ...Param[]]>([
    ['SELECT * FROM secrets', 'The table secrets is not open to merchants: config/tables.json declares'],
    ['SELECT * FROM other.eb_store_order', 'named with its schema'],
    ['UPDATE eb_user SET phone = 1', 'Merchants may read eb_user and not change it'],
    ['UPDATE eb_store_order SET mer_id = 8', 'eb_store_order.mer_id decides whose rows these are'],
    [
      'INSERT INTO eb_store_order (order_id, uid, create_time) VALUES (1, 2, 3)',
      'eb_store_order.order_id decides whose'
    ],
    ['INSERT INTO eb_store_refund_order VALUES (1)', 'Name the columns'],
    ['INSERT INTO eb_store_order_info (product_id) VALUES (1)', 'eb_store_order_info.order_no has to be set'],
    [LINE.replace('?', "CONCAT('F', 2)"), 'has to be a plain value or a parameter'],
    ['INSERT INTO eb_store_refund_order (mer_id) VALUES (?)', 'A row of another merchant than 7 cannot be made', 8],
    ['REPLACE INTO eb_store_refund_order (id) VALUES (1)', 'use INSERT … ON DUPLICATE KEY UPDATE'],
    ['SELECT * FROM eb_store_order FORCE INDEX (a)', 'Hints of how to run a statement'],
    ['SELECT steal(1)', 'The function steal is not open to merchants'],
    ['SELECT +1', 'say it in a simpler way']
  ])('%s', (sql, message, ...params) => {
    expect(denial(sql, ...params)).toContain(message)
  })

  test('a merchant without a number has no rows', () => {
    expect(() => access('acme')('SELECT * FROM eb_store_order')).toThrow('The merchant acme has no number')
    expect(() => access('7 OR 1 = 1')('SELECT * FROM eb_store_order')).toThrow('has no number')
    expect(() => access('acme')(LINE)).toThrow('has no number')
    expect(access('acme')('SELECT 1').statement.sql).toBe('SELECT 1 AS `1`')
  })
})

describe('the platform’s statements', () => {
  test.each([
    ['SELECT * FROM sandhook_tokens', 'belongs to the runtime'],
    ['SELECT * FROM `HOOK_EFFECTS`', 'belongs to the runtime'],
    ['SELECT * FROM information_schema.tables', 'the server’s own'],
    ['SELECT @a', 'The variable @a is not allowed'],
    ['SELECT `sleep`(1)', 'The function SLEEP is not allowed'],
    ["SELECT GET_LOCK('a', 1)", 'The function GET_LOCK is not allowed']
  ])('%s is refused', (sql, message) => {
    expect(() => access(null)(sql)).toThrow(message)
  })

  test('are otherwise what they are', () => {
    const sql = 'SELECT u.version, sleep FROM anything AS user'
    expect(access(null)(sql).statement.sql).toBe(sql)
  })
})

describe('config/tables.json', () => {
  test.each<[string, Parameters<typeof createTables>[0], string]>([
    ['a link to nowhere', { a: { link: 'b', to: 'c.d' } }, 'a: c.d leads to no table'],
    ['a link in a circle', { a: { link: 'b', to: 'c.d' }, c: { link: 'd', to: 'a.b' } }, 'lead in a circle'],
    ['a link to everybody’s', { a: { link: 'b', to: 'c.d' }, c: { shared: 'read' } }, 'nobody owns']
  ])('with %s stops the start', (_, config, message) => {
    expect(() => createTables(config)).toThrow(message)
  })

  test('may lead over several tables, and open one to everybody', () => {
    const tables = createTables({
      orders: { tenant: 'mer_id' },
      lines: { link: 'order_id', to: 'orders.id' },
      parts: { link: 'line_id', to: 'lines.id' },
      regions: { shared: 'read' }
    })
    const read = createAccess(tables)(7)
    const { statement, bind } = read('SELECT * FROM parts p, regions WHERE p.id = ?')
    expect(statement.sql).toContain(
      'sandhook_0.`line_id` IN (SELECT sandhook_1.`id` FROM `lines` AS sandhook_1 WHERE sandhook_1.`order_id` IN (SELECT sandhook_2.`id` FROM `orders` AS sandhook_2 WHERE sandhook_2.`mer_id` = ?))'
    )
    expect(statement.sql).toContain('`regions` AS `regions`')
    expect(bind([5])).toEqual([7, 5])
    expect(() => read('UPDATE regions SET a = 1')).toThrow('may read regions and not change it')
  })
})

/** The statements of the document's samples and of the hooks that we ship, as far as they stand there in one piece. */
const SHIPPED = [...globSync('test/contract/samples/*.js'), ...globSync('hooks/**/*.js')].flatMap(file =>
  [...readFileSync(file, 'utf8').matchAll(/db\.\w+\(\s*(?:`([^`$]+)`|'([^'$]+)')/g)].map(
    ([, a, b]) => (a ?? b) as string
  )
)

const MORE = [
  "SELECT CAST(price AS DECIMAL(10,2)) AS p, CONVERT(price, CHAR(3)), TRIM(LEADING 'o' FROM sku) AS `a b` FROM eb_store_order_info",
  'SELECT price*2, COUNT( * ), SUM(price) AS "s" FROM eb_store_order_info GROUP BY price HAVING SUM(price) > 1 ORDER BY 1 LIMIT ?, 5',
  'SELECT o.*, i.sku FROM eb_store_order o LEFT JOIN eb_store_order_info i ON i.order_no = o.order_id AND LENGTH(i.sku) > 100',
  "SELECT o.id FROM eb_store_order o LEFT JOIN eb_store_order_info i ON i.order_no = o.order_id AND 1 = 0 WHERE IFNULL(i.sku, 'none') = 'none'",
  "SELECT o.id FROM eb_merchant m, eb_store_order o JOIN eb_store_order_info i ON CONCAT(i.sku, '') = o.mark",
  'SELECT * FROM eb_store_order JOIN eb_store_order_info USING (id) WHERE CONCAT(mark, 1) <> ?',
  'SELECT (SELECT COUNT(*) FROM eb_store_order_info i WHERE i.order_no = o.order_id) AS n FROM eb_store_order o',
  "SELECT id FROM eb_store_order WHERE mark <=> 'own' AND mark REGEXP '^o' AND mark NOT REGEXP 'x' AND NOT mark LIKE '50\\%'",
  'WITH c AS (SELECT order_no, SUM(price) AS s FROM eb_store_order_info GROUP BY order_no) SELECT c.s + 1 AS t FROM c WHERE c.s + 1 > 1',
  'WITH RECURSIVE c AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM c WHERE n < 5) SELECT * FROM c',
  "SELECT * FROM (SELECT CONCAT(sku, 'x') AS v FROM eb_store_order_info) d WHERE d.v = 'ownx'",
  'SELECT order_id FROM eb_store_order WHERE order_id IN (SELECT order_no FROM eb_store_order_info WHERE price * 2 > 10)',
  'SELECT mark FROM eb_store_order UNION SELECT sku FROM eb_store_order_info ORDER BY 1 DESC',
  'SELECT ROW_NUMBER() OVER (ORDER BY price DESC) AS r, sku FROM eb_store_order_info',
  "SELECT CASE WHEN price > 5 THEN 'much' ELSE 'little' END, IF(price > 5, 1, 2), 'it''s' AS i, \"x\", 0x41 FROM eb_store_order_info",
  'SELECT id FROM eb_store_order WHERE create_time > NOW() - INTERVAL 90 YEAR AND YEAR(create_time) = 2024 FOR UPDATE',
  "UPDATE eb_store_order o SET o.mark = CONCAT(IFNULL(o.mark, ''), ?) WHERE o.order_id = 'M1' ORDER BY o.id LIMIT 1",
  'UPDATE eb_store_order_info SET price = price + 1 WHERE LENGTH(sku) = 3 AND order_no IN (SELECT order_id FROM eb_store_order)',
  "DELETE FROM eb_store_order_info WHERE sku = 'own' OR price > 5",
  "INSERT INTO eb_store_order_info (order_no, product_id, product_name, cart_num, price) VALUES ('M1', 5, CONCAT('a', ?), 1, 2), ('M1', 6, 'it\\'s', 1, 2)",
  "INSERT INTO eb_store_refund_order (refund_order_no, order_no, uid, mer_id, refund_price, create_time) VALUES ('N', 'M1', 1, 7, 2, '2024-01-01') ON DUPLICATE KEY UPDATE refund_price = 5",
  "INSERT INTO eb_store_refund_order (refund_order_no, order_no, uid, mer_id, refund_price, create_time) VALUES ('RM1', 'M1', 1, 7, 2, '2024-01-01') ON DUPLICATE KEY UPDATE refund_price = refund_price + VALUES(refund_price)",
  "INSERT IGNORE INTO eb_store_refund_order (refund_order_no, order_no, uid, mer_id, refund_price, create_time) VALUES ('RM1', 'M1', 1, 7, 2, '2024-01-01')"
]

/** Rows in any order where the statement asks for none, without the numbers that a counter gave, and failures by code. */
function spoken(sql: string, { seen, found }: { seen: Seen[]; found: string }): string {
  const rest = /^INSERT/.test(sql) ? found.replace(/"id":\d+/g, '') : found
  const [one] = seen
  if (!one || !('value' in one)) return JSON.stringify([one?.code, rest])
  if (!Array.isArray(one.value)) return JSON.stringify([one.value, rest]).replace(/"insertId":(\d+|null)/, '')
  const rows = one.value.map(row => JSON.stringify(row))
  return JSON.stringify([/ORDER BY/.test(sql) ? rows : rows.sort(), rest])
}

/** Every table of the shipped statements, as if all of it had a tenant. */
const OPEN = createTables({
  ...Object.fromEntries(TABLES.filter(name => /order$/.test(name)).map(name => [name, { tenant: 'mer_id' }])),
  eb_merchant: { tenant: 'id' },
  eb_store_order_info: { link: 'order_no', to: 'eb_store_order.order_id' },
  eb_store_order_address: { link: 'order_no', to: 'eb_store_order.order_id' },
  eb_store_order_status: { link: 'oid', to: 'eb_store_order.id' },
  eb_user: { link: 'uid', to: 'eb_store_order.uid' },
  eb_user_brokerage_record: { link: 'uid', to: 'eb_store_order.uid' }
})

describe.each(engines)('on $name', ({ missing, ...entry }) => {
  describe.skipIf(missing)('a merchant', () => {
    let shop: TestShop

    beforeAll(async () => {
      shop = await openWorld({ missing, ...entry }, 'foreign', 5)
    })
    afterAll(() => shop?.close())

    const tryAs = async (...statements: [string, ...Param[]][]) => {
      const { seen } = await tryOut(shop, access(MINE), statements)
      return seen
    }

    test('inserts rows that are its own, whether it says so or not', async () => {
      const columns = 'refund_order_no, order_no, uid, refund_price, create_time'
      expect(
        await tryAs(
          [REFUND, 'N1', 'M1', 1],
          [`INSERT INTO eb_store_refund_order (${columns}, mer_id) VALUES ('N2', 'M1', 1, 1, NOW(), ?)`, '7'],
          [
            "INSERT INTO eb_store_refund_order SET refund_order_no = 'N3', order_no = 'M1', uid = 1, refund_price = 1, create_time = NOW()"
          ],
          [
            `INSERT INTO eb_store_refund_order (${columns}) SELECT CONCAT('N', id), order_id, uid, 2, NOW() FROM eb_store_order WHERE id = ?`,
            1
          ],
          ["SELECT refund_order_no AS n, mer_id FROM eb_store_refund_order WHERE refund_order_no LIKE 'N%' ORDER BY 1"]
        )
      ).toMatchObject([
        ...[{ value: { affected: 1 } }, { value: { affected: 1 } }, { value: { affected: 1 } }],
        { code: 'DB_ERROR' },
        { value: ['N1', 'N2', 'N3'].map(n => ({ n, mer_id: 7 })) }
      ])
    })

    test('adds lines to its own orders only', async () => {
      expect(await tryAs([LINE, 'M1', 'x'], [LINE, 'F2', 'x'], [LINE, 'none', 'x'], [LINE, null, 'x'])).toMatchObject([
        { value: { affected: 1 } },
        ...Array(3).fill({
          code: 'DB_DENIED',
          message: expect.stringContaining('has to lead to a row of the merchant')
        })
      ])
    })

    test('adds lines to at most a hundred orders at once', async () => {
      const rows = (count: number) => Array(count).fill("(?, 1, 'x', 1, 1)").join()
      const many = (count: number) => LINE.replace('(?, 1, ?, 1, 1)', rows(count))
      const numbers = Array.from({ length: 101 }, (_, index) => `M${index}`)
      const [tooMany, alike] = await tryAs([many(101), ...numbers], [many(200), ...Array(200).fill('M1')])
      expect(tooMany).toMatchObject({ code: 'DB_DENIED', message: expect.stringContaining('at most 100') })
      expect(alike).toMatchObject({ value: { affected: 200 } })
    })

    // SQLite has no locks of rows.
    if (entry.engine === 'mysql')
      test('locks its own rows, and only those that it asks for', async () => {
        const run = (on: StatementRunner, sql: string) =>
          on.run(access(MINE)(sql).statement, access(MINE)(sql).bind([]), {
            bounds: { rows: 10, bytes: 10_000 },
            signal: AbortSignal.timeout(10_000)
          })
        const [holder, other] = await Promise.all([1, 2].map(() => shop.database.begin(AbortSignal.timeout(10_000))))
        if (!holder || !other) throw new Error('There are two transactions')
        try {
          await run(holder, 'SELECT * FROM eb_store_order WHERE id = 1 AND LENGTH(order_id) = 2 FOR UPDATE')
          const locked = run(other, "SELECT id FROM eb_store_order WHERE order_id = 'M1' FOR UPDATE NOWAIT")
          await expect(locked).rejects.toMatchObject({ code: 'DB_CONFLICT' })
          const rest = await shop.sql("SELECT id FROM eb_store_order WHERE order_id = 'F2' FOR UPDATE NOWAIT")
          expect(rest).toHaveLength(1)
        } finally {
          await Promise.all([holder.rollback(), other.rollback()])
        }
      })

    test('counts only its own rows as changed', async () => {
      expect(
        await tryAs(
          ['UPDATE eb_store_order SET status = 9'],
          ['UPDATE eb_store_order_info SET price = 9 WHERE price > 0 OR 1'],
          ['DELETE FROM eb_store_order_status'],
          ['UPDATE eb_user SET status = 0'],
          ['SELECT COUNT(*) AS n FROM eb_user']
        )
      ).toMatchObject([
        ...[{ value: { affected: 1 } }, { value: { affected: 1 } }, { value: { affected: 1 } }],
        ...[{ code: 'DB_DENIED' }, { value: [{ n: 1 }] }]
      ])
    })

    test('does not touch another’s row by a key, nor hear its id', async () => {
      const upsert = `${REFUND} ON DUPLICATE KEY UPDATE refund_price = 0`
      const [seen] = await tryAs([upsert, 'RF2', 'M1', 1])
      expect(seen).toMatchObject({ value: { insertId: null } })
    })

    test('hears of a failure without what others’ rows say', async () => {
      const [seen] = await tryAs(["UPDATE eb_store_refund_order SET refund_order_no = 'RF2'"])
      expect(JSON.stringify(seen)).not.toContain('foreign')
      expect(seen).toMatchObject({ code: 'DB_ERROR', message: expect.stringContaining('Duplicate entry') })
    })

    test('that owns everything gets what the platform gets', async () => {
      await shop.sql('UPDATE eb_store_order SET mer_id = 7')
      await shop.sql('UPDATE eb_store_refund_order SET mer_id = 7')
      await shop.sql('DELETE FROM eb_merchant WHERE id <> 7')
      const read = createAccess(OPEN)
      const different: unknown[] = []
      let alike = 0
      for (const sql of new Set([...SHIPPED, ...MORE])) {
        // Tables that this shop has not, and rows of the platform's, which no merchant makes.
        if (/\b(haidian|purchase|qimen|sms|notify)_\w+|INSERT INTO eb_user/.test(sql)) continue
        const params = (sql.match(/\?/g) ?? []).map((_, index) => (/LIMIT \?/.test(sql) ? 0 : index === 0 ? 'M1' : 1))
        const platform = await tryOut(shop, read(null), [[sql, ...params]], allOf)
        const merchant = await tryOut(shop, read(MINE), [[sql, ...params]], allOf)
        if ('value' in (platform.seen[0] ?? {})) alike++
        if (spoken(sql, merchant) !== spoken(sql, platform))
          different.push({ sql, merchant: merchant.seen, platform: platform.seen })
      }
      expect(different).toEqual([])
      expect(alike).toBeGreaterThan(50)
    })
  })
})
