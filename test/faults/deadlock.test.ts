import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from 'vitest'
import { type Database, openDatabase } from '../../runtime/store/database.ts'
import { engines, freshMysql } from '../support/databases.ts'
import { openTestShop, type Partner, runHook, startPartner, type TestShop } from '../support/run-hook.ts'
import { eventually, type SandhookProcess, startSandhookProcess } from '../support/sandhook.ts'

const ROUNDS = 4
const PAIR = 'CREATE TABLE pair (id INT PRIMARY KEY, n INT NOT NULL) ENGINE=InnoDB'

/** Lets calls go when those of so many hooks have come for their event; whoever comes again goes at once. */
function meeting(hooks: number): (path: string) => Promise<void> {
  const events = new Map<string, { come: Set<string>; all: PromiseWithResolvers<void> }>()
  return async path => {
    const [, , event = '', hook = ''] = path.split('/')
    const { come, all } = events.get(event) ?? { come: new Set(), all: Promise.withResolvers<void>() }
    events.set(event, { come, all })
    if (come.add(hook).size === hooks) all.resolve()
    await all.promise
  }
}

async function startAll(hooks: number) {
  const url = await freshMysql()
  const db = openDatabase(url)
  onTestFinished(() => db.destroy())
  await db.raw(PAIR)
  await db.raw('INSERT INTO pair VALUES (1, 0), (2, 0)')
  const meet = meeting(hooks)
  const partner = await startPartner(async ({ path }) => {
    if (path.startsWith('/meet/')) await meet(path)
    return { body: { ok: true } }
  })
  onTestFinished(partner.close)
  const sandhook = await startSandhookProcess({
    ...{ DATABASE_URL: url, SANDHOOK_DEMO: 'off', SANDHOOK_RUNNERS: '1', SANDHOOK_HTTP_ALLOW: '127.0.0.1' }
  })
  onTestFinished(async () => void (await sandhook.end('SIGKILL')))
  return { db, partner, sandhook }
}

/** Tells the partner, then changes one row and, when the other hook has changed the other one, that too. */
const crossing = (partner: Partner, first: number, second: number) => `
  http.post('${partner.url}/act', { body: { event: payload.event.id } })
  db.update('UPDATE pair SET n = n + 1 WHERE id = ?', ${first})
  http.get('${partner.url}/meet/' + payload.event.id + '/${first}')
  db.update('UPDATE pair SET n = n + 1 WHERE id = ?', ${second})
  return payload.event.attempt`

const addHook = async (sandhook: SandhookProcess, path: string, script: string) =>
  expect((await sandhook.call('POST', '/admin/v1/hooks', { path, events: ['CROSS'], script })).status).toBe(201)

const rowsOf = async <Row>(db: Database, sql: string): Promise<Row[]> => ((await db.raw(sql)) as [Row[]])[0]

const deadlocks = async (db: Database) =>
  Number((await rowsOf<{ Value: string }>(db, "SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'"))[0]?.Value)

/** Sends an event and waits until its executions have succeeded; answers their histories' error codes. */
async function cross(sandhook: SandhookProcess, id: string): Promise<(string | null)[]> {
  const { body } = await sandhook.call('POST', '/events', { id, eventKey: 'CROSS', payload: id })
  const done = body.events[0].executions.map((execution: string) =>
    eventually(async () => {
      const { body } = await sandhook.call('GET', `/admin/v1/executions/${execution}`)
      return ['succeeded', 'dead'].includes(body.status) && body
    })
  )
  const executions = (await Promise.all(done)) as {
    status: string
    attempts: number
    result: number
    history: { error: { code: string } | null }[]
  }[]
  for (const { status, attempts, result } of executions) expect([status, attempts, result]).toEqual(['succeeded', 1, 1])
  return executions.flatMap(({ history }) => history.map(({ error }) => error?.code ?? null))
}

describe.skipIf(!inject('mysqlUrl'))('runs that lock each other out', () => {
  test('of two hooks, crosswise: both succeed in their first attempt, and nothing is done or told twice', async () => {
    const { db, partner, sandhook } = await startAll(2)
    await addHook(sandhook, '/custom/there', crossing(partner, 1, 2))
    await addHook(sandhook, '/custom/back', crossing(partner, 2, 1))
    const before = await deadlocks(db)
    const codes: (string | null)[] = []
    for (let round = 0; round < ROUNDS; round++) codes.push(...(await cross(sandhook, `cross-${round}`)))
    expect((await deadlocks(db)) - before).toBeGreaterThanOrEqual(ROUNDS)
    expect(codes.filter(code => code === 'DB_CONFLICT').length).toBeGreaterThanOrEqual(ROUNDS)
    expect(codes.filter(code => code === null)).toHaveLength(2 * ROUNDS)
    expect(await rowsOf(db, 'SELECT n FROM pair')).toEqual([{ n: 2 * ROUNDS }, { n: 2 * ROUNDS }])
    const acts = partner.requests.filter(({ path }) => path === '/act')
    expect(acts).toHaveLength(2 * ROUNDS)
    expect(new Set(acts.map(({ headers }) => headers['idempotency-key'])).size).toBe(2 * ROUNDS)
  })

  test("by somebody else's lock that lasts too long: the run is repeated until it is gone, in one attempt", async () => {
    const { db, partner, sandhook } = await startAll(1)
    await addHook(sandhook, '/custom/there', crossing(partner, 1, 2))
    const holder = await db.transaction()
    await holder('pair').where({ id: 1 }).update({ n: 100 })
    const crossed = cross(sandhook, 'held')
    await eventually(async () => Number((await db('sandhook_executions').max({ runs: 'runs' }))[0]?.runs) >= 2)
    await holder.commit()
    expect(await crossed).toContain('DB_CONFLICT')
    expect(await rowsOf(db, 'SELECT n FROM pair')).toEqual([{ n: 101 }, { n: 1 }])
    expect(partner.requests.filter(({ path }) => path === '/act')).toHaveLength(1)
  })
})

const mysql = engines.find(({ engine }) => engine === 'mysql') as (typeof engines)[number]

describe.skipIf(mysql.missing)('a statement that commits by itself', () => {
  let shop: TestShop
  beforeAll(async () => {
    shop = await openTestShop(mysql)
    for (const sql of [PAIR, PAIR.replace('pair', 'steps').replace('PRIMARY KEY', 'NULL')]) await shop.sql(sql)
    await shop.sql('INSERT INTO pair VALUES (1, 0), (2, 0)')
  })
  afterAll(() => shop.close())

  test('and is the victim of a deadlock is done again; those before it are not', async () => {
    const other = openDatabase(inject('mysqlUrl') ?? '')
    onTestFinished(() => other.destroy())
    const [{ name } = { name: '' }] = await shop.sql<{ name: string }>('SELECT DATABASE() AS name')
    const heavy = await other.transaction()
    // The server ends the transaction that has changed less.
    for (let i = 0; i < 50; i++) await heavy.raw(`INSERT INTO ${name}.steps VALUES (-1, 0)`)
    await heavy.raw(`UPDATE ${name}.pair SET n = n + 1 WHERE id = 2`)
    const script = `
      db.insert('INSERT INTO steps (id, n) VALUES (1, 1)')
      return db.update('UPDATE pair SET n = n + 1 WHERE id IN (1, 2)')`
    const running = runHook({ shop, script, hook: { transaction: 'none' } })
    const waits =
      "SELECT 1 FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT' AND trx_query LIKE '%pair%'"
    // The server tells it anew only to who has not asked for a tenth of a second.
    await expect.poll(() => shop.sql(waits), { interval: 250, timeout: 20_000 }).not.toEqual([])
    await heavy.raw(`UPDATE ${name}.pair SET n = n + 1 WHERE id = 1`)
    await heavy.commit()
    const { result, error } = await running
    expect([error, result]).toEqual([null, 2])
    expect(await shop.sql('SELECT n FROM pair')).toEqual([{ n: 2 }, { n: 2 }])
    expect(await shop.sql('SELECT n FROM steps WHERE id = 1')).toEqual([{ n: 1 }])
  })
})
