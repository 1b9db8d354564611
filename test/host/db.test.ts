import { describe, expect, test } from 'vitest'
import { createDbHost } from '../../runtime/host/db.ts'
import type { ShopDatabase, ShopTransaction } from '../../runtime/host/shop.ts'
import { createAccess } from '../../runtime/host/sql/access.ts'
import type { Limits } from '../../runtime/model.ts'

/** A shop whose transactions open only when the test says so: the moments between are what is tested. */
function slowShop() {
  const { promise, resolve } = Promise.withResolvers<void>()
  const log: string[] = []
  const note = (what: string) => async () => void log.push(what)
  const transaction: ShopTransaction = {
    run: async () => ({ affected: 1, insertId: null }),
    ...{ commit: note('commit'), rollback: note('rollback') },
    ...{ savepoint: note('savepoint'), release: note('release'), undo: note('undo') }
  }
  const shop: ShopDatabase = {
    engine: 'sqlite',
    run: async () => ({ affected: 1, insertId: null }),
    begin: async () => {
      await promise
      log.push('begin')
      return transaction
    },
    ping: async () => {},
    close: async () => {}
  }
  return { shop, log, open: resolve }
}

const limits = { dbRows: 10, dbBytes: 1000 } as Limits
const signal = new AbortController().signal
const read = createAccess(new Map())(null)

describe('the transaction of a run', () => {
  test('is rolled back even when the run is over before it is open', async () => {
    const { shop, log, open } = slowShop()
    const db = createDbHost({ shop, limits, mode: 'run', hook: 'h', read, signal })
    const writing = db.change('UPDATE t SET a = 1', [])
    const over = db.rollback()
    open()
    await Promise.all([writing, over])
    expect(log).toEqual(['begin', 'rollback'])
  })

  test('is one for all that the run writes, and reads before it are outside', async () => {
    const { shop, log, open } = slowShop()
    open()
    const db = createDbHost({ shop, limits, mode: 'run', hook: 'h', read, signal })
    await db.change('UPDATE t SET a = 1', [])
    await db.change('UPDATE t SET a = 2', [])
    expect(await db.commit({ executionId: 'e', result: null, announcements: [] })).toBe('committed')
    expect(log).toEqual(['begin', 'commit'])
  })

  test('of mode "none" is opened by db.transaction only', async () => {
    const { shop, log, open } = slowShop()
    open()
    const db = createDbHost({ shop, limits, mode: 'none', hook: 'h', read, signal })
    await db.change('UPDATE t SET a = 1', [])
    expect(log).toEqual([])
    const outer = await db.begin()
    const inner = await db.begin()
    await db.undo(inner)
    await db.keep(outer)
    expect(log).toEqual(['begin', 'savepoint', 'undo', 'commit'])
  })
})
