import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import Sqlite from 'better-sqlite3'

/**
 * Takes an embedded database for this process alone: SQLite's own lock on a file beside it, which the system gives back
 * when the process dies. Throws an Error when another process has it.
 */
export function lockDatabase(file: string): { release: () => void } {
  mkdirSync(dirname(file), { recursive: true })
  const lock = new Sqlite(`${file}.lock`, { timeout: 0 })
  try {
    lock.pragma('locking_mode = EXCLUSIVE')
    lock.exec('BEGIN EXCLUSIVE')
  } catch {
    lock.close()
    throw new Error(`DATABASE_URL: another Sandhook is using ${file}; stop it, or give this one another file`)
  }
  return { release: () => lock.close() }
}
