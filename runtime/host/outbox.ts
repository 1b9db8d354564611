import { RuntimeError } from '../errors.ts'
import type { Row, ShopDatabase } from './shop.ts'
import { parseStatement } from './sql/statement.ts'

/** A row of `sandhook_outbox` as the shop wrote it; sql/shop/outbox.sql says what each column means. */
export interface OutboxRow {
  id: number | string
  event_key: string | null
  payload: string | number | null
  mer_id: string | number | null
  created_at: number | string | null
  event_id: string | null
  ordering_key: string | null
  data: string | null
}

/** Where the shop leaves events for us. Every method throws RuntimeError as `ShopDatabase` does. */
export interface Outbox {
  exists: () => Promise<boolean>
  /** The oldest rows that are not taken, by id. One that would not fit into memory with the others is HOOK_DB_LIMIT. */
  waiting: (count: number) => Promise<OutboxRow[]>
  /** The id of the oldest row that is not taken. */
  oldest: () => Promise<OutboxRow['id'] | undefined>
  /** Marks rows as taken; at most MAX_TAKEN. */
  take: (ids: OutboxRow['id'][]) => Promise<void>
  /** Marks one that can't be an event. */
  refuse: (id: OutboxRow['id'], error: string) => Promise<void>
  /** Deletes at most 500 rows that were taken before `time`; answers how many. */
  purge: (time: number) => Promise<number>
}

/** Rows that one statement marks. */
export const MAX_TAKEN = 500
const MAX_BYTES = 32 * 1024 * 1024
const PATIENCE_MS = 30_000
const ERROR_LENGTH = 255

const COLUMNS = 'id, event_key, payload, mer_id, created_at, event_id, ordering_key, data'
// One text for any number of ids, the last one repeated: the parser's cache is the scripts'.
const IDS = `id IN (${Array(MAX_TAKEN).fill('?').join(', ')})`
const filled = (ids: OutboxRow['id'][]) => [...ids, ...Array(MAX_TAKEN - ids.length).fill(ids.at(-1))]

/** The outbox through the scripts' account. No lock outlives a statement: nothing that the shop does waits for us. */
export function createOutbox(shop: ShopDatabase): Outbox {
  const run = (sql: string, params: (string | number)[] = []) =>
    shop.run(parseStatement(sql), params, {
      bounds: { rows: MAX_TAKEN, bytes: MAX_BYTES },
      signal: AbortSignal.timeout(PATIENCE_MS)
    })
  const read = async (sql: string, params?: (string | number)[]): Promise<Row[]> => {
    const answer = await run(sql, params)
    return 'rows' in answer ? answer.rows : []
  }
  const idsOf = (rows: Row[]) => rows.map(({ id }) => id as OutboxRow['id'])
  return {
    async exists() {
      try {
        await read('SELECT id FROM sandhook_outbox LIMIT 1')
        return true
      } catch (error) {
        if (isMissingTable(error)) return false
        throw error
      }
    },
    waiting: async count =>
      (await read(`SELECT ${COLUMNS} FROM sandhook_outbox WHERE taken_at IS NULL ORDER BY id LIMIT ?`, [
        count
      ])) as unknown as OutboxRow[],
    oldest: async () =>
      idsOf(await read('SELECT id FROM sandhook_outbox WHERE taken_at IS NULL ORDER BY id LIMIT 1'))[0],
    async take(ids) {
      if (ids.length === 0) return
      await run(`UPDATE sandhook_outbox SET taken_at = ? WHERE ${IDS}`, [Date.now(), ...filled(ids)])
    },
    async refuse(id, error) {
      const params = [Date.now(), error.slice(0, ERROR_LENGTH), id]
      await run('UPDATE sandhook_outbox SET taken_at = ?, error = ? WHERE id = ?', params)
    },
    async purge(time) {
      try {
        const old = idsOf(
          await read('SELECT id FROM sandhook_outbox WHERE taken_at < ? ORDER BY taken_at LIMIT 500', [time])
        )
        if (old.length > 0) await run(`DELETE FROM sandhook_outbox WHERE ${IDS}`, filled(old))
        return old.length
      } catch (error) {
        if (isMissingTable(error)) return 0
        throw error
      }
    }
  }
}

/** Whether a statement failed because its table is not there. */
export const isMissingTable = (error: unknown): boolean => error instanceof RuntimeError && error.data?.errno === 1146
