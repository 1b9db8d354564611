import type { Logger } from 'pino'
import { type Config, fileOf, isEmbedded, wrong } from './config.ts'
import { ConfigError } from './config-files.ts'
import { installDemoShop } from './demo/install.ts'
import { RuntimeError } from './errors.ts'
import { type AddressGuard, createAddressGuard } from './host/address-guard.ts'
import { ensureEffectsTable } from './host/effects.ts'
import { openMysqlShop } from './host/mysql/shop.ts'
import type { ShopDatabase } from './host/shop.ts'
import { openSqliteShop } from './host/sqlite/shop.ts'
import { type Database, guarded, migrate, openDatabase } from './store/database.ts'
import { lockDatabase } from './store/lock.ts'
import type { StateStore } from './store/state.ts'

/** Told what to close when the node stops, the last one first. */
export type OnClose = (closer: () => unknown) => void

/** Opens the runtime's database and brings its tables up to date; waits, with a message, for one that is down. */
export async function openStore({ databaseUrl }: Config, logger: Logger, onClose: OnClose): Promise<Database> {
  if (isEmbedded(databaseUrl)) onClose(lockDatabase(fileOf(databaseUrl)).release)
  await whenUp('DATABASE_URL', () => bringUpToDate(databaseUrl), logger)
  const db = openDatabase(databaseUrl)
  onClose(() => db.destroy())
  return db
}

/** For one statement of a migration, which may rebuild a large table, or wait for another node's. */
const MIGRATION_MS = 3_600_000

async function bringUpToDate(databaseUrl: string): Promise<void> {
  const db = openDatabase(databaseUrl, MIGRATION_MS)
  try {
    await migrate(db)
  } finally {
    await db.destroy()
  }
}

const RETRY_MS = 2_000

/** Repeats `work` while the server behind the setting does not answer; any other refusal is the operator's to mend. */
async function whenUp(name: string, work: () => Promise<unknown>, logger: Logger): Promise<void> {
  const { attempt } = guarded({ attempt: work })
  for (;;) {
    try {
      await attempt()
      return
    } catch (error) {
      if (!(error instanceof RuntimeError) || error.code !== 'STORE_UNAVAILABLE')
        throw new ConfigError(`${name}: ${(error as Error).message}`)
      logger.warn(`${name}: ${error.message} Next attempt in ${RETRY_MS / 1000} s.`)
      await new Promise(resolve => setTimeout(resolve, RETRY_MS))
    }
  }
}

/**
 * Makes the shop ready for runs: the table of effects, and the demo shop where the demo is on, which it is when the
 * setting says so, was so before, or the embedded database is new. Answers whether it is.
 */
export async function prepareShop(config: Config, state: StateStore, logger: Logger): Promise<boolean> {
  const shop = openDatabase(config.shopDatabaseUrl)
  try {
    const before = await state.get('demo')
    const demo = config.demo ?? (before === null ? isEmbedded(config.databaseUrl) : before === 'on')
    await whenUp('SHOP_DATABASE_URL', () => ensureEffectsTable(shop), logger)
    if (demo) await installDemoShop(shop)
    await state.set('demo', demo ? 'on' : 'off')
    return demo
  } finally {
    await shop.destroy()
  }
}

/** The most connections that runs may hold at once; a run that writes holds one until its end. */
const MAX_SHOP_CONNECTIONS = 64

export function openShop({ shopDatabaseUrl, runners, concurrency }: Config): ShopDatabase {
  if (isEmbedded(shopDatabaseUrl)) return openSqliteShop(fileOf(shopDatabaseUrl))
  return openMysqlShop(shopDatabaseUrl, { connections: Math.min(runners * concurrency, MAX_SHOP_CONNECTIONS) })
}

/** What stands in the way of listening, as the setting that must change; any other failure as it is. */
export function refusedAddress(thrown: unknown, { host, port }: Pick<Config, 'host' | 'port'>): unknown {
  const { code } = thrown as NodeJS.ErrnoException
  if (code === 'EADDRINUSE') return wrong('PORT', `${port} is in use on ${host}`, String((port + 1) % 65_536))
  if (code === 'EACCES') return wrong('PORT', `${port} is not for this account`, '8080')
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return wrong('HOST', `${host} is no address of this machine`, '127.0.0.1')
  return thrown
}

/** Who scripts may talk to: the public, what the setting allows, and `own`, the demo's stand-ins in this process. */
export function openGuard({ httpAllow }: Config, own: string[]): AddressGuard {
  try {
    return createAddressGuard([...httpAllow, ...own])
  } catch (error) {
    throw wrong('SANDHOOK_HTTP_ALLOW', (error as Error).message.replace(/\.$/, ''), '127.0.0.1:18081,10.0.0.0/8')
  }
}
