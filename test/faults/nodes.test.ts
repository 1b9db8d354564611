import { describe, expect, inject, onTestFinished, test } from 'vitest'
import { openDatabase } from '../../runtime/store/database.ts'
import { freshMysql } from '../support/databases.ts'
import { slowPartner } from '../support/run-hook.ts'
import { eventually, type SandhookProcess, startSandhookProcess } from '../support/sandhook.ts'

const KEYS = 60
const EVENTS = 600
const REACH = { SANDHOOK_HTTP_ALLOW: '127.0.0.1' }
/** Slow enough for both nodes to be at it when one of them dies. */
const appendAfter = (url: string) => `
  http.get('${url}')
  db.insert('INSERT INTO log (lane, event, n) VALUES (?, ?, ?)', payload.event.key, payload.event.id, payload.event.payload.n)`

/** A database with two nodes on it, and a way to look into it. */
async function startTwo() {
  const url = await freshMysql()
  const db = openDatabase(url)
  onTestFinished(() => db.destroy())
  await db.raw(
    'CREATE TABLE log (id BIGINT AUTO_INCREMENT PRIMARY KEY, lane VARCHAR(40), event VARCHAR(40), n INT) ENGINE=InnoDB'
  )
  // At the same moment: one brings the tables up to date, the other waits for it.
  const env = { DATABASE_URL: url, SANDHOOK_DEMO: 'off', SANDHOOK_RUNNERS: '1', SANDHOOK_CONCURRENCY: '8', ...REACH }
  const nodes = await Promise.all([startSandhookProcess(env), startSandhookProcess(env)])
  onTestFinished(async () => void (await Promise.all(nodes.map(node => node.end('SIGKILL')))))
  const hook = { path: '/custom/append', events: ['APPEND'], script: appendAfter(await slowPartner(20)) }
  expect((await nodes[0].call('POST', '/admin/v1/hooks', hook)).status).toBe(201)
  const rows = async <Row>(sql: string): Promise<Row[]> => ((await db.raw(sql)) as [Row[]])[0]
  return { nodes, rows }
}

/** Sends all events in chunks, to both nodes in turn, each key's in the order of `n`. */
async function send(nodes: SandhookProcess[]): Promise<void> {
  const events = Array.from({ length: EVENTS }, (_, i) => ({
    ...{ id: `e-${i}`, eventKey: 'APPEND', key: `key-${i % KEYS}` },
    payload: { n: Math.floor(i / KEYS) }
  }))
  for (let from = 0; from < EVENTS; from += 100) {
    const node = nodes[(from / 100) % nodes.length] as SandhookProcess
    expect((await node.call('POST', '/events', events.slice(from, from + 100))).status).toBe(202)
  }
}

type Rows = Awaited<ReturnType<typeof startTwo>>['rows']

async function provesOrder(rows: Rows): Promise<void> {
  const log = await rows<{ lane: string; event: string; n: number }>('SELECT lane, event, n FROM log ORDER BY id')
  expect(log).toHaveLength(EVENTS)
  expect(new Set(log.map(({ event }) => event)).size).toBe(EVENTS)
  const inOrder = Array.from({ length: EVENTS / KEYS }, (_, n) => n)
  for (const [lane, seen = []] of Object.entries(Object.groupBy(log, row => row.lane)))
    expect([lane, seen.map(({ n }) => n)]).toEqual([lane, inOrder])
}

const succeeded = async (rows: Rows) =>
  Number((await rows<{ n: number }>("SELECT COUNT(*) AS n FROM sandhook_executions WHERE status = 'succeeded'"))[0]?.n)

const nodesAtWork = async (rows: Rows) =>
  (await rows("SELECT DISTINCT node FROM sandhook_executions WHERE status = 'running'")).length

describe.skipIf(!inject('mysqlUrl'))('two nodes on one database', () => {
  test('share the work: the events of each key in their order, each of them once', async () => {
    const { nodes, rows } = await startTwo()
    await send(nodes)
    await eventually(async () => (await nodesAtWork(rows)) === 2)
    await eventually(async () => (await succeeded(rows)) === EVENTS)
    await provesOrder(rows)
  })

  test('one killed in the middle: the other one finishes all, in order and once', async () => {
    const { nodes, rows } = await startTwo()
    await send(nodes)
    await eventually(async () => (await nodesAtWork(rows)) === 2 && (await succeeded(rows)) > 100)
    await nodes[0].end('SIGKILL')
    await eventually(async () => (await succeeded(rows)) === EVENTS, 50_000)
    await provesOrder(rows)
    const attempts = await rows<{ attempts: number }>('SELECT DISTINCT attempts FROM sandhook_executions')
    expect(attempts).toEqual([{ attempts: 1 }])
    expect(nodes[1].output()).toContain('Took back executions of a lost node')
  }, 90_000)
})
