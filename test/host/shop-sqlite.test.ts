import { readFileSync } from 'node:fs'
import Database from 'better-sqlite3'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Param, Row, ShopDatabase } from '../../runtime/host/shop.ts'
import { parseStatement } from '../../runtime/host/sql/statement.ts'
import { startSession } from '../../runtime/host/sqlite/session.ts'
import { openSqliteShop } from '../../runtime/host/sqlite/shop.ts'
import { translate } from '../../runtime/host/sqlite/translate.ts'
import { makeSqlite, type TestDatabase } from '../support/databases.ts'

const BOUNDS = { rows: 1_000, bytes: 8_000_000 }
const never = new AbortController().signal

let database: TestDatabase
let file: string
let shop: ShopDatabase

beforeEach(async () => {
  database = await makeSqlite()
  file = database.url.slice('sqlite:'.length)
  shop = openSqliteShop(file)
  const connection = new Database(file)
  connection.exec('CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER UNIQUE, b TEXT)')
  connection.exec('CREATE TABLE u (id INTEGER PRIMARY KEY, a INTEGER)')
  connection.close()
})
afterEach(async () => {
  await shop.close()
  await database.drop()
})

const run = (sql: string, ...params: Param[]) =>
  shop.run(parseStatement(sql), params, { bounds: BOUNDS, signal: never })
const rows = async (sql: string, ...params: Param[]) => ((await run(sql, ...params)) as { rows: Row[] }).rows

test.each([
  ['SELECT a FROM t WHERE b = "x" FOR UPDATE', "SELECT a FROM t WHERE b = 'x'"],
  ['SELECT a FROM t USE INDEX (i) LOCK IN SHARE MODE', 'SELECT a FROM t'],
  ['INSERT IGNORE INTO t (a) VALUES (?)', 'INSERT OR IGNORE INTO t (a) VALUES (?)'],
  ['INSERT INTO t SET a = 1, b = CONCAT(?, 2)', 'INSERT INTO t (a, b) VALUES ( 1, CONCAT(?, 2))'],
  ['UPDATE t x SET x.a = 1, x.b = ? WHERE x.id = 2', 'UPDATE t AS x SET `a` = 1, `b` = ? WHERE x.`id` = 2'],
  ['(SELECT 1) UNION DISTINCT (SELECT 2)', 'SELECT * FROM (SELECT 1) UNION SELECT * FROM (SELECT 2)'],
  ['SELECT COUNT(*) FROM t', 'SELECT COUNT(*) FROM t']
])('writes %s for SQLite', (sql, expected) => {
  expect(translate(parseStatement(sql)).replace(/\s+/g, ' ').trim()).toBe(expected)
})

test.each([
  ['a XOR b', 'SELECT 1 XOR 0', 'XOR'],
  ['variables', 'SELECT @a', 'the variable @a'],
  ['an UPDATE over two tables', 'UPDATE t JOIN u ON t.a = u.a SET t.b = 1', 'UPDATE over several tables'],
  ['a DELETE over two tables', 'DELETE t FROM t JOIN u ON t.a = u.a', 'DELETE over several tables'],
  ['WITH ROLLUP', 'SELECT a, COUNT(*) FROM t GROUP BY a WITH ROLLUP', 'WITH ROLLUP'],
  ['DEFAULT as a value', 'INSERT INTO t (a) VALUES (DEFAULT)', 'DEFAULT as a value'],
  ['what would fill the memory', 'SELECT zeroblob(1000000000)', 'the function ZEROBLOB']
])('refuses %s with a remedy', async (_, sql, what) => {
  await expect(run(sql)).rejects.toMatchObject({
    code: 'DB_ERROR',
    message: expect.stringMatching(new RegExp(`^The embedded database \\(SQLite\\) does not know ${what}: .`))
  })
})

test.each([
  ['SELECT a / 2, COUNT(*) AS n FROM t GROUP BY a', ['a / 2', 'n']],
  ['SELECT t.a, "x", NOW(), a + 1 c FROM t', ['a', 'x', 'NOW()', 'c']],
  ['SELECT DISTINCT IF(a > 1, "y", "n") FROM t', ['IF(a > 1, "y", "n")']],
  ['SELECT 1 - 1/2', ['1 - 1/2']]
])('names the columns of %s as MySQL does', async (sql, names) => {
  await run('INSERT INTO t (a) VALUES (5)')
  expect(Object.keys((await rows(sql))[0] as Row)).toEqual(names)
})

test('runs an upsert from a query', async () => {
  await run('INSERT INTO t (a, b) VALUES (1, ?), (2, ?)', 'x', 'y')
  await run('INSERT INTO u (a) VALUES (2), (3)')
  const upsert = "INSERT INTO t (a, b) SELECT a, 'new' FROM u ON DUPLICATE KEY UPDATE b = CONCAT(b, '+', VALUES(b))"
  await run(upsert)
  expect(await rows('SELECT a, b FROM t ORDER BY a')).toEqual([
    { a: 1, b: 'x' },
    { a: 2, b: 'y+new' },
    { a: 3, b: 'new' }
  ])
})

test('keeps whole numbers whole in a text column', async () => {
  await run('INSERT INTO t (a, b) VALUES (1, ?), (2, CONCAT(FLOOR(5.5), LENGTH(?)))', 9_000_000_000, 'abc')
  expect(await rows('SELECT b FROM t')).toEqual([{ b: '9000000000' }, { b: '53' }])
})

test('ends a recursion that would never end', async () => {
  const endless = 'WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) AS c FROM n'
  expect(await rows(endless)).toEqual([{ c: 100_000 }])
})

test.each([
  ['REPEAT', "SELECT REPEAT('x', 1000000000)"],
  ['REPLACE', "SELECT REPLACE(REPEAT('x', 4000000), 'x', REPEAT('y', 1000))"],
  ['LPAD', "SELECT LPAD('x', 1000000000, 'y')"]
])('refuses what %s would fill the memory with', async (_, sql) => {
  await expect(run(sql)).rejects.toMatchObject({
    code: 'DB_ERROR',
    message: expect.stringContaining('4000000 characters')
  })
})

test('cannot be made to hang by a pattern', async () => {
  const subject = `${'a'.repeat(40)}!`
  const before = performance.now()
  expect(
    await rows("SELECT ? REGEXP '^(a+)+$' AS r, ? LIKE ? AS l", subject, 'a'.repeat(5_000), `${'%a'.repeat(20)}b`)
  ).toEqual([{ r: 0, l: 0 }])
  expect(performance.now() - before).toBeLessThan(10_000)
  await expect(run("SELECT 'aa' REGEXP '(a)\\\\1'")).rejects.toMatchObject({ code: 'DB_ERROR' })
})

test('gives writers their turn in order, and readers theirs at once', async () => {
  const order: string[] = []
  const first = await shop.begin(never)
  const second = shop.begin(never).then(async transaction => {
    order.push('second')
    await transaction.rollback()
  })
  const third = run('INSERT INTO t (a) VALUES (3)').then(() => order.push('third'))
  await rows('SELECT 1')
  order.push('read')
  await first.commit()
  await Promise.all([second, third])
  expect(order).toEqual(['read', 'second', 'third'])
})

test('a hook that wants to write again and again lets others write between', async () => {
  const order: string[] = []
  const first = await shop.begin(never, 'a')
  const write = async (hook: string, what: string) => {
    const transaction = await shop.begin(never, hook)
    order.push(what)
    await transaction.commit()
  }
  const all = [write('a', 'a2'), write('a', 'a3'), write('b', 'b1'), write('b', 'b2')]
  await first.commit()
  await Promise.all(all)
  expect(order).toEqual(['b1', 'a2', 'b2', 'a3'])
})

test('who gives up waiting leaves its place to the next of its hook', async () => {
  const first = await shop.begin(never, 'a')
  const end = new AbortController()
  const [gone, next] = [shop.begin(end.signal, 'a'), shop.begin(never, 'a')]
  end.abort(new Error('time limit'))
  await expect(gone).rejects.toMatchObject({ code: 'DB_ERROR' })
  await first.rollback()
  await (await next).commit()
})

test('waits, without blocking, for another program that writes', async () => {
  const other = new Database(file)
  other.exec('BEGIN IMMEDIATE')
  const written = run('INSERT INTO t (a) VALUES (1)')
  await rows('SELECT 1')
  other.exec('COMMIT')
  other.close()
  expect(await written).toMatchObject({ affected: 1 })
})

test('gives the turn on when a statement or a wait fails', async () => {
  const other = new Database(file)
  other.exec('BEGIN IMMEDIATE')
  const end = new AbortController()
  const waiting = shop.begin(end.signal)
  await rows('SELECT 1')
  end.abort(new Error('time limit'))
  await expect(waiting).rejects.toMatchObject({ code: 'DB_ERROR' })
  other.exec('COMMIT')
  other.close()
  await expect(run('INSERT INTO t (nope) VALUES (1)')).rejects.toMatchObject({ code: 'DB_ERROR' })
  expect(await run('INSERT INTO t (a) VALUES (1)')).toMatchObject({ affected: 1 })
})

/** Would take longer than anyone lives. */
const ENDLESS = `SELECT COUNT(*) AS n FROM ${Array.from({ length: 9 }, (_, i) => `t AS t${i}`).join(', ')}`
const fill = async () => {
  for (let i = 0; i < 100; i++) await run('INSERT INTO t (a) VALUES (?)', i)
}
const bounded = (sql: string, options: { hook?: string; serverMs?: number; signal?: AbortSignal } = {}) =>
  shop.run(parseStatement(sql), [], { bounds: BOUNDS, signal: never, ...options })

describe('a statement without an end', () => {
  beforeEach(fill)

  test('is ended by its limit, as MariaDB says it; nobody else waits for it', async () => {
    const hostile = { hook: 'hostile', serverMs: 500 }
    const ends = Promise.allSettled([bounded(ENDLESS, hostile), bounded(ENDLESS, hostile)])
    for (let i = 0; i < 20; i++)
      expect(await bounded('SELECT 1 AS n', { hook: 'other', serverMs: 60_000 })).toEqual({ rows: [{ n: 1 }] })
    for (const end of await ends)
      expect(end).toMatchObject({
        reason: {
          ...{ code: 'DB_ERROR', data: { errno: 1969 } },
          message: expect.stringContaining('gives a statement 0.5 s): select fewer rows, or add an index')
        }
      })
    expect(await rows('SELECT COUNT(*) AS n FROM t')).toEqual([{ n: 100 }])
  })

  test.each([
    ['gathers', 'SELECT JSON_GROUP_ARRAY(a.a) FROM', ''],
    ['groups', 'SELECT a.a FROM', 'GROUP BY RAND() LIMIT 1']
  ])('is ended when it %s more than memory holds', async (_, select, rest) => {
    const tables = ['a', 'b', 'c', 'd', 'e'].map(name => `t AS ${name}`).join(', ')
    const session = startSession(file, 'read')
    const sql = `${select} ${tables} ${rest}`
    const statement = session.ask({ do: 'read', sql, params: [], bounds: BOUNDS, within: false }, { limitMs: 600_000 })
    await expect(statement).rejects.toMatchObject({ code: 'DB_ERROR', message: expect.stringContaining('memory') })
    expect(session.alive).toBe(false)
  })

  test('is ended when its run is over', async () => {
    const end = new AbortController()
    const statement = bounded(ENDLESS, { signal: end.signal })
    await rows('SELECT 1')
    end.abort(new Error('time limit'))
    await expect(statement).rejects.toMatchObject({ code: 'DB_ERROR' })
    expect(await Promise.all([rows('SELECT 1 AS n'), rows('SELECT 2 AS n')])).toEqual([[{ n: 1 }], [{ n: 2 }]])
  })

  test('undoes the transaction that it is in, and the next writer goes on', async () => {
    const options = { bounds: BOUNDS, signal: never, serverMs: 300 }
    const transaction = await shop.begin(never)
    await transaction.run(parseStatement('UPDATE t SET b = "x"'), [], options)
    await expect(
      transaction.run(parseStatement(`UPDATE t SET b = (${ENDLESS.replace('AS n', '')})`), [], options)
    ).rejects.toMatchObject({ code: 'DB_ERROR' })
    await expect(transaction.run(parseStatement('SELECT 1'), [], options)).rejects.toMatchObject({
      code: 'DB_CONFLICT'
    })
    await expect(transaction.commit()).rejects.toMatchObject({ code: 'DB_CONFLICT' })
    expect(await run('UPDATE t SET a = a + 1000')).toMatchObject({ affected: 100 })
    expect(await rows('SELECT COUNT(b) AS n FROM t')).toEqual([{ n: 0 }])
  })
})

test('a connection whose process is killed is opened anew', async () => {
  await run('INSERT INTO t (a) VALUES (1)')
  const transaction = await shop.begin(never)
  await rows('SELECT 1')
  const processes = readFileSync(`/proc/${process.pid}/task/${process.pid}/children`, 'utf8').trim().split(' ')
  expect(processes).toHaveLength(3)
  for (const pid of processes) process.kill(Number(pid), 'SIGKILL')
  await transaction.rollback()
  await expect.poll(() => rows('SELECT a FROM t').catch(() => null)).toEqual([{ a: 1 }])
  expect(await run('INSERT INTO t (a) VALUES (2)')).toMatchObject({ affected: 1 })
})
