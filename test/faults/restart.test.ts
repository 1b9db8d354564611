import mysql from 'mysql2/promise'
import { expect, inject, onTestFinished, test } from 'vitest'
import { startMariadb, type TestServer } from '../support/mariadb.ts'
import { startPartner } from '../support/run-hook.ts'
import { eventually, startSandhookProcess } from '../support/sandhook.ts'

const HOOKS = 5
const PER_HOOK = 20
const RUNS = HOOKS * PER_HOOK
/** Connections to the shop, each of which one waiting run holds; the other runs wait for theirs. */
const IN_TRANSACTION = 64

const MORTAL = inject('mysqlUrl') && !process.env.TEST_MYSQL_URL

async function startServer() {
  const server = (await startMariadb()) as TestServer
  onTestFinished(server.stop)
  const admin = await mysql.createConnection(server.adminUrl)
  for (const name of ['store', 'shop']) await admin.query(`CREATE DATABASE ${name}`)
  await admin.query('CREATE TABLE shop.ledger (id INT AUTO_INCREMENT PRIMARY KEY, hook VARCHAR(40), payload INT)')
  admin.destroy()
  return server
}

test.skipIf(!MORTAL)(
  `a database that is killed while ${RUNS} runs wait inside their transactions: all of them are done once when it is back`,
  async () => {
    const server = await startServer()
    const { promise: answered, resolve: answer } = Promise.withResolvers<void>()
    const partner = await startPartner(async () => {
      await answered
      return { body: { ok: true } }
    })
    onTestFinished(partner.close)
    const sandhook = await startSandhookProcess({
      ...{ DATABASE_URL: server.url('store'), SHOP_DATABASE_URL: server.url('shop'), SANDHOOK_DEMO: 'off' },
      ...{ SANDHOOK_RUNNERS: '2', SANDHOOK_CONCURRENCY: '100', SANDHOOK_HTTP_ALLOW: '127.0.0.1' }
    })
    onTestFinished(async () => void (await sandhook.end('SIGKILL')))
    const script = `
      db.insert('INSERT INTO ledger (hook, payload) VALUES (?, ?)', HOOK, payload.event.payload)
      http.post('${partner.url}/act', { body: { payload: payload.event.payload } })
      return payload.event.attempt`
    for (let i = 0; i < HOOKS; i++) {
      const hook = { path: `/custom/wait-${i}`, events: ['WAIT'], script: `const HOOK = 'wait-${i}'\n${script}` }
      expect((await sandhook.call('POST', '/admin/v1/hooks', hook)).status).toBe(201)
    }
    const events = Array.from({ length: PER_HOOK }, (_, i) => ({ id: `w-${i}`, eventKey: 'WAIT', payload: i }))
    expect((await sandhook.call('POST', '/events', events)).status).toBe(202)
    await eventually(async () => partner.requests.length === IN_TRANSACTION)

    await server.kill?.()
    answer()
    await server.restart?.()
    const stats = async () => (await sandhook.call('GET', '/admin/v1/stats')).body.executions ?? {}
    await eventually(async () => (await stats()).succeeded === RUNS, 90_000)

    const shop = await mysql.createConnection(server.url('shop'))
    const [rows] = await shop.query('SELECT COUNT(*) AS n, COUNT(DISTINCT hook, payload) AS different FROM ledger')
    const [attempts] = await shop.query('SELECT DISTINCT attempts FROM store.sandhook_executions')
    shop.destroy()
    expect(rows).toEqual([{ n: RUNS, different: RUNS }])
    expect(attempts).toEqual([{ attempts: 1 }])
    const keys = partner.requests.map(({ headers }) => headers['idempotency-key'])
    expect(new Set(keys).size).toBe(RUNS)
    expect(keys).toHaveLength(RUNS)
  },
  120_000
)
