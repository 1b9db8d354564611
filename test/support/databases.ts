import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import mysql from 'mysql2/promise'
import { inject, onTestFinished } from 'vitest'

/** A database of its own for a test, and how to be rid of it. */
export interface TestDatabase {
  /** `mysql://…/name` or `sqlite:/folder/file`. */
  url: string
  drop: () => Promise<void>
}

const mysqlUrl = inject('mysqlUrl')

/** Makes an empty MySQL database with a random name. */
export async function makeMysql(): Promise<TestDatabase> {
  if (!mysqlUrl) throw new Error('There is no MySQL server in this test run')
  const name = `t_${randomUUID().replaceAll('-', '').slice(0, 12)}`
  const run = async (sql: string) => {
    const connection = await mysql.createConnection(mysqlUrl)
    await connection.query(sql)
    await connection.end()
  }
  await run(`CREATE DATABASE ${name} CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci`)
  const url = new URL(mysqlUrl)
  url.pathname = `/${name}`
  return { url: url.href, drop: () => run(`DROP DATABASE IF EXISTS ${name}`) }
}

/** Makes an empty folder with the name of a SQLite file in it. */
export async function makeSqlite(): Promise<TestDatabase> {
  const folder = mkdtempSync(join(tmpdir(), 'sandhook-sqlite-'))
  return {
    url: `sqlite:${join(folder, 'test.db')}`,
    drop: async () => rmSync(folder, { recursive: true, force: true })
  }
}

/** The URL of an empty MySQL database that goes when the running test ends. */
export async function freshMysql(): Promise<string> {
  const { url, drop } = await makeMysql()
  onTestFinished(drop)
  return url
}

/** The URL of an empty SQLite database that goes when the running test ends. */
export async function freshSqlite(): Promise<string> {
  const { url, drop } = await makeSqlite()
  onTestFinished(drop)
  return url
}

/**
 * What one contract suite runs on: `describe.each(engines)('… on $name', ({ make, missing }) => …)`. Where `missing`
 * says why there is no such server, skip the suite with it: `describe.skipIf(missing)`.
 */
export const engines: {
  name: string
  engine: 'sqlite' | 'mysql'
  make: () => Promise<TestDatabase>
  missing: boolean
}[] = [
  { name: 'sqlite', engine: 'sqlite', make: makeSqlite, missing: false },
  {
    name: mysqlUrl ? 'mysql' : 'mysql (skipped: no mariadbd here and no TEST_MYSQL_URL)',
    engine: 'mysql',
    make: makeMysql,
    missing: !mysqlUrl
  }
]
