import mysql, { type RowDataPacket } from 'mysql2/promise'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { openMysqlShop } from '../../runtime/host/mysql/shop.ts'
import type { Param, Row, ShopDatabase } from '../../runtime/host/shop.ts'
import { parseStatement } from '../../runtime/host/sql/statement.ts'
import { makeMysql, type TestDatabase } from '../support/databases.ts'

const BOUNDS = { rows: 1_000, bytes: 8_000_000 }
const never = new AbortController().signal

/** Takes minutes, without sleeping: no time limit ends it by chance. */
const SLOW = 'SELECT COUNT(*) FROM slow a, slow b, slow c, slow d WHERE a.n + b.n + c.n + d.n > ?'

const reason = inject('mysqlUrl') ? '' : ' (skipped: no mariadbd here and no TEST_MYSQL_URL)'

describe.skipIf(reason)(`the shop on a MySQL server${reason}`, () => {
  let database: TestDatabase
  let shop: ShopDatabase
  let admin: mysql.Connection

  beforeAll(async () => {
    database = await makeMysql()
    admin = await mysql.createConnection(database.url)
    await admin.query('CREATE TABLE account (id INT PRIMARY KEY, money INT)')
    await admin.query('INSERT INTO account VALUES (1, 100), (2, 100)')
    await admin.query('CREATE TABLE slow (n INT)')
    await admin.query(`INSERT INTO slow VALUES ${Array.from({ length: 1_000 }, (_, n) => `(${n})`).join()}`)
    shop = openMysqlShop(database.url, { connections: 2 })
  })
  afterAll(async () => {
    await shop?.close()
    await admin?.end()
    await database?.drop()
  })

  const run = (sql: string, params: Param[] = [], signal = never) =>
    shop.run(parseStatement(sql), params, { bounds: BOUNDS, signal })
  const rows = async (sql: string, ...params: Param[]) => ((await run(sql, params)) as { rows: Row[] }).rows
  const running = async (): Promise<number> => {
    const [list] = await admin.query<RowDataPacket[]>(
      "SELECT ID FROM information_schema.PROCESSLIST WHERE INFO LIKE '%slow a%' AND ID <> CONNECTION_ID()"
    )
    return list.length
  }
  const until = async (wanted: number) => expect.poll(running, { interval: 20 }).toBe(wanted)

  test('stops a statement on the server when its run ends, and gives the next one a clean connection', async () => {
    const end = new AbortController()
    const statement = run(SLOW, [0], end.signal)
    const failure = expect(statement).rejects.toMatchObject({
      code: 'DB_ERROR',
      message: expect.stringContaining('run has ended')
    })
    await until(1)
    end.abort(new Error('time limit'))
    await failure
    await until(0)
    expect(await Promise.all([1, 2, 3].map(n => rows('SELECT ? AS n', n)))).toEqual([
      [{ n: 1 }],
      [{ n: 2 }],
      [{ n: 3 }]
    ])
  })

  test('rolls a transaction back at once when its run ends in a statement', async () => {
    const end = new AbortController()
    const transaction = await shop.begin(end.signal)
    const options = { bounds: BOUNDS, signal: end.signal }
    await transaction.run(parseStatement('UPDATE account SET money = 0 WHERE id = 1'), [], options)
    const failure = expect(transaction.run(parseStatement(SLOW), [0], options)).rejects.toMatchObject({
      code: 'DB_ERROR'
    })
    await until(1)
    end.abort(new Error('time limit'))
    await failure
    await transaction.rollback()
    await until(0)
    expect(await run('UPDATE account SET money = 100 WHERE id = 1')).toMatchObject({ affected: 1 })
  })

  test('gives a deadlock to one of two transactions, which cannot commit then', async () => {
    const move = (from: number) => ({
      statement: parseStatement('UPDATE account SET money = money - 1 WHERE id = ?'),
      params: [from]
    })
    const options = { bounds: BOUNDS, signal: never }
    const [left, right] = [await shop.begin(never), await shop.begin(never)]
    await left.run(move(1).statement, move(1).params, options)
    await right.run(move(2).statement, move(2).params, options)
    const results = await Promise.allSettled([
      left.run(move(2).statement, move(2).params, options),
      right.run(move(1).statement, move(1).params, options).catch(async error => {
        await expect(right.run(parseStatement('SELECT 1'), [], options)).rejects.toMatchObject({ code: 'DB_CONFLICT' })
        await expect(right.commit()).rejects.toMatchObject({ code: 'DB_CONFLICT' })
        throw error
      })
    ])
    await left.rollback()
    await right.rollback()
    expect(results.filter(({ status }) => status === 'rejected')).toMatchObject([
      { reason: { code: 'DB_CONFLICT', data: { errno: 1213 } } }
    ])
    expect(await rows('SELECT SUM(money) AS total FROM account')).toEqual([{ total: 200 }])
  })

  test('forgets variables before the next run gets the connection', async () => {
    await run("SELECT @token := 'secret' AS token")
    const seen = await Promise.all([1, 2, 3, 4].map(() => rows('SELECT @token AS token')))
    expect(new Set(seen.flat().map(({ token }) => token))).toEqual(new Set([null]))
  })

  test('keeps its own limits after a connection was reset', async () => {
    await run('SELECT @x AS x')
    expect(await rows('SELECT @@innodb_lock_wait_timeout AS wait, @@max_statement_time AS time')).toEqual([
      { wait: 5, time: 35 }
    ])
  })

  test('has the server itself end what runs too long, with the limit of whoever runs it', async () => {
    const limited = (sql: string, params: Param[], serverMs?: number) =>
      shop.run(parseStatement(sql), params, { bounds: BOUNDS, signal: never, ...(serverMs ? { serverMs } : {}) })
    await expect(limited(SLOW, [0], 200)).rejects.toMatchObject({ code: 'DB_ERROR', data: { errno: 1969 } })
    const time = 'SELECT @@max_statement_time AS time'
    expect(await limited(time, [], 30_000)).toEqual({ rows: [{ time: 30 }] })
    expect(await limited(time, [])).toEqual({ rows: [{ time: expect.toSatisfy(seconds => seconds >= 20) }] })
    expect(await limited(time, [], 250)).toEqual({ rows: [{ time: 0.25 }] })
  })

  test('ends a connection whose result is past its bounds, and goes on with others', async () => {
    const before = await rows('SELECT CONNECTION_ID() AS id')
    await expect(run('SELECT a.n, b.n AS m FROM slow a, slow b')).rejects.toMatchObject({ code: 'HOOK_DB_LIMIT' })
    await until(0)
    expect(await rows('SELECT CONNECTION_ID() AS id')).not.toEqual(before)
  })

  test.each([
    ['230.10', 230.1],
    ['-0.50', -0.5],
    ['1000000.00', 1_000_000],
    ['12345678901234567890.12', '12345678901234567890.12'],
    ['99999999999999999.00', '99999999999999999.00'],
    ['9007199254740991.00', 9_007_199_254_740_991]
  ])('gives the decimal %s as a number only when that is exact', async (decimal, expected) => {
    expect(await rows('SELECT CAST(? AS DECIMAL(30,2)) AS d', decimal)).toEqual([{ d: expected }])
  })

  test('reads quotes as the parser does, whatever the server is set to', async () => {
    await admin.query("SET GLOBAL sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,STRICT_TRANS_TABLES'")
    const other = openMysqlShop(database.url, { connections: 1 })
    const tricky = "\\' OR 1 = 1 -- "
    const answer = await other.run(parseStatement('SELECT "a\\"b" AS a, ? AS b'), [tricky], {
      bounds: BOUNDS,
      signal: never
    })
    await other.close()
    await admin.query('SET GLOBAL sql_mode = DEFAULT')
    expect(answer).toEqual({ rows: [{ a: 'a"b', b: tricky }] })
  })

  test('refuses values that the server would break off the connection for', async () => {
    const values = Array.from({ length: 3 }, () => 'x'.repeat(3_000_000))
    await expect(run('SELECT ?, ?, ?', values)).rejects.toMatchObject({ code: 'ARGUMENT_INVALID' })
  })

  test('does not tell a script the account that is refused', async () => {
    await admin.query("CREATE USER IF NOT EXISTS 'narrow'@'%' IDENTIFIED BY 'x'")
    await admin.query(`GRANT SELECT ON ${new URL(database.url).pathname.slice(1)}.account TO 'narrow'@'%'`)
    const url = new URL(database.url)
    url.username = 'narrow'
    url.password = 'x'
    const narrow = openMysqlShop(url.href, { connections: 1 })
    const refused = narrow.run(parseStatement('SELECT n FROM slow'), [], { bounds: BOUNDS, signal: never })
    await expect(refused).rejects.toMatchObject({
      code: 'DB_ERROR',
      message: expect.not.stringMatching(/narrow|127\.0/)
    })
    await narrow.close()
    await admin.query("DROP USER 'narrow'@'%'")
  })

  test('says that a server does not answer', async () => {
    const nowhere = openMysqlShop('mysql://root@127.0.0.1:1/none', { connections: 1 })
    await expect(nowhere.ping()).rejects.toMatchObject({ code: 'DB_UNAVAILABLE' })
    await nowhere.close()
  })

  test('recovers when the server has closed its idle connections', async () => {
    await rows('SELECT 1')
    const [list] = await admin.query<RowDataPacket[]>(
      'SELECT ID FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() AND DB = DATABASE()'
    )
    for (const { ID } of list) await admin.query(`KILL ${ID}`)
    await expect.poll(async () => (await rows('SELECT 1 AS one').catch(() => [])).length, { interval: 20 }).toBe(1)
  })
})
