import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Json } from '../../runtime/model.ts'
import { engines } from '../support/databases.ts'
import { openTestShop, type Partner, runHook, startPartner, type TestShop } from '../support/run-hook.ts'

describe.each(engines)('the script contract on $name', entry => {
  describe.skipIf(entry.missing)('', () => {
    let shop: TestShop
    let partner: Partner

    beforeAll(async () => {
      shop = await openTestShop(entry)
      const id = entry.engine === 'mysql' ? 'INTEGER PRIMARY KEY AUTO_INCREMENT' : 'INTEGER PRIMARY KEY'
      await shop.sql(
        `CREATE TABLE things (id ${id}, name VARCHAR(100), big BIGINT, price DECIMAL(30,2), born DATETIME, doc TEXT)`
      )
      partner = await startPartner(({ path, method, body, headers }) => {
        if (path.startsWith('/status/')) return { status: Number(path.slice(8)), body: { error: 'no' } }
        if (path === '/text') return { body: 'plain' }
        if (path === '/big') return { body: '{"tid":12345678901234567890,"n":1}' }
        return { body: { method, path, body, type: headers['content-type'] ?? null } }
      })
    })
    afterAll(async () => {
      await shop.close()
      await partner.close()
    })

    const run = (script: string, more: Partial<Parameters<typeof runHook>[0]> = {}) =>
      runHook({ shop, script, ...more, env: { URL: partner.url, ...more.env } })
    const value = async (script: string, more: Partial<Parameters<typeof runHook>[0]> = {}): Promise<Json> => {
      const { result, error } = await run(script, more)
      expect(error).toBeNull()
      return result
    }

    describe('db', () => {
      test('values cross exactly', async () => {
        const script = `
          const id = db.insert('INSERT INTO things (name, big, price, born, doc) VALUES (?, ?, ?, ?, ?)',
            '订单 😀 "quoted" \\n', '9223372036854775807', '230.10', '2026-01-02 03:04:05', JSON.stringify({ a: [1, null] }))
          return db.selectOne('SELECT * FROM things WHERE id = ?', id)`
        expect(await value(script)).toMatchObject({
          name: '订单 😀 "quoted" \n',
          big: '9223372036854775807',
          price: 230.1,
          born: '2026-01-02 03:04:05',
          doc: '{"a":[1,null]}'
        })
      })

      test('undefined, null and missing rows are what they should be', async () => {
        const script = `
          const id = db.insert('INSERT INTO things (name, big) VALUES (?, ?)', undefined, null)
          return [
            db.selectOne('SELECT name, big FROM things WHERE id = ?', id),
            db.selectOne('SELECT 1 FROM things WHERE id = -1'), db.select('SELECT 1 FROM things WHERE id = -1'),
            db.selectValue('SELECT 1 FROM things WHERE id = -1'), db.selectInt('SELECT 1 FROM things WHERE id = -1'),
            db.selectValue('SELECT name FROM things WHERE id = ?', id)]`
        expect(await value(script)).toEqual([{ name: null, big: null }, null, [], null, null, null])
      })

      test('params may be one array, dates, booleans and big integers', async () => {
        const script = `
          const id = db.insert('INSERT INTO things (name, big, born) VALUES (?, ?, ?)',
            [true, 12345678901234567890n % 9007199254740993n, new Date(2026, 0, 2, 3, 4, 5)])
          return db.selectOne('SELECT name, born FROM things WHERE id = ?', [id])`
        expect(await value(script)).toEqual({ name: '1', born: '2026-01-02 03:04:05' })
      })

      test('writes answer ids and counts of rows', async () => {
        const script = `
          const a = db.insert("INSERT INTO things (name) VALUES ('w')")
          const b = db.insert("INSERT INTO things (name) VALUES ('w')")
          return [b - a, db.update("UPDATE things SET big = 1 WHERE name = 'w'"),
            db.update("UPDATE things SET big = 1 WHERE name = 'w'"),
            db.delete("DELETE FROM things WHERE name = 'w'"),
            db.batch('INSERT INTO things (name, big) VALUES (?, ?)', [['b', 1], ['b', 2], ['b', undefined]])]`
        expect(await value(script)).toEqual([1, 2, 2, 2, 3])
      })

      test('page counts all and gives one page', async () => {
        const script = `
          db.batch('INSERT INTO things (name, big) VALUES (?, ?)', Array.from({ length: 25 }, (_, i) => ['p', i]))
          const page = n => db.page("SELECT big FROM things WHERE name = ? ORDER BY big", { page: n, size: 10 }, 'p')
          return [page(3), page(4)]`
        expect(await value(script)).toEqual([
          { total: 25, list: [20, 21, 22, 23, 24].map(big => ({ big })) },
          { total: 25, list: [] }
        ])
      })

      test('a transaction inside the run undoes only itself', async () => {
        const script = `
          db.insert("INSERT INTO things (name) VALUES ('outer')")
          try {
            db.transaction(() => { db.insert("INSERT INTO things (name) VALUES ('inner')"); throw new Error('no') })
          } catch (e) { log.info(e.message) }
          return db.transaction(() => db.select("SELECT name FROM things WHERE name IN ('outer', 'inner')"))`
        expect(await value(script)).toEqual([{ name: 'outer' }])
      })

      test('a thrown error undoes everything that the run wrote', async () => {
        const { error, committed } = await run(
          `db.insert("INSERT INTO things (name) VALUES ('gone')"); throw new Error('x')`
        )
        expect(error?.code).toBe('HOOK_THREW')
        expect(committed).toBe(false)
        expect(await shop.sql("SELECT 1 FROM things WHERE name = 'gone'")).toEqual([])
      })

      test('a reported failure keeps what was written, without the marker', async () => {
        const { committed } = await run(
          `db.insert("INSERT INTO things (name) VALUES ('kept')"); return { success: false }`
        )
        expect(committed).toBe(false)
        expect(await shop.sql("SELECT 1 FROM things WHERE name = 'kept'")).toHaveLength(1)
      })

      test('transaction "none" commits each statement by itself', async () => {
        const script = `db.insert("INSERT INTO things (name) VALUES ('single')"); throw new Error('x')`
        await run(script, { hook: { transaction: 'none' } })
        expect(await shop.sql("SELECT 1 FROM things WHERE name = 'single'")).toHaveLength(1)
      })

      test('an execution whose marker is there is settled from it, not run again', async () => {
        const script = `db.insert("INSERT INTO things (name) VALUES ('once')"); return { n: 1 }`
        const first = await run(script, { executionId: 'e-once', runs: 1 })
        const again = await run(script, { executionId: 'e-once', runs: 2 })
        expect([first.result, again.result]).toEqual([{ n: 1 }, { n: 1 }])
        expect(await shop.sql("SELECT 1 FROM things WHERE name = 'once'")).toHaveLength(1)
      })

      test('two runs of one execution at once have their effects once', async () => {
        const script = `db.insert("INSERT INTO things (name) VALUES ('race')"); http.get(env.get('URL') + '/'); return 1`
        const options = { executionId: 'e-race', runs: 1 }
        await Promise.all([run(script, options), run(script, options)])
        expect(await shop.sql("SELECT 1 FROM things WHERE name = 'race'")).toHaveLength(1)
      })

      test.each([
        ['SELECT nope FROM things', 'DB_ERROR'],
        ['DROP TABLE things', 'DB_DENIED'],
        ['SELECT 1; SELECT 2', 'DB_DENIED'],
        ["UPDATE things SET name = 'x'", 'DB_DENIED']
      ])('db.select(%j) throws a DbError that can be caught', async (sql, code) => {
        const script = `try { db.select(${JSON.stringify(sql)}) } catch (e) { return [e.name, e.code, e instanceof Error] }`
        expect(await value(script)).toEqual(['DbError', code, true])
      })

      test.each([
        ['rows', 'SELECT a.id FROM eb_store_order a, eb_store_order b, eb_user c', /10000 rows/],
        ['a row of 5 MB', "SELECT REPEAT('x', 2500000) AS a, REPEAT('y', 2500000) AS b", /4000000|4 MB|bytes/]
      ])('too much (%s) ends the run even when the error is caught', async (_, sql, message) => {
        const script = `try { db.select(${JSON.stringify(sql)}) } catch (e) {} return 'went on'`
        const { error } = await run(script)
        expect(error).toMatchObject({ code: 'HOOK_DB_LIMIT', message: expect.stringMatching(message) })
      })

      test('more than 100 calls end the run', async () => {
        const { error } = await run('for (let i = 0; i < 101; i++) db.selectValue("SELECT 1")')
        expect(error).toMatchObject({ code: 'HOOK_DB_LIMIT', message: expect.stringContaining('100 db calls') })
      })
    })

    test('http sends what is asked for and reads what it gets', async () => {
      const script = `
        const url = env.get('URL')
        return [
          http.post(url + '/a', { body: { x: 1, n: undefined }, query: { q: '订 单', list: [1, 2] } }),
          http.post(url + '/b', { form: { a: 'b c', d: '&' } }), http.put(url + '/c', { body: 'text' }),
          http.get(url + '/text'), http.get(url + '/big'), http.get(url + '/d', { responseType: 'text' }),
          http.request({ method: 'DELETE', url: url + '/e' }).status]`
      expect(await value(script)).toEqual([
        {
          method: 'POST',
          path: '/a?q=%E8%AE%A2%20%E5%8D%95&list=1&list=2',
          body: { x: 1 },
          type: 'application/json;charset=UTF-8'
        },
        { method: 'POST', path: '/b', body: 'a=b%20c&d=%26', type: 'application/x-www-form-urlencoded;charset=UTF-8' },
        { method: 'PUT', path: '/c', body: 'text', type: null },
        'plain',
        { tid: '12345678901234567890', n: 1 },
        '{"method":"GET","path":"/d","body":"","type":null}',
        200
      ])
    })

    test('a status of 400 or more throws unless the script wants to see it', async () => {
      const script = `
        const url = env.get('URL') + '/status/422'
        try { http.get(url) } catch (e) {
          return [e instanceof HttpError, e.name, e.code, e.status, e.body, http.request({ url, throwOnError: false }).status]
        }`
      expect(await value(script)).toEqual([true, 'HttpError', 'HTTP_ERROR', 422, { error: 'no' }, 422])
    })

    test('calls that can change something carry their idempotency key', async () => {
      partner.requests.splice(0)
      await run(`const u = env.get('URL'); http.get(u); http.post(u); http.put(u)`, { executionId: 'e-key', runs: 1 })
      const keys = partner.requests.map(({ headers }) => headers['idempotency-key'])
      expect(keys).toEqual([undefined, 'e-key:1', 'e-key:2'])
    })
  })
})
