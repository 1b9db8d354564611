import { readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { describe, expect, inject, onTestFinished, test } from 'vitest'
import { openDatabase } from '../../runtime/store/database.ts'
import { freshMysql } from '../support/databases.ts'
import { type Launched, launch } from '../support/launch.ts'
import { startProxy } from '../support/proxy.ts'
import { holdingPartner } from '../support/run-hook.ts'
import { eventually } from '../support/sandhook.ts'

const TOKEN = 'test-admin-token-0123456789'
/** The document's naive script: a record, then a balance, with no transaction of its own. */
const NAIVE = readFileSync(new URL('../contract/samples/distribution-calc-commission.js', import.meta.url), 'utf8')

interface Answer {
  status: number
  // biome-ignore lint/suspicious/noExplicitAny: answers of every route
  body: any
  retryAfter: string | null
  ms: number
}

/** One request with the admin's token; rejects when there is no answer within 15 s. */
async function ask(sandhook: Launched, method: string, path: string, body?: unknown): Promise<Answer> {
  const begun = performance.now()
  const headers = { authorization: `Bearer ${TOKEN}`, ...(body ? { 'content-type': 'application/json' } : {}) }
  const init = { method, headers, ...(body ? { body: JSON.stringify(body) } : {}) }
  const response = await fetch((await sandhook.url) + path, { ...init, signal: AbortSignal.timeout(15_000) })
  return {
    status: response.status,
    body: await response.json(),
    retryAfter: response.headers.get('retry-after'),
    ms: performance.now() - begun
  }
}

function start(env: Record<string, string>): Launched {
  const fixed = {
    ...{ PORT: '0', SANDHOOK_ADMIN_TOKEN: TOKEN, SANDHOOK_DEMO: 'off', SANDHOOK_LOG_LEVEL: 'warn' },
    SANDHOOK_HTTP_ALLOW: '127.0.0.1'
  }
  const sandhook = launch({ ...fixed, ...env }, tmpdir())
  onTestFinished(async () => {
    sandhook.kill('SIGKILL')
    await sandhook.ended
  })
  return sandhook
}

async function proxyTo(url: string) {
  const proxy = await startProxy(url)
  onTestFinished(proxy.close)
  return proxy
}

/** Looks into a database past the proxy. */
function look(url: string) {
  const db = openDatabase(url)
  onTestFinished(() => db.destroy())
  return async <Row>(sql: string): Promise<Row[]> => ((await db.raw(sql)) as [Row[]])[0]
}

const stats = async (sandhook: Launched): Promise<Record<string, number>> =>
  (await ask(sandhook, 'GET', '/admin/v1/stats')).body.executions

/** What the naive script is to do to the demo shop, and whether it has. */
async function openLedger(rows: ReturnType<typeof look>) {
  const orders = await rows<{ order_id: string; pays: number }>(
    'SELECT o.order_id, u.spread_uid > 0 AS pays FROM eb_store_order o JOIN eb_user u ON u.uid = o.uid ORDER BY o.id'
  )
  const balances = async () => {
    const users = await rows<{ uid: number; brokerage_price: string }>('SELECT uid, brokerage_price FROM eb_user')
    return new Map(users.map(row => [row.uid, Number(row.brokerage_price)]))
  }
  const before = await balances()
  return {
    orders: orders.map(row => row.order_id),
    committed: async () => Number((await rows<{ n: number }>('SELECT COUNT(*) AS n FROM hook_effects'))[0]?.n),
    async provesExact(events: number) {
      const paid = Array.from({ length: events }, (_, no) => Number(orders[no % orders.length]?.pays)).filter(Boolean)
      const records = await rows<{ uid: number; n: number; sum: string }>(
        'SELECT uid, COUNT(*) AS n, SUM(price) AS sum FROM eb_user_brokerage_record GROUP BY uid'
      )
      expect(records.reduce((sum, row) => sum + Number(row.n), 0)).toBe(paid.length)
      for (const [uid, balance] of await balances()) {
        const earned = Number(records.find(row => row.uid === uid)?.sum ?? 0)
        expect([uid, balance - (before.get(uid) ?? 0)]).toEqual([uid, earned])
      }
    }
  }
}

/** Sends events on all orders in turn as a shop does: each again, under the same id, until it is told 202. */
function startSending(sandhook: Launched, orders: string[]) {
  const refused: Answer[] = []
  let accepted = 0
  let enough = false
  const send = async (no: number) => {
    const event = { id: `e-${no}`, eventKey: 'NAIVE_COMMISSION', payload: orders[no % orders.length] }
    for (;;) {
      const answer = await ask(sandhook, 'POST', '/events', event)
      if (answer.status === 202) return void accepted++
      refused.push(answer)
      await new Promise(resolve => setTimeout(resolve, 200))
    }
  }
  const sending = (async () => {
    for (let from = 0; !enough; from += 20) await Promise.all(Array.from({ length: 20 }, (_, i) => send(from + i)))
  })()
  return {
    refused,
    /** Sends some more; answers how many were accepted in all. */
    async finish() {
      const before = accepted
      await eventually(async () => accepted > before + 40)
      enough = true
      await sending
      return accepted
    }
  }
}

describe.skipIf(!inject('mysqlUrl'))('a database that is away', () => {
  test('at the start is waited for, with a message that names the variable', async () => {
    const url = await freshMysql()
    const proxy = await proxyTo(url)
    await proxy.set('refuse')
    const sandhook = start({ DATABASE_URL: proxy.through(url) })
    await eventually(async () => sandhook.stderr().includes('DATABASE_URL: '))
    expect(sandhook.stderr()).toMatch(/DATABASE_URL: The runtime's database does not answer .* Next attempt in 2 s/)
    await proxy.set('hang')
    await eventually(async () => sandhook.stderr().includes('ETIMEDOUT'))
    await proxy.set('pass')
    await sandhook.url
    expect((await ask(sandhook, 'GET', '/readyz')).status).toBe(200)
  })

  test.each([
    ['refuses the account', (url: URL) => Object.assign(url, { username: 'nobody', password: 'sesame' }), /denied/],
    ['does not exist', (url: URL) => Object.assign(url, { pathname: '/no_such_database' }), /Unknown database/]
  ])('that %s ends the start with one line and exit code 1', async (_, change, why) => {
    const sandhook = start({ DATABASE_URL: change(new URL(await freshMysql())).href })
    expect(await sandhook.ended).toBe(1)
    expect(sandhook.stderr()).toMatch(/^DATABASE_URL: [^\n]+\n$/)
    expect(sandhook.stderr()).toMatch(why)
    expect(sandhook.stderr()).not.toContain('sesame')
  })

  test('during work: what got 202 is settled once, whatever is cut, and the ledger is exact', async () => {
    const url = await freshMysql()
    const proxy = await proxyTo(url)
    const sandhook = start({ DATABASE_URL: proxy.through(url), SANDHOOK_DEMO: 'on', SANDHOOK_RUNNERS: '2' })
    await sandhook.url
    const rows = look(url)
    const hook = { path: '/custom/naive', events: ['NAIVE_COMMISSION'], script: NAIVE }
    expect((await ask(sandhook, 'POST', '/admin/v1/hooks', hook)).status).toBe(201)
    const ledger = await openLedger(rows)
    const sender = startSending(sandhook, ledger.orders)
    for (const reached of [30, 100, 170]) {
      await eventually(async () => (await ledger.committed()) >= reached)
      proxy.cut()
    }
    await proxy.set('refuse')
    await eventually(async () => sender.refused.length > 40)
    const unready = await ask(sandhook, 'GET', '/readyz')
    expect([unready.status, unready.body.checks.database.ok]).toEqual([503, false])
    await proxy.set('pass')
    const accepted = await sender.finish()
    for (const answer of sender.refused) {
      expect([answer.status, answer.body.code]).toEqual([503, 'STORE_UNAVAILABLE'])
      expect(Number(answer.retryAfter)).toBeGreaterThan(0)
      expect(answer.ms).toBeLessThan(10_000)
    }
    const counts = await eventually(async () => {
      const now = await stats(sandhook)
      return (now.succeeded ?? 0) + (now.dead ?? 0) === accepted && now
    })
    expect(counts).toMatchObject({ succeeded: accepted })
    const attempts = await rows<{ attempts: number }>('SELECT DISTINCT attempts FROM sandhook_executions')
    expect(attempts).toEqual([{ attempts: 1 }])
    await ledger.provesExact(accepted)
    expect((await ask(sandhook, 'GET', '/readyz')).status).toBe(200)
  }, 120_000)

  test('that hangs: requests are answered 503 in time, outcomes wait, and all goes on when it is back', async () => {
    const url = await freshMysql()
    const proxy = await proxyTo(url)
    const sandhook = start({ DATABASE_URL: proxy.through(url), SHOP_DATABASE_URL: url })
    await sandhook.url
    const partner = await holdingPartner()
    const script = `http.get('${partner.url}'); return payload.event.attempt`
    await ask(sandhook, 'POST', '/admin/v1/hooks', { path: '/custom/nap', events: ['NAP'], script })
    const nap = (id: string) => ({ id, eventKey: 'NAP', payload: id })
    const ids = Array.from({ length: 40 }, (_, i) => `nap-${i}`)
    expect((await ask(sandhook, 'POST', '/events', ids.map(nap))).status).toBe(202)
    await eventually(async () => partner.requests.length > 0)
    await proxy.set('hang')
    partner.release()
    const answers = await Promise.all([
      ...Array.from({ length: 12 }, (_, i) => ask(sandhook, 'POST', '/events', nap(`lost-${i}`))),
      ask(sandhook, 'GET', '/admin/v1/executions')
    ])
    for (const answer of answers) expect([answer.status, answer.body.code]).toEqual([503, 'STORE_UNAVAILABLE'])
    expect((await ask(sandhook, 'GET', '/healthz')).status).toBe(200)
    await proxy.set('pass')
    await eventually(async () => (await stats(sandhook)).succeeded === ids.length, 30_000)
    const { body } = await ask(sandhook, 'GET', '/admin/v1/executions?limit=200')
    expect(
      new Set(body.items.map((one: { attempts: number; result: number }) => [one.attempts, one.result].join()))
    ).toEqual(new Set(['1,1']))
    expect((await ask(sandhook, 'POST', '/events', nap('lost-1'))).body.events).toMatchObject([{ duplicate: false }])
  })

  test('that hangs does not hold up the end: SIGTERM, exit 0 within 10 s', async () => {
    const url = await freshMysql()
    const proxy = await proxyTo(url)
    const sandhook = start({ DATABASE_URL: proxy.through(url) })
    await sandhook.url
    const partner = await holdingPartner()
    const script = `http.get('${partner.url}'); return 1`
    await ask(sandhook, 'POST', '/admin/v1/hooks', { path: '/custom/nap', events: ['NAP'], script })
    const events = [1, 2, 3].map(no => ({ eventKey: 'NAP', payload: no }))
    expect((await ask(sandhook, 'POST', '/events', events)).status).toBe(202)
    await eventually(async () => partner.requests.length > 0)
    await proxy.set('hang')
    const asked = Date.now()
    sandhook.kill('SIGTERM')
    partner.release()
    expect(await sandhook.ended).toBe(0)
    expect(Date.now() - asked).toBeLessThan(10_500)
  })
})

describe.skipIf(!inject('mysqlUrl'))("the shop's database alone that is away", () => {
  test.each(['refuse', 'hang'] as const)(
    '(%s): events are accepted, and runs wait for it for free',
    async mode => {
      const url = await freshMysql()
      const shopUrl = await freshMysql()
      const proxy = await proxyTo(shopUrl)
      const sandhook = start({ DATABASE_URL: url, SHOP_DATABASE_URL: proxy.through(shopUrl) })
      await sandhook.url
      const rows = look(shopUrl)
      await rows('CREATE TABLE ledger (id INT AUTO_INCREMENT PRIMARY KEY, event VARCHAR(40) NOT NULL)')
      const script =
        "db.insert('INSERT INTO ledger (event) VALUES (?)', payload.event.id); return payload.event.attempt"
      const hook = { path: '/custom/ledger', events: ['LEDGER'], script }
      expect((await ask(sandhook, 'POST', '/admin/v1/hooks', hook)).status).toBe(201)
      await proxy.set(mode)
      const ids = Array.from({ length: 30 }, (_, i) => `l-${i}`)
      const posted = await ask(
        sandhook,
        'POST',
        '/events',
        ids.map(id => ({ id, eventKey: 'LEDGER', payload: id }))
      )
      expect(posted.status).toBe(202)
      const ready = await ask(sandhook, 'GET', '/readyz')
      expect([ready.status, ready.body.checks.shop.ok, ready.body.checks.database.ok]).toEqual([503, false, true])
      await new Promise(resolve => setTimeout(resolve, 1_500))
      expect((await stats(sandhook)).succeeded ?? 0).toBe(0)
      await proxy.set('pass')
      await eventually(async () => (await stats(sandhook)).succeeded === ids.length, 40_000)
      expect(await rows('SELECT event, COUNT(*) AS n FROM ledger GROUP BY event HAVING n > 1')).toEqual([])
      expect(await rows<{ n: number }>('SELECT COUNT(*) AS n FROM ledger')).toEqual([{ n: ids.length }])
      const { body } = await ask(sandhook, 'GET', '/admin/v1/executions?limit=200')
      expect(body.items.map((one: { attempts: number }) => one.attempts)).toEqual(ids.map(() => 1))
      await eventually(async () => (await ask(sandhook, 'GET', '/readyz')).status === 200)
    },
    60_000
  )
})
