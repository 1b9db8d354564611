import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { engines } from '../support/databases.ts'
import type { TestShop } from '../support/run-hook.ts'
import { access, MINE, openWorlds, tryOut } from './tenant-world.ts'

const TABLES: Record<string, string[]> = {
  eb_store_order: ['id', 'order_id', 'uid', 'mer_id', 'total_price', 'mark'],
  eb_store_order_info: ['id', 'order_no', 'product_name', 'sku', 'price'],
  eb_store_order_address: ['id', 'order_no', 'real_name', 'detail'],
  eb_store_order_status: ['id', 'oid', 'change_type'],
  eb_store_refund_order: ['id', 'refund_order_no', 'order_no', 'mer_id', 'refund_reason_wap', 'refund_price'],
  eb_merchant: ['id', 'mer_name'],
  eb_user: ['uid', 'nickname', 'phone', 'brokerage_price']
}

/** A source of numbers that a seed decides (mulberry32). */
function randomOf(seed: number) {
  let state = seed
  const next = () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const below = (limit: number) => Math.floor(next() * limit)
  return {
    below,
    pick: <T>(list: readonly T[]): T => list[below(list.length)] as T,
    chance: (part: number) => next() < part
  }
}

interface Source {
  alias: string
  columns: string[]
}

/** Statements of a small grammar: joins, sub-queries, CTEs, conditions that fail for some values, every kind of write. */
function grammar(seed: number) {
  const { below, pick, chance } = randomOf(seed)
  let aliases = 0
  const columnOf = (sources: Source[]) => {
    const source = pick(sources)
    return `${source.alias}.${pick(source.columns)}`
  }
  const value = (): string =>
    pick(["'a'", "'%a%'", "'own'", "'M1'", "'F2'", '0', '1', '2', '7', '8', '50000', 'NULL', '0x61'])
  const expression = (sources: Source[], depth: number): string => {
    if (depth <= 0 || chance(0.4)) return chance(0.7) ? columnOf(sources) : value()
    return pick([
      () => `IF(${condition(sources, depth - 1)}, ${expression(sources, depth - 1)}, ${value()})`,
      () => `CONCAT(${expression(sources, depth - 1)}, ${value()})`,
      () =>
        `(${expression(sources, depth - 1)} ${pick(['+', '-', '*', '/', 'DIV'])} ${pick(['1', '9223372036854775807', columnOf(sources)])})`,
      () => `CASE WHEN ${condition(sources, depth - 1)} THEN ${expression(sources, depth - 1)} ELSE ${value()} END`,
      () => `(${query(1, depth - 1, sources)} LIMIT 1)`,
      () => `(${query(1, depth - 1, sources)})`,
      () => `REPEAT(${columnOf(sources)}, ${pick(['2', '99999999'])})`
    ])()
  }
  const condition = (sources: Source[], depth: number): string => {
    const compare = () =>
      `${expression(sources, depth - 1)} ${pick(['=', '<>', '<', '>=', '<=>', 'LIKE'])} ${expression(sources, depth - 1)}`
    if (depth <= 0 || chance(0.3)) return compare()
    return pick([
      () => `(${condition(sources, depth - 1)} OR ${condition(sources, depth - 1)})`,
      () => `${condition(sources, depth - 1)} AND ${condition(sources, depth - 1)}`,
      () => `NOT (${condition(sources, depth - 1)})`,
      () => `EXISTS (${query(1, depth - 1, sources)})`,
      () => `${columnOf(sources)} IN (${query(1, depth - 1, sources)})`,
      () => `${columnOf(sources)} REGEXP IF(${condition(sources, depth - 1)}, 'a', '(')`,
      () => `${columnOf(sources)} BETWEEN ${value()} AND ${value()}`,
      compare
    ])()
  }
  const source = (depth: number): { text: string; source: Source } => {
    const alias = `t${++aliases}`
    if (depth > 0 && chance(0.25)) {
      const inner = from(depth - 1, [])
      const text = `(SELECT ${expression(inner.sources, depth - 1)} AS c1, ${columnOf(inner.sources)} AS c2 FROM ${inner.text} WHERE ${condition(inner.sources, depth - 1)}) ${alias}`
      return { text, source: { alias, columns: ['c1', 'c2'] } }
    }
    const table = pick(Object.keys(TABLES))
    return {
      text: `${table} ${chance(0.5) ? 'AS ' : ''}${alias}`,
      source: { alias, columns: TABLES[table] as string[] }
    }
  }
  const from = (depth: number, outer: Source[]): { text: string; sources: Source[] } => {
    const first = source(depth)
    const sources = [first.source]
    let { text } = first
    for (let count = below(3); count > 0; count--) {
      const more = source(depth)
      sources.push(more.source)
      const join = pick(['JOIN', 'LEFT JOIN', 'CROSS JOIN', ','])
      const on =
        /JOIN$/.test(join) && join !== 'CROSS JOIN' ? ` ON ${condition([...sources, ...outer], depth - 1)}` : ''
      text += join === ',' ? ` CROSS JOIN ${more.text}` : ` ${join} ${more.text}${on}`
    }
    return { text, sources }
  }
  const query = (columns: number, depth: number, outer: Source[] = []): string => {
    const { text, sources } = from(depth, outer)
    const list = Array.from({ length: columns }, (_, index) => `${expression(sources, depth)} AS v${index}`).join(', ')
    const where = chance(0.8) ? ` WHERE ${condition([...sources, ...outer], depth)}` : ''
    return `SELECT ${chance(0.2) ? 'DISTINCT ' : ''}${list} FROM ${text}${where}`
  }
  const statement = (): string => {
    const [table, columns] = pick(Object.entries(TABLES))
    const sources = [{ alias: table, columns }]
    const set = `${pick(columns)} = ${expression(sources, 1)}`
    return pick([
      () => query(2, 3),
      () => query(2, 2),
      () => `${query(1, 2)} ${pick(['UNION', 'UNION ALL', 'EXCEPT'])} ${query(1, 2)}`,
      () =>
        `WITH w AS (${query(2, 2)}) SELECT w.v0 FROM w WHERE ${condition([{ alias: 'w', columns: ['v0', 'v1'] }], 2)}`,
      () =>
        `SELECT COUNT(*) AS n, MAX(${columnOf(sources)}) AS m FROM ${table} WHERE ${condition(sources, 2)} HAVING COUNT(*) > 0`,
      () => `${query(1, 1)} FOR UPDATE`,
      () => `UPDATE ${table} SET ${set} WHERE ${condition(sources, 2)}`,
      () => `DELETE FROM ${table} WHERE ${condition(sources, 2)}`,
      () => `INSERT INTO ${table} (${columns.slice(1).join(', ')}) VALUES (${columns.slice(1).map(value).join(', ')})`,
      () => `INSERT INTO ${table} (${columns.slice(1).join(', ')}) ${query(columns.length - 1, 1)}`
    ])()
  }
  return statement()
}

/** Numbers of the statements that are tried; to look at one again, name it alone. */
const SEEDS = Array.from({ length: 250 }, (_, index) => index + 1)

describe.each(engines)('on $name', ({ missing, ...entry }) => {
  describe.skipIf(missing)('random statements', () => {
    let worlds: TestShop[] = []

    beforeAll(async () => {
      worlds = await openWorlds({ missing, ...entry })
    })
    afterAll(async () => {
      for (const world of worlds) await world.close()
    })

    test('tell merchant 7 nothing of others, and change nothing of theirs', async () => {
      const read = access(MINE)
      const before = await Promise.all(worlds.map(async world => (await tryOut(world, read, [])).found))
      const leaks: unknown[] = []
      let ran = 0
      for (const seed of SEEDS) {
        const sql = grammar(seed)
        const after = await Promise.all(worlds.map(world => tryOut(world, read, [[sql]])))
        const [here, there] = after.map(({ seen }) => JSON.stringify(seen))
        if (here?.includes('"value"')) ran++
        if (here !== there || /canary/.test(here ?? '') || after.some(({ found }, index) => found !== before[index]))
          leaks.push({ seed, sql, here, there })
      }
      expect(leaks).toEqual([])
      expect(ran).toBeGreaterThan(SEEDS.length / 4)
    })
  })
})
