import mysql from 'mysql2/promise'
import { startMariadb } from '../support/mariadb.ts'

/** A server for a benchmark with one empty database on it. */
export async function startDatabase(name: string): Promise<{ url: string; stop: () => Promise<void> }> {
  const mariadb = await startMariadb()
  if (!mariadb) throw new Error('The benchmark needs MariaDB: install mariadb-server, or set TEST_MYSQL_URL')
  const admin = await mysql.createConnection(mariadb.adminUrl)
  await admin.query(`CREATE DATABASE ${name} CHARACTER SET utf8mb4`)
  await admin.end()
  return { url: mariadb.url(name), stop: mariadb.stop }
}
