import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parseStatement } from '../../runtime/host/sql/statement.ts'
import { engines } from '../support/databases.ts'
import { openTestShop, runHook, type TestShop } from '../support/run-hook.ts'
import { SQL_CASES } from './cases/sql.ts'

/** What a connection could be left with. */
const STATE = `SELECT @tok AS variable, @@autocommit AS autocommit, @@in_transaction AS open, @@sql_mode AS mode,
  @@max_statement_time AS time, @@session.tx_isolation AS isolation, @@character_set_client AS charset, DATABASE() AS base`

describe.each(engines)('hostile statements on $name', entry => {
  describe.skipIf(entry.missing)('', () => {
    let shop: TestShop

    beforeAll(async () => {
      shop = await openTestShop(entry)
    })
    afterAll(() => shop?.close())

    const run = (script: string) => runHook({ shop, script: `const event = payload.event;\n${script}` })
    const read = async (sql: string) => {
      const options = { bounds: { rows: 100, bytes: 100_000 }, signal: AbortSignal.timeout(10_000) }
      const answer = await shop.database.run(parseStatement(sql), [], options)
      return 'rows' in answer ? answer.rows : []
    }
    const states = () => Promise.all(Array.from({ length: 16 }, () => read(STATE)))

    test.each(SQL_CASES.map(each => [each.id, each] as const))('%s', async (_id, { script, gives, fails }) => {
      const { result, error } = await run(script)
      if (!fails) {
        expect(error).toBeNull()
        expect(result).toEqual(gives)
        return
      }
      expect(error?.code).toMatch(fails.code ?? '')
      expect(error?.message).toMatch(fails.message ?? '')
    })

    test('sql-25: a locking read holds its rows until the run ends, and no longer', async () => {
      const { error } = await run("return await db.select('  (select 1) union (select 2) for update');")
      expect(['HOOK_THREW', undefined]).toContain(error?.code)
      const locking = "db.select('SELECT id FROM eb_store_order FOR UPDATE'); throw new Error('left')"
      expect((await run(locking)).error).toMatchObject({ message: expect.stringContaining('left') })
      expect((await run("return db.update('UPDATE eb_store_order SET mark = mark')")).error).toBeNull()
    })

    test('sql-22: a merchant names no other schema', async () => {
      const script = "return db.select('select * from `merchant_b`.`orders`');"
      const { error } = await runHook({ shop, script, hook: { merId: 7 } })
      expect(error).toMatchObject({ code: 'HOOK_THREW', message: expect.stringContaining('named with its schema') })
    })

    test('a merchant’s hook sees the orders of its own merchant, and a platform’s all', async () => {
      const script = "return db.select('SELECT DISTINCT mer_id FROM eb_store_order ORDER BY 1').map(row => row.mer_id)"
      const all = (await run(script)).result as number[]
      expect(all.length).toBeGreaterThan(1)
      for (const merId of all) expect((await runHook({ shop, script, hook: { merId } })).result).toEqual([merId])
    })

    if (entry.engine === 'mysql')
      test('leave every connection as it was', async () => {
        const before = await states()
        for (const { script } of SQL_CASES.filter(({ id }) => !/^(fld|sql-12)/.test(id))) await run(script)
        await run("db.update('UPDATE eb_store_order SET status = 9'); db.begin; throw 1")
        await run("db.transaction(() => { db.update('UPDATE eb_store_order SET status = 9'); throw 1 })")
        const [first] = before.flat()
        for (const state of [...before, ...(await states())].flat())
          expect({ ...state, time: 0 }).toEqual({ ...first, time: 0 })
        expect(first).toMatchObject({ variable: null, autocommit: 1, open: 0 })
        const open = `SELECT trx_id FROM information_schema.innodb_trx
        JOIN information_schema.processlist ON id = trx_mysql_thread_id WHERE db = DATABASE()`
        expect(await shop.sql(open)).toEqual([])
      })
  })
})
