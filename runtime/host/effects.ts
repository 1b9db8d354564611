import { readFile } from 'node:fs/promises'
import { type Database, statementsOf } from '../store/database.ts'
import type { ShopDatabase } from './shop.ts'
import { parseStatement } from './sql/statement.ts'

const EFFECTS = new URL('../../sql/shop/effects.sql', import.meta.url)

/**
 * Makes sure that the shop's database has `hook_effects`. Where this account may not create it, throws an Error whose
 * message holds the SQL for whoever may.
 */
export async function ensureEffectsTable(shop: Database): Promise<void> {
  if (await shop.schema.hasTable('hook_effects')) return
  const text = await readFile(EFFECTS, 'utf8')
  try {
    for (const statement of statementsOf(text)) await shop.raw(statement)
  } catch (error) {
    const why = (error as Error).message
    throw new Error(
      `SHOP_DATABASE_URL: the table hook_effects is missing and this account may not create it (${why}). ` +
        `Have it created with:\n\n${text}`
    )
  }
}

const PURGE = parseStatement('DELETE FROM hook_effects WHERE created_at < ? LIMIT 500')

/** Deletes at most 500 markers of runs that ended before `time`; answers how many. */
export async function purgeEffects(shop: ShopDatabase, time: number): Promise<number> {
  const options = { bounds: { rows: 1, bytes: 1_000 }, signal: AbortSignal.timeout(60_000) }
  const answer = await shop.run(PURGE, [time], options)
  return 'affected' in answer ? answer.affected : 0
}
