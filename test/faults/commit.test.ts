import { describe, expect, inject, onTestFinished, test } from 'vitest'
import { openDatabase } from '../../runtime/store/database.ts'
import { freshMysql } from '../support/databases.ts'
import { type Fate, startProxy } from '../support/proxy.ts'
import { startPartner } from '../support/run-hook.ts'
import { eventually, startSandhookProcess } from '../support/sandhook.ts'

async function startBehindProxy(which: 'DATABASE_URL' | 'SHOP_DATABASE_URL') {
  const [url, shopUrl] = [await freshMysql(), await freshMysql()]
  const urls = { DATABASE_URL: url, SHOP_DATABASE_URL: shopUrl }
  const proxy = await startProxy(urls[which])
  onTestFinished(proxy.close)
  const sandhook = await startSandhookProcess({
    ...{ ...urls, [which]: proxy.through(urls[which]) },
    ...{ SANDHOOK_DEMO: 'off', SANDHOOK_RUNNERS: '1', SANDHOOK_HTTP_ALLOW: '127.0.0.1' }
  })
  onTestFinished(async () => void (await sandhook.end('SIGKILL')))
  const shop = openDatabase(shopUrl)
  onTestFinished(() => shop.destroy())
  return { proxy, sandhook, shop }
}

/** A commit whose answer never comes: it may have happened, or not, or happen later. */
describe.skipIf(!inject('mysqlUrl'))('a connection that is cut in the middle of COMMIT', () => {
  test.each<[string, Fate]>([
    ['that is lost on the way', 'lost'],
    ['that the server has', 'heard'],
    ['that reaches the server while the run is repeated already', 2_500]
  ])('%s: the effects are there once, the call is not repeated, no attempt is lost', async (_, fate) => {
    const { proxy, sandhook, shop } = await startBehindProxy('SHOP_DATABASE_URL')
    await shop.raw('CREATE TABLE ledger (id INT AUTO_INCREMENT PRIMARY KEY, event VARCHAR(40)) ENGINE=InnoDB')
    await shop.raw('CREATE TABLE balance (id INT PRIMARY KEY, n INT) ENGINE=InnoDB')
    await shop.raw('INSERT INTO balance VALUES (1, 0)')
    const partner = await startPartner(() => ({ body: { ok: true } }))
    onTestFinished(partner.close)
    const script = `
      http.post('${partner.url}/act', { body: { event: payload.event.id } })
      db.insert('INSERT INTO ledger (event) VALUES (?)', payload.event.id)
      db.update('UPDATE balance SET n = n + 1 WHERE id = 1')
      emit('BOOKED', payload.event.payload)
      return payload.event.attempt`
    const heard = "db.insert('INSERT INTO ledger (event) VALUES (?)', payload.event.eventKey)"
    await sandhook.call('POST', '/admin/v1/hooks', { path: '/custom/book', events: ['BOOK'], script })
    await sandhook.call('POST', '/admin/v1/hooks', { path: '/custom/heard', events: ['BOOKED'], script: heard })

    const cut = proxy.cutAt('COMMIT', fate)
    await sandhook.call('POST', '/events', { id: 'b-1', eventKey: 'BOOK', payload: 'b-1' })
    await cut
    await eventually(async () => (await shop('ledger').where({ event: 'BOOKED' })).length > 0)
    const executions = await eventually(async () => {
      const { body } = await sandhook.call('GET', '/admin/v1/executions')
      return body.items.every((one: { status: string }) => one.status === 'succeeded') && body.items
    })
    expect(executions.map((one: { attempts: number }) => one.attempts)).toEqual([1, 1])
    expect(await shop('ledger').orderBy('id').pluck('event')).toEqual(['b-1', 'BOOKED'])
    expect(await shop('balance').pluck('n')).toEqual([1])
    expect(partner.requests).toHaveLength(1)
  })

  test('of accepted events: whoever is not told 202 sends again, and each event is there once', async () => {
    const { proxy, sandhook } = await startBehindProxy('DATABASE_URL')
    const answers: number[] = []
    for (const [i, fate] of (['lost', 'heard', 'heard', 'lost', 300, 300] as Fate[]).entries()) {
      const cut = proxy.cutAt('COMMIT', fate)
      const send = async () => {
        const { status } = await sandhook.call('POST', '/events', { id: `a-${i}`, eventKey: 'ANY', payload: i })
        answers.push(status)
        return status === 202
      }
      await eventually(send)
      await cut
    }
    expect(new Set(answers)).toEqual(new Set([202, 503]))
    const { body } = await sandhook.call('GET', '/admin/v1/events')
    expect(body.items.map(({ id }: { id: string }) => id).sort()).toEqual([0, 1, 2, 3, 4, 5].map(i => `a-${i}`))
  })
})
