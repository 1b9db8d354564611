import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Cipher } from './store/cipher.ts'
import type { StateStore } from './store/state.ts'

const FILE = 'secret.key'

/** The key kept in `dataDir` (mode 0600); made when there is none yet. */
export function keptKey(dataDir: string): Buffer {
  mkdirSync(dataDir, { recursive: true })
  const file = join(dataDir, FILE)
  try {
    // 'wx': of two processes that start at once, one makes the file and the other reads it.
    writeFileSync(file, `${randomBytes(32).toString('base64')}\n`, { mode: 0o600, flag: 'wx' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  const key = Buffer.from(readFileSync(file, 'utf8'), 'base64')
  if (key.length !== 32) throw new Error(`${file} does not hold a key of 32 bytes; restore it from your backup`)
  return key
}

const PROOF = 'sandhook'

/** Throws an Error when this database's secrets were sealed with another key. */
export async function proveKey(state: StateStore, cipher: Cipher): Promise<void> {
  const sealed = await state.get('key_proof')
  if (sealed === null) return state.set('key_proof', cipher.seal(PROOF))
  try {
    if (cipher.open(sealed) === PROOF) return
  } catch {}
  throw new Error(
    `SANDHOOK_SECRET_KEY: the secrets in this database were sealed with another key; set that key, or restore ${FILE}`
  )
}
