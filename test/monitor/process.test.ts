import { mkdtempSync, rmSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { openDatabase, statementsOf } from '../../runtime/store/database.ts'
import { redisMissing, startRedisServer } from '../support/redis.ts'
import { eventually, startSandhookProcess } from '../support/sandhook.ts'

const OUTBOX = new URL('../../sql/shop/outbox.sql', import.meta.url)

test.skipIf(redisMissing)('a node takes events from outbox and channel, and reports of sent messages', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'sandhook-feeds-'))
  const redis = await startRedisServer()
  const shop = openDatabase(`sqlite:${join(folder, 'shop.db')}`)
  for (const statement of statementsOf(await readFile(OUTBOX, 'utf8'))) await shop.raw(statement)
  await shop('sandhook_outbox').insert({ event_key: 'ORDER_X', payload: 'WX1', mer_id: '7' })
  const sandhook = await startSandhookProcess({
    DATABASE_URL: `sqlite:${join(folder, 'sandhook.db')}`,
    ...{ REDIS_URL: redis.url, SANDHOOK_RUNNERS: '1', SANDHOOK_DEMO: 'off' }
  })
  onTestFinished(async () => {
    await sandhook.end('SIGKILL')
    await redis.stop()
    await shop.destroy()
    rmSync(folder, { recursive: true, force: true })
  })
  const ready = () => sandhook.call('GET', '/readyz')
  await eventually(async () => (await ready()).status === 200)
  expect((await ready()).body.checks.redis).toEqual({ ok: true })
  await redis.publish('magic-api:event', JSON.stringify({ eventKey: 'ORDER_Y', payload: 'WX2', timestamp: Date.now() }))
  const sources = async () =>
    (await sandhook.call('GET', '/admin/v1/events')).body.items.map((event: Record<string, string>) => [
      ...[event.source, event.eventKey, event.payload]
    ])
  await eventually(async () => (await sources()).length === 2)
  expect((await sources()).sort()).toEqual([
    ['outbox', 'ORDER_X', 'WX1'],
    ['redis', 'ORDER_Y', 'WX2']
  ])

  const reported = await fetch(`${sandhook.url}/erp/order/publishRabbitmqSentEvent`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ topic: 'order.payment', body: '{"orderCode":1}' })
  })
  expect([reported.status, await reported.json()]).toEqual([200, { code: 200, message: 'ok' }])
  expect((await sandhook.call('GET', '/admin/v1/monitor/missing')).body).toEqual({
    ...{ items: [], nextCursor: null, topics: [] }
  })
  const wrong = await sandhook.call('GET', '/admin/v1/monitor/missing-events')
  expect([wrong.status, wrong.body.code]).toEqual([500, 'DB_ERROR'])
  expect((await sandhook.call('GET', '/metrics')).body).toMatch(/^sandhook_missing_messages 0$/m)

  await redis.kill?.()
  await eventually(async () => (await ready()).status === 503)
  expect((await ready()).body.checks.redis).toEqual({ ok: false, detail: 'BROKER_UNAVAILABLE' })
  expect(await sandhook.end('SIGTERM')).toBe(0)
})
