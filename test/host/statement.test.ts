import { describe, expect, test } from 'vitest'
import { RuntimeError } from '../../runtime/errors.ts'
import { parseStatement } from '../../runtime/host/sql/statement.ts'

const refusal = (sql: string): string => {
  try {
    parseStatement(sql)
  } catch (error) {
    expect(error).toBeInstanceOf(RuntimeError)
    expect((error as RuntimeError).code).toBe('DB_DENIED')
    return (error as RuntimeError).message
  }
  throw new Error('The statement was not refused')
}

describe('a statement', () => {
  test.each([
    ['SELECT 1', 'select', 'read'],
    ['  (SELECT a FROM t LIMIT 1) UNION ALL (SELECT b FROM u);', 'select', 'read'],
    ['WITH c AS (SELECT 1 AS a) SELECT * FROM c', 'select', 'read'],
    ['WITH c AS (SELECT 1 AS a) UPDATE t JOIN c ON t.a = c.a SET t.b = 1', 'update', 'write'],
    ['WITH c AS (SELECT 1 AS a) DELETE FROM t WHERE a IN (SELECT a FROM c)', 'delete', 'write'],
    ['INSERT INTO t (a) SELECT a FROM u', 'insert', 'write'],
    ['replace into t (a) values (1)', 'replace', 'write'],
    ['DELETE IGNORE FROM t WHERE a = 1', 'delete', 'write']
  ])('%s is a %s, a %s', (sql, verb, kind) => {
    expect(parseStatement(sql)).toMatchObject({ sql, verb, kind, ast: { type: verb } })
  })

  test.each([
    ['SELECT * FROM t FOR UPDATE', true],
    ['SELECT * FROM t WHERE a = ? FOR UPDATE OF t, u SKIP LOCKED', true],
    ['SELECT * FROM t FOR SHARE NOWAIT', true],
    ['select * from t lock in share mode', true],
    ['(SELECT 1) UNION (SELECT 2) FOR UPDATE', true],
    ['SELECT * FROM t WHERE a IN (SELECT a FROM u FOR UPDATE)', true],
    ["SELECT 'FOR UPDATE' FROM t -- FOR UPDATE", false],
    ['UPDATE t SET a = 1', false]
  ])('%s takes locks: %s', (sql, locks) => {
    expect(parseStatement(sql).locks).toBe(locks)
  })

  test.each([
    ['SELECT @a', true],
    ['SELECT @a := 1', true],
    ["SELECT GET_LOCK('a', 1)", true],
    ['SELECT LAST_INSERT_ID()', true],
    ["SELECT '@a', get_lock FROM t", false]
  ])('%s leaves something on its connection: %s', (sql, session) => {
    expect(parseStatement(sql).session).toBe(session)
  })

  test('counts placeholders where the server does', () => {
    const sql = 'SELECT ?, \'?\', "?", `?`, \'\\\'?\', "a""?" /* ? */ FROM t # ?\nWHERE a = ? -- ?'
    expect(parseStatement(sql).placeholders).toBe(2)
  })

  test('is read once', () => {
    const sql = 'SELECT a FROM t WHERE b = ? AND c = 12345'
    expect(parseStatement(sql)).toBe(parseStatement(sql))
  })

  test('names every table that it touches', () => {
    const sql =
      'SELECT * FROM `a` JOIN x.b ON a.i <=> b.i WHERE EXISTS (SELECT CAST(v AS CHAR) FROM `订单` FORCE INDEX (k))'
    const tables = JSON.stringify(parseStatement(sql).ast).matchAll(/"db":("x"|null),"table":"([^"]+)"/g)
    expect([...tables].map(([, db, table]) => [db, table])).toEqual([
      ['null', 'a'],
      ['"x"', 'b'],
      ['null', '订单']
    ])
  })
})

test.each([
  'SELECT a <=> ?, a XOR b, !a, a DIV 2, a MOD 2, ~a, a << 1, a && b, a || b FROM t',
  'SELECT a, SUM(b) FROM t GROUP BY a WITH ROLLUP HAVING SUM(b) > 1',
  'SELECT ROW_NUMBER() OVER (PARTITION BY a ORDER BY b DESC) AS rn, SUM(b) OVER w FROM t WINDOW w AS (PARTITION BY a)',
  'SELECT LAG(a, 1) OVER (ORDER BY b), SUM(a) OVER (ORDER BY b ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) FROM t',
  'INSERT INTO t SET a = 1, b = ?',
  'INSERT INTO t (a, b) VALUES (?, ?), (?, DEFAULT) ON DUPLICATE KEY UPDATE b = VALUES(b), c = c + 1',
  'INSERT IGNORE INTO t VALUES (1, NULL, DEFAULT)',
  'INSERT LOW_PRIORITY t (a) VALUES (1)',
  "SELECT data->>'$.a', data->'$.b', JSON_EXTRACT(data, '$.c') FROM t",
  'SELECT * FROM t WHERE a > NOW() - INTERVAL ? DAY AND b < DATE_ADD(CURDATE(), INTERVAL 1 MONTH)',
  "SELECT * FROM t WHERE a NOT REGEXP ? AND b RLIKE '^x' AND c NOT LIKE '50\\%' ESCAPE '!'",
  'SELECT `order`, `t`.`a b` FROM `t` AS t ORDER BY t.`order` DESC, FIELD(a, 1, 2) LIMIT ?, ?',
  "SELECT 0xFF, x'4D', b'101', 1e3, .5, -1, N'a', _utf8mb4'b', DATE '2024-01-01'",
  "SELECT CASE a WHEN 1 THEN 'x' ELSE 'y' END, IF(a > 1, 'x', 'y'), a IS NOT TRUE FROM t",
  'SELECT * FROM (SELECT a FROM t) x JOIN (SELECT 1 AS b) y USING (a), u CROSS JOIN v STRAIGHT_JOIN w',
  'SELECT SQL_NO_CACHE STRAIGHT_JOIN * FROM t USE INDEX (i, j) JOIN u IGNORE INDEX FOR JOIN (k) ON t.a = u.a',
  'WITH RECURSIVE c AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM c WHERE n < 5) SELECT * FROM c',
  "SELECT GROUP_CONCAT(DISTINCT a ORDER BY b DESC SEPARATOR ';'), COUNT(DISTINCT a, b) FROM t",
  'UPDATE t SET a = a + 1, b = DEFAULT WHERE id = ? ORDER BY id LIMIT 1',
  'UPDATE t LEFT JOIN u ON t.id = u.id SET t.a = u.a WHERE u.b = 1',
  'DELETE t FROM t JOIN u ON t.id = u.id WHERE u.b = 1',
  'SELECT CAST(CAST(a AS CHAR(10)) AS DECIMAL(10, 2)), CONVERT(CONCAT(a, b), CHAR(3)), CONVERT(a USING utf8mb4), b FROM t',
  "SELECT TRIM(LEADING '0' FROM a), SUBSTRING(a FROM 2 FOR 3), POSITION('a' IN b), EXTRACT(YEAR FROM a) FROM t",
  "SELECT \"double\", 'it''s', 'back\\'slash', 'a' 'b' 'c', 'x' COLLATE utf8mb4_bin FROM t",
  'SELECT a FROM t WHERE (a, b) IN ((1, 2), (?, ?)) AND a > ANY (SELECT 1) AND NOT EXISTS (SELECT 1 FROM v)',
  'SELECT 订单号 AS 号, あ FROM 订单 o WHERE o.状态 = ?',
  'SELECT status, type, date, time, value, year, level, position, comment, text, data, user FROM t',
  'SELECT MATCH(a) AGAINST (? IN BOOLEAN MODE) FROM t',
  'SELECT 1 FROM DUAL'
])('understands %s', sql => {
  expect(() => parseStatement(sql)).not.toThrow()
})

const ALLOWED = 'is not allowed: a script may SELECT, INSERT, UPDATE, DELETE and REPLACE'

test.each([
  ['CREATE TABLE t (a INT)', `CREATE ${ALLOWED}`],
  ['drop table t', `DROP ${ALLOWED}`],
  ['TRUNCATE t', `TRUNCATE ${ALLOWED}`],
  ['SET @a = 1', `SET ${ALLOWED}`],
  ['SET STATEMENT max_statement_time=0 FOR SELECT 1', `SET ${ALLOWED}`],
  ['CALL p()', `CALL ${ALLOWED}`],
  ['DO SLEEP(1)', `DO ${ALLOWED}`],
  ['KILL 1', `KILL ${ALLOWED}`],
  ['BEGIN NOT ATOMIC SELECT 1; END', `BEGIN ${ALLOWED}`],
  ["PREPARE s FROM 'SELECT 1'", `PREPARE ${ALLOWED}`],
  ["LOAD DATA INFILE 'x' INTO TABLE t", `LOAD ${ALLOWED}`],
  ['START TRANSACTION', `START ${ALLOWED}`],
  ['COMMIT', `COMMIT ${ALLOWED}`],
  ['LOCK TABLES t READ', `LOCK ${ALLOWED}`],
  ['/* a comment */ GRANT ALL ON *.* TO x', `GRANT ${ALLOWED}`],
  ['EXPLAIN SELECT 1', `EXPLAIN ${ALLOWED}`],
  ['', 'The statement is empty'],
  ['-- nothing', 'The statement is empty'],
  ['SELECT 1; DELETE FROM t', 'A call runs exactly one statement: split the text into several calls'],
  ["SELECT 1 INTO OUTFILE '/tmp/x'", 'SELECT … INTO is not allowed: read the rows and use them in the script'],
  ['SELECT a FROM t INTO @x', 'SELECT … INTO is not allowed: read the rows and use them in the script'],
  [
    "INSERT INTO t SELECT 1 INTO DUMPFILE 'x'",
    'SELECT … INTO is not allowed: read the rows and use them in the script'
  ],
  ["SELECT load_file ('/etc/passwd')", 'The function LOAD_FILE is not allowed'],
  ["SELECT `load_file`('/etc/passwd')", 'The function LOAD_FILE is not allowed'],
  ['SELECT BENCHMARK(1e9, MD5(1))', 'The function BENCHMARK is not allowed'],
  [
    'SELECT 1 /*!50000 UNION SELECT 2 */',
    'The server would execute the comment at line 1 column 10: write it as plain SQL'
  ],
  [
    'SELECT 1 /*M!100000 UNION SELECT 2 */',
    'The server would execute the comment at line 1 column 10: write it as plain SQL'
  ],
  [
    'SELECT /*+ SET_VAR(sql_mode="") */ 1',
    'Optimizer hints like the one at line 1 column 8 are not allowed: leave it out'
  ],
  ["SELECT\n 'abc", 'The statement has a quote or comment at line 2 column 2 that never ends'],
  ['SELECT 1 /* abc', 'The statement has a quote or comment at line 1 column 10 that never ends']
])('refuses %s', (sql, message) => {
  expect(refusal(sql)).toBe(message)
})

test.each([
  ['SELECT a,, b\nFROM t', 'near “,, b FROM t”, line 1 column 9.'],
  ['SELECT a\nFROM t\nWHER b = 1', 'near “WHER b = 1”, line 3 column 1.'],
  ['SELECT rank FROM t', 'near “rank FROM t”, line 1 column 8.'],
  ['SELECT a FROM t WHERE', 'at its end: something is missing.']
])('says where it cannot read %s', (sql, place) => {
  expect(refusal(sql)).toBe(
    `The statement cannot be read ${place} Check the spelling, put names that are also keywords in \`backticks\`, or say it in a simpler way`
  )
})

/** What the server reads in one way and a careless reader in another. */
test.each([
  ['a comment that is none', 'SELECT 1 --1 FROM secret'],
  ['a variable with a quoted name', "SELECT @'a\\' FROM secret -- '"],
  ['a byte that ends a text for some', 'SELECT 1\0FROM secret'],
  ['a form feed that is a blank', 'SELECT\f1\vINTO\fOUTFILE "x"'],
  ['a full-width space that is a letter', 'SELECT\u30001']
])('is not misled by %s', (_, sql) => {
  expect(refusal(sql)).not.toBe('')
})

test.each([
  ["SELECT 'a\\' FROM secret -- ' FROM t", ['t']],
  ["SELECT 'a\\\\' FROM t -- '", ['t']],
  ['SELECT "a\'" FROM t WHERE b = "\' FROM secret"', ['t']],
  ["SELECT 'a''b' FROM t # ' FROM secret\n", ['t']],
  ['SELECT 1 FROM t -- \n, secret', ['t', 'secret']],
  ['SELECT 1 FROM t --\n, secret', ['t', 'secret']],
  ['SELECT 1 FROM t /*/ , other */ , secret', ['t', 'secret']]
])('sees the tables of %s as the server does', (sql, expected) => {
  const tables = JSON.stringify(parseStatement(sql).ast).matchAll(/"table":"([^"]+)"/g)
  expect([...tables].map(([, table]) => table)).toEqual(expected)
})

test.each([
  ['nested CASTs', `SELECT ${'CAST('.repeat(30)}a${' AS CHAR)'.repeat(30)}`],
  ['nested TRIMs', `SELECT ${'TRIM('.repeat(30)}a${')'.repeat(30)}`],
  ['nested calls', `SELECT ${'IF(a, '.repeat(50)}1${', 2)'.repeat(50)}`],
  ['parentheses that never close', `SELECT ${'('.repeat(60)}1`],
  ['queries in queries', `SELECT ${'(SELECT '.repeat(20)}1${')'.repeat(20)}`],
  [
    'joined queries in queries',
    `SELECT * FROM t JOIN ${'(SELECT * FROM t JOIN '.repeat(6)}u${' ON 1=1) x'.repeat(6)} WHERE`
  ],
  ['parentheses without end', `SELECT ${'('.repeat(5_000)}`],
  ['a text of a megabyte', `SELECT '${'x'.repeat(1_000_000)}'`],
  ['a quote without end', `SELECT '${"''".repeat(30_000)}`]
])('is done with %s in no time', (_, sql) => {
  const before = performance.now()
  try {
    parseStatement(sql)
  } catch (error) {
    expect(error).toMatchObject({ code: 'DB_DENIED' })
  }
  expect(performance.now() - before).toBeLessThan(5_000)
})
