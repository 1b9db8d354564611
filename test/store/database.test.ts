import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import Sqlite from 'better-sqlite3'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { RuntimeError } from '../../runtime/errors.ts'
import {
  type Database,
  guarded,
  insertRows,
  isMysql,
  migrate,
  openDatabase,
  statementsOf,
  transact,
  upsertRows
} from '../../runtime/store/database.ts'
import { createStateStore } from '../../runtime/store/state.ts'
import { engines, freshMysql, freshSqlite } from '../support/databases.ts'
import { onEachEngine, onMysql } from './fixtures.ts'

const MIGRATION = new URL('../../sql/runtime/001-tables.sql', import.meta.url)
const missing = engines.some(({ engine, missing }) => engine === 'mysql' && missing)

function open(url: string): Database {
  const db = openDatabase(url)
  onTestFinished(() => db.destroy())
  return db
}

/** Names of all tables and indexes. */
async function schemaOf(db: Database): Promise<string[]> {
  const text = isMysql(db)
    ? `SELECT DISTINCT CONCAT(table_name, ' ', index_name) AS name FROM information_schema.statistics
       WHERE table_schema = DATABASE()`
    : `SELECT name FROM sqlite_master WHERE type IN ('table', 'index')`
  const answer = await db.raw(text)
  const rows: { name: string }[] = isMysql(db) ? answer[0] : answer
  return rows
    .map(row => row.name)
    .filter(name => !name.includes('knex'))
    .sort()
}

describe.each(engines)('migrate on $name', ({ engine, missing }) => {
  const fresh = engine === 'mysql' ? freshMysql : freshSqlite

  test.skipIf(missing)('makes the tables, and leaves them and their rows alone the next time', async () => {
    const db = open(await fresh())
    await migrate(db)
    const schema = await schemaOf(db)
    expect(schema.filter(name => name.includes('sandhook_executions')).length).toBeGreaterThanOrEqual(7)
    await createStateStore(db).set('kept', 'yes')
    await migrate(db)
    expect(await schemaOf(db)).toEqual(schema)
    expect(await createStateStore(db).get('kept')).toBe('yes')
  })
})

describe.skipIf(missing)('migrate on MySQL', () => {
  test('is safe when several nodes start at the same moment', async () => {
    const url = await freshMysql()
    const nodes = [open(url), open(url), open(url)]
    await Promise.all(nodes.map(migrate))
    const applied = await (nodes[0] as Database)('sandhook_migrations').select('name')
    expect(applied.map(row => row.name)).toEqual(['001-tables.sql'])
  })

  test('goes on where a node was killed half-way', async () => {
    const url = await freshMysql()
    const [db, blocker] = [open(url), open(url)]
    const journal = statementsOf(await readFile(MIGRATION, 'utf8')).find(text =>
      /TABLE .*_journal/.test(text)
    ) as string
    await db.raw(journal)
    const holder = await blocker.client.acquireConnection()
    // The dying node gets as far as this table, and waits for it.
    await holder.promise().query('LOCK TABLES sandhook_journal WRITE')
    const script = `const { migrate, openDatabase } = await import(process.argv[1]); await migrate(openDatabase(process.argv[2]))`
    const module = new URL('../../runtime/store/database.ts', import.meta.url).href
    const node = spawn(process.execPath, ['--input-type=module', '-e', script, module, url], { stdio: 'ignore' })
    await vi.waitFor(
      async () => {
        const [waiting] = await db.raw(
          "SELECT id FROM information_schema.processlist WHERE state LIKE '%metadata lock%'"
        )
        expect(waiting).toHaveLength(1)
      },
      { timeout: 20_000, interval: 20 }
    )
    node.kill('SIGKILL')
    await once(node, 'exit')
    await holder.promise().query('UNLOCK TABLES')
    await blocker.client.releaseConnection(holder)

    await migrate(db)
    const whole = open(await freshMysql())
    await migrate(whole)
    expect(await schemaOf(db)).toEqual(await schemaOf(whole))
    expect(await db('sandhook_migrations').select('name')).toEqual([{ name: '001-tables.sql' }])
  })
})

describe('statementsOf', () => {
  test.each([
    ['nothing', '', []],
    ['two statements', 'A;\nB;\n', ['A', 'B']],
    ['a last one without its end', 'A;\nB', ['A', 'B']],
    ['spaces after the end', 'A;  \n\n  B ;\t\n', ['A', 'B']],
    ['comments of whole lines', '-- what for\nA (\n  -- why\n  x\n);\n-- the end;\n', ['A (\n\n  x\n)']],
    ['a semicolon inside a line', "A 'x; y';\nB;", ["A 'x; y'", 'B']],
    ['windows line ends', 'A;\r\nB;\r\n', ['A', 'B']]
  ])('understands %s', (_, text, statements) => {
    expect(statementsOf(text).map(statement => statement.replace(/\n\s*\n/g, '\n\n'))).toEqual(statements)
  })
})

const unavailable = { code: 'STORE_UNAVAILABLE', retryAfterMs: 2_000 }

describe('a guarded store', () => {
  const asking = (db: Database) => guarded({ ask: () => db.raw('SELECT 1') }).ask()

  test('names a server where nothing listens', async () => {
    const probe = createServer().listen(0, '127.0.0.1')
    await once(probe, 'listening')
    const { port } = probe.address() as AddressInfo
    probe.close()
    await once(probe, 'close')
    const failure = await asking(open(`mysql://root@127.0.0.1:${port}/any`)).catch(error => error)
    expect(failure).toBeInstanceOf(RuntimeError)
    expect(failure).toMatchObject(unavailable)
    expect(failure.message).toMatch(/ECONNREFUSED.*try again/)
    expect(failure.cause).toMatchObject({ code: 'ECONNREFUSED' })
  })

  test('names a host that cannot be found', async () => {
    await expect(asking(open('mysql://root@nowhere.invalid/any'))).rejects.toMatchObject(unavailable)
  })

  test.skipIf(missing)('names a connection that the server ended in the middle of a statement', async () => {
    const url = await freshMysql()
    const [db, admin] = [open(url), open(url)]
    const sleeping = guarded({ sleep: () => db.raw('SELECT SLEEP(30)') }).sleep()
    sleeping.catch(() => {})
    const found = "SELECT id FROM information_schema.processlist WHERE info = 'SELECT SLEEP(30)' AND db = DATABASE()"
    const id = await vi.waitFor(async () => {
      const [[row]] = await admin.raw(found)
      expect(row).toBeDefined()
      return row.id ?? row.ID
    })
    await admin.raw(`KILL ${id}`)
    await expect(sleeping).rejects.toMatchObject(unavailable)
  })

  test.each(engines)('names a pool that was closed on $name', async ({ engine, missing }) => {
    if (missing) return
    const db = openDatabase(engine === 'mysql' ? await freshMysql() : await freshSqlite())
    await db.raw('SELECT 1')
    await db.destroy()
    await expect(asking(db)).rejects.toMatchObject(unavailable)
  })

  test('names a SQLite file that somebody else keeps locked', async () => {
    const url = await freshSqlite()
    const db = open(url)
    await db.raw('CREATE TABLE t (x)')
    await db.raw('PRAGMA busy_timeout = 20')
    const other = new Sqlite(url.slice('sqlite:'.length))
    other.exec('BEGIN IMMEDIATE')
    await expect(guarded({ write: () => db('t').insert({ x: 1 }) }).write()).rejects.toMatchObject(unavailable)
    other.close()
  })

  test.each(['SQLITE_IOERR_WRITE', 'SQLITE_READONLY_DBMOVED', 'SQLITE_BUSY_SNAPSHOT', 'SQLITE_CANTOPEN_ISDIR'])(
    'names the kind of %s',
    async code => {
      const fail = () => Promise.reject(Object.assign(new Error('no'), { code }))
      await expect(guarded({ fail }).fail()).rejects.toMatchObject(unavailable)
    }
  )

  test.each([
    ['a bug', new TypeError('x is not a function')],
    ['a failure that has its name', new RuntimeError('NOT_FOUND', 'There is no such thing.')],
    ['a broken constraint', Object.assign(new Error('no'), { code: 'SQLITE_CONSTRAINT_NOTNULL' })]
  ])('lets %s pass as it is', async (_, error) => {
    await expect(guarded({ fail: () => Promise.reject(error) }).fail()).rejects.toBe(error)
  })

  test.each(engines)('lets a wrong statement pass as it is on $name', async ({ engine, missing }) => {
    if (missing) return
    const db = open(engine === 'mysql' ? await freshMysql() : await freshSqlite())
    const failure = await guarded({ ask: () => db('nowhere') })
      .ask()
      .catch(error => error)
    expect(failure).toBeInstanceOf(Error)
    expect(failure).not.toBeInstanceOf(RuntimeError)
  })
})

onMysql('transact', store => {
  test('runs again what a deadlock ended', async () => {
    const { db } = store
    await db('sandhook_state').insert(['a', 'b'].map(name => ({ name, value: '0' })))
    const holding = { a: Promise.withResolvers<void>(), b: Promise.withResolvers<void>() }
    let runs = 0
    const update = (first: 'a' | 'b', second: 'a' | 'b') =>
      transact(db, async trx => {
        runs++
        const add = (name: string) =>
          trx('sandhook_state')
            .where({ name })
            .update({ value: trx.raw('value + 1') })
        await add(first)
        holding[first].resolve()
        await holding[second].promise
        await add(second)
      })
    await Promise.all([update('a', 'b'), update('b', 'a')])
    expect(runs).toBe(3)
    expect(await db('sandhook_state').orderBy('name').pluck('value')).toEqual(['2', '2'])
  })
})

onEachEngine('transact', store => {
  test.each([
    [1213, 5],
    [1205, 5],
    [1062, 1]
  ])('gives up on error %i after %i runs, and leaves nothing', async (errno, expected) => {
    let runs = 0
    const work = async (trx: Parameters<Parameters<typeof transact>[1]>[0]) => {
      runs++
      await trx('sandhook_state').insert({ name: 'left', value: '' })
      throw Object.assign(new Error('no'), { errno })
    }
    await expect(transact(store.db, work)).rejects.toMatchObject({ errno })
    expect(runs).toBe(expected)
    expect(await store.db('sandhook_state').select()).toEqual([])
  })
})

onEachEngine('rows in bulk', store => {
  const rowOf = (n: number, payload: string) => ({
    ...{ id: `e${n}`, event_key: 'K', payload, happened_at: n, owner: '', ordering_key: null, source: 'http' },
    ...{ depth: 0, data: null, received_at: n }
  })

  test.each([
    ['none', 0, ''],
    ['as many as fit into a statement', 100, 'x'],
    ['one more', 101, 'x'],
    ['thousands', 2_500, 'x'],
    ['large', 10, `'\\${'"'.repeat(900_000)}`],
    ['large and Chinese', 12, '订'.repeat(700_000)],
    ['larger each than a statement should be', 4, 'x'.repeat(5_000_000)]
  ])('are inserted whole: %s', async (_, count, payload) => {
    const rows = Array.from({ length: count }, (_, n) => rowOf(n, payload))
    await transact(store.db, trx => insertRows(trx, 'sandhook_events', rows))
    const stored = await store.db('sandhook_events').select('id', 'payload')
    expect(stored.map(({ id }) => id).sort()).toEqual(rows.map(({ id }) => id).sort())
    expect(stored.every(row => row.payload === payload)).toBe(true)
  })

  test('replace those that are there, and add the others', async () => {
    await transact(store.db, trx => insertRows(trx, 'sandhook_events', [rowOf(1, 'old'), rowOf(2, 'old')]))
    const rows = Array.from({ length: 150 }, (_, n) => rowOf(n + 2, 'new'))
    await transact(store.db, trx => upsertRows(trx, 'sandhook_events', ['id'], rows))
    const stored = await store.db('sandhook_events').orderBy('happened_at').pluck('payload')
    expect(stored).toEqual(['old', ...rows.map(() => 'new')])
  })
})
