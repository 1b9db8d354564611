import type { Case } from './case.ts'

const denied = (message: RegExp) => ({ code: 'HOOK_THREW', message })
const only = denied(/is not allowed: a script may SELECT, INSERT, UPDATE, DELETE and REPLACE/)
const CODES = `const codes = [];
for (const sql of LIST) { try { db.select(sql); codes.push('ran: ' + sql) } catch (e) { if (e.code !== 'DB_DENIED') codes.push(sql + ': ' + e.code + e.message) } }
return codes`

const refused = (id: string, ...statements: string[]): Case => ({
  id,
  script: `const LIST = ${JSON.stringify(statements)};\n${CODES}`,
  gives: []
})

export const SQL_CASES: Case[] = [
  {
    id: 'sql-03',
    script: `await db.update("prepare s from 'delete from orders'");await db.update('execute s');`,
    fails: only
  },
  {
    id: 'sql-04',
    script: `return await db.select("select load_file('/etc/passwd') f");`,
    fails: denied(/LOAD_FILE is not allowed/)
  },
  { id: 'sql-06', script: `return await db.update("load data local infile '/etc/passwd' into table t");`, fails: only },
  { id: 'sql-07', script: "return await db.select('select sleep(3600)');", fails: denied(/SLEEP is not allowed/) },
  {
    id: 'sql-08',
    script: "return await db.select('set statement max_statement_time=0 for select sleep(5)');",
    fails: only
  },
  {
    id: 'sql-09',
    script: `await db.update('set session max_statement_time=0');await db.update("set session sql_mode=''");return await db.select('select @@max_statement_time m');`,
    fails: only
  },
  {
    id: 'sql-09b',
    script: "return db.select('select @@max_statement_time m')",
    fails: denied(/variable @@max_statement_time/)
  },
  {
    id: 'sql-12',
    script: `return (await db.select("select repeat('x',16000000) v")).length;`,
    fails: { code: /^HOOK_(DB_LIMIT|THREW)$/ }
  },
  {
    id: 'sql-12b',
    script:
      "return db.select('SELECT a.order_id FROM eb_store_order a, eb_store_order b, eb_store_order c, eb_store_order d, eb_store_order e')",
    fails: { code: 'HOOK_DB_LIMIT', message: /more than \d+ rows/ }
  },
  {
    id: 'sql-13',
    script:
      "await db.update('start transaction');await db.update('update orders set status=9 where id=1');return 'left open';",
    fails: only
  },
  { id: 'sql-16', script: `await db.select("select @tok:='secretA'");return 1;`, fails: denied(/variable @tok/) },
  {
    id: 'sql-17',
    script:
      "const ids=await db.select('select id from information_schema.processlist');for(const r of ids)await db.update('kill '+r.id);return ids.length;",
    fails: denied(/schema information_schema is the server’s own/)
  },
  { id: 'sql-17b', script: "return db.update('kill 1')", fails: only },
  { id: 'sql-18', script: `return await db.update("set password = password('x')");`, fails: only },
  {
    id: 'sql-21',
    script: "return await db.select('select user,authentication_string from mysql.user');",
    fails: denied(/schema mysql is the server’s own/)
  },
  {
    id: 'sql-23',
    script: "return await db.select('select 1 /*!50000 union select 2 */ /*M!100000 union select 3 */ -- x');",
    fails: denied(/would execute the comment/)
  },
  { id: 'sql-24', script: "return await db.select('select/**/1 from(select(sleep(2)))x');", fails: denied(/SLEEP/) },
  { id: 'sql-30', script: "await db.update('drop table orders');", fails: only },
  {
    id: 'sql-31',
    script: "return await db.select('select ?? from ??',['id','orders; drop table x']);",
    fails: denied(/cannot be read/)
  },
  {
    id: 'sql-36',
    script: `try{await db.select('select * from no_such')}catch(e){const text=JSON.stringify(e)+e.message;return [e.code,e.sqlState,/127\\.0|localhost|root|sandhook_|\\.db|\\/tmp|\\d{5}/.test(text)]}`,
    gives: ['DB_ERROR', '42S02', false]
  },
  {
    id: 'fld-07',
    script: "await db.update('insert into outbox_like_table values (?)',['x'.repeat(15e6)]);",
    fails: { code: /^HOOK_/ }
  },
  {
    id: 'fld-04',
    script: "for(let i=0;i<1e6;i++)await db.select('select 1');",
    fails: { code: /^HOOK_(DB|CPU)_LIMIT$/ }
  },
  {
    id: 'fld-03',
    script:
      "const p=[];for(let i=0;i<50;i++)p.push((async()=>db.select('select sleep(1)'))());return (await Promise.allSettled(p)).filter(x=>x.reason?.code==='DB_DENIED').length",
    gives: 50
  },

  refused(
    'files',
    "SELECT `load_file`('/etc/passwd')",
    "SELECT LOAD_FILE ('/x')",
    "SELECT 1 INTO OUTFILE '/tmp/x'",
    "SELECT 1 INTO DUMPFILE '/tmp/x'",
    'SELECT 1 INTO @x',
    "LOAD XML INFILE 'x' INTO TABLE t"
  ),
  refused(
    'waits',
    'SELECT SLEEP(1)',
    'SELECT sleep (1)',
    'SELECT `sleep`(1)',
    'SELECT/**/sleep/**/(1)',
    'SELECT BENCHMARK(1e9, MD5(1))',
    'SELECT `BENCHMARK`(9, 1)',
    'SELECT 1 WHERE SLEEP(1)',
    'SELECT (SELECT SLEEP(1))',
    "SELECT MASTER_POS_WAIT('x', 1)",
    "SELECT MASTER_GTID_WAIT('0-1-1')",
    "SELECT WAIT_FOR_EXECUTED_GTID_SET('x')",
    'DO SLEEP(1)'
  ),
  refused(
    'locks',
    "SELECT GET_LOCK('a', 1)",
    "SELECT `get_lock`('a', 1)",
    "SELECT IS_FREE_LOCK('a')",
    "SELECT IS_USED_LOCK('a')",
    "SELECT RELEASE_LOCK('a')",
    'SELECT RELEASE_ALL_LOCKS()',
    'LOCK TABLES t READ',
    'LOCK TABLE t WRITE',
    'UNLOCK TABLES',
    'FLUSH TABLES WITH READ LOCK',
    'HANDLER t OPEN',
    'BACKUP LOCK t'
  ),
  refused(
    'variables',
    'SELECT @a',
    'SELECT @a := 1',
    'SELECT @`a`',
    "SELECT @'a'",
    'SELECT @@version',
    'SELECT @@global.read_only',
    'SELECT @@session.sql_mode',
    'SELECT @@`version`',
    'SELECT 1 LIMIT @a',
    'SELECT * FROM eb_user WHERE uid = @x'
  ),
  refused(
    'settings',
    'SET @a = 1',
    'SET NAMES latin1',
    'SET autocommit = 0',
    'SET SESSION sql_mode = 1',
    'SET GLOBAL x = 1',
    'SET ROLE x',
    'SET STATEMENT sort_buffer_size = 1 FOR SELECT 1',
    'SET TRANSACTION READ ONLY',
    "SET CHARACTER SET 'gbk'",
    'USE mysql',
    'RESET QUERY CACHE'
  ),
  refused(
    'transactions',
    'BEGIN',
    'START TRANSACTION',
    'COMMIT',
    'COMMIT AND CHAIN',
    'ROLLBACK',
    'SAVEPOINT a',
    'ROLLBACK TO SAVEPOINT mark_1',
    'RELEASE SAVEPOINT mark_1',
    'XA START 1',
    'BEGIN NOT ATOMIC COMMIT; END',
    'SHUTDOWN'
  ),
  refused(
    'programs',
    "PREPARE s FROM 'SELECT 1'",
    'EXECUTE s',
    "EXECUTE IMMEDIATE 'SELECT 1'",
    'DEALLOCATE PREPARE s',
    'CALL p()',
    'DO 1',
    'CREATE PROCEDURE p() SELECT 1',
    'CREATE FUNCTION f() RETURNS INT RETURN 1',
    'CREATE TRIGGER a AFTER INSERT ON b FOR EACH ROW SET @a = 1',
    'CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO SELECT 1'
  ),
  refused(
    'definitions',
    'CREATE TABLE t (a INT)',
    'CREATE TEMPORARY TABLE t (a INT)',
    'CREATE TABLE t SELECT 1',
    'CREATE VIEW v AS SELECT 1',
    'ALTER TABLE eb_user ADD x INT',
    'DROP TABLE eb_user',
    'TRUNCATE eb_user',
    'RENAME TABLE a TO b',
    'CREATE DATABASE x',
    'GRANT ALL ON *.* TO x',
    'REVOKE ALL ON *.* FROM x',
    "CREATE USER x IDENTIFIED BY 'y'",
    'ANALYZE TABLE eb_user',
    'OPTIMIZE TABLE eb_user',
    'ATTACH DATABASE x AS y',
    'PRAGMA writable_schema = 1',
    'VACUUM'
  ),
  refused(
    'several',
    'SELECT 1; SELECT 2',
    "SELECT ';'; SELECT 2",
    'SELECT 1;;SELECT 2',
    'SELECT 1 /* ; */; DELETE FROM eb_user',
    'SELECT 1\n;\nDELETE FROM eb_user',
    'SELECT 1 -- ;\n; SELECT 2'
  ),
  refused(
    'comments',
    'SELECT 1 /*! UNION SELECT 2 */',
    'SELECT 1 /*!99999 UNION SELECT 2 */',
    'SELECT 1 /*M! UNION SELECT 2 */',
    'SELECT /*+ SET_VAR(max_execution_time = 0) */ 1',
    'SELECT 1 --1',
    'SELECT 1 /* open',
    '/*!50000 DROP TABLE eb_user */',
    '/*! SET */ SELECT 1'
  ),
  refused(
    'server',
    'SELECT USER()',
    'SELECT CURRENT_USER',
    'SELECT CURRENT_USER()',
    'SELECT SESSION_USER()',
    'SELECT SYSTEM_USER()',
    'SELECT VERSION()',
    'SELECT `version`()',
    'SELECT CONNECTION_ID()',
    'SELECT CURRENT_ROLE()',
    'SELECT sqlite_version()',
    'SHOW TABLES',
    'SHOW GRANTS',
    'SHOW PROCESSLIST',
    'DESCRIBE eb_user',
    'EXPLAIN SELECT 1',
    'HELP x'
  ),
  refused(
    'schemas',
    'SELECT * FROM information_schema.tables',
    'SELECT * FROM `INFORMATION_SCHEMA` . tables',
    'SELECT * FROM mysql.user',
    'SELECT * FROM mysql . db',
    'SELECT * FROM performance_schema.threads',
    'SELECT * FROM sys.session',
    'SELECT sys.version_major()',
    'UPDATE mysql.user SET x = 1',
    'DELETE FROM `mysql`.`db`',
    'SELECT * FROM sqlite_master',
    'SELECT * FROM sqlite_schema',
    'SELECT * FROM pragma_database_list',
    'SELECT * FROM `pragma_table_info`'
  ),
  refused(
    'runtime',
    'SELECT * FROM sandhook_env',
    'SELECT * FROM Sandhook_Tokens',
    'SELECT * FROM `sandhook_hooks` x',
    'SELECT * FROM eb_user, sandhook_state',
    'SELECT (SELECT 1 FROM sandhook_audit)',
    'DELETE FROM hook_effects',
    'SELECT * FROM main.hook_effects',
    'INSERT INTO hook_effects VALUES (1)',
    'WITH sandhook_x AS (SELECT 1) SELECT * FROM sandhook_x'
  ),
  refused(
    'sequences',
    'SELECT NEXTVAL(s)',
    'SELECT NEXT VALUE FOR s',
    'SELECT SETVAL(s, 1)',
    'SELECT LASTVAL(s)',
    'SELECT PREVIOUS VALUE FOR s'
  ),
  refused(
    'leaks',
    "SELECT EXTRACTVALUE(1, CONCAT('~', 1))",
    "SELECT UPDATEXML(1, CONCAT('~', 1), 1)",
    'SELECT * FROM eb_user PROCEDURE ANALYSE()',
    "SELECT DES_DECRYPT('a')"
  ),
  refused(
    'nothing',
    '',
    ' ',
    ';',
    '--',
    '/* */',
    '\u0000',
    '\ufeffDROP TABLE x',
    'ｓｅｌｅｃｔ 1',
    '(',
    'SELECT',
    'SELECT (',
    "SELECT '",
    'SELECT `',
    'SELECT "'
  ),
  {
    id: 'too much in one statement',
    script:
      "const errors = []; for (const sql of ['SELECT ' + '('.repeat(5000), 'SELECT 1' + ' UNION SELECT 1'.repeat(10000), 'SELECT ' + 'IF(a, '.repeat(40) + '1' + ', 2)'.repeat(40), 'SELECT ' + '1,'.repeat(40000) + '1', 'SELECT ' + '(SELECT '.repeat(30) + '1' + ')'.repeat(30)]) { try { db.select(sql); errors.push('ran') } catch (e) { errors.push(e.code) } } return errors.filter(code => !/^DB_(DENIED|ERROR)$/.test(code))",
    gives: []
  },
  {
    id: 'wrong verbs do nothing',
    script:
      "try { db.select('DELETE FROM eb_store_order') } catch (e) { var a = e.code } try { db.update('SELECT 1') } catch (e) { var b = e.code } return [a, b, db.selectInt('SELECT COUNT(*) > 0 FROM eb_store_order')]",
    gives: ['DB_DENIED', 'DB_DENIED', 1]
  },
  {
    id: 'parameters are values and nothing else',
    script:
      "return db.select('SELECT ? AS a, ? AS b, ? AS c', \"' OR 1=1 -- \", '\\\\', '\\u0000?').map(({a, b, c}) => [a, b, c.length])[0]",
    gives: ["' OR 1=1 -- ", '\\', 2]
  },
  {
    id: 'too few and too many parameters',
    script:
      "const r = []; for (const p of [[], [1, 2]]) try { db.select('SELECT ?', p) } catch (e) { r.push(e.code) } return r",
    gives: ['ARGUMENT_INVALID', 'ARGUMENT_INVALID']
  },
  {
    id: 'objects are no parameters',
    script:
      "const r = []; for (const p of [{ toSqlString: () => '1 OR 1' }, { a: 1 }, () => 1, Symbol('x'), 10n]) try { r.push(db.select('SELECT COUNT(*) AS n FROM eb_user WHERE uid = ?', [p])[0].n) } catch (e) { r.push('no') } return r.every(x => x === 'no' || x === 0 || x === 1)",
    gives: true
  }
]
