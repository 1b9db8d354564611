import { describe, expect, inject, onTestFinished, test } from 'vitest'
import { freshMysql, freshSqlite } from '../support/databases.ts'
import { startProxy } from '../support/proxy.ts'
import { startPartner } from '../support/run-hook.ts'
import { eventually, type SandhookProcess, startSandhookProcess } from '../support/sandhook.ts'

/** A partner that answers when the test says so, and a hook that calls it once. */
async function startCall(env: Record<string, string>) {
  const { promise: answered, resolve: answer } = Promise.withResolvers<void>()
  const partner = await startPartner(async () => {
    await answered
    return { body: { number: partner.requests.length } }
  })
  onTestFinished(partner.close)
  const sandhook = await startSandhookProcess({
    ...{ SANDHOOK_DEMO: 'off', SANDHOOK_RUNNERS: '1', SANDHOOK_HTTP_ALLOW: '127.0.0.1', ...env }
  })
  onTestFinished(async () => void (await sandhook.end('SIGKILL')))
  const script = `return http.post('${partner.url}/order', { body: { order: payload.event.payload } }).number`
  await sandhook.call('POST', '/admin/v1/hooks', { path: '/custom/order', events: ['ORDER'], script })
  await sandhook.call('POST', '/events', { eventKey: 'ORDER', payload: '1' })
  await eventually(async () => partner.requests.length === 1)
  return { partner, answer, sandhook }
}

async function settled(sandhook: SandhookProcess) {
  const done = async () => (await sandhook.call('GET', '/admin/v1/executions?status=succeeded')).body.items?.[0]
  const { id } = await eventually(done)
  return (await sandhook.call('GET', `/admin/v1/executions/${id}`)).body
}

describe('a call that is out', () => {
  test('when its runner dies is answered to the next run: the partner is not called twice', async () => {
    const { partner, answer, sandhook } = await startCall({ DATABASE_URL: await freshSqlite() })
    for (const pid of sandhook.runners()) process.kill(pid, 'SIGKILL')
    await eventually(async () => sandhook.output().includes('A runner process ended'))
    answer()
    const { attempts, result, history } = await settled(sandhook)
    expect([attempts, result]).toEqual([1, 1])
    expect(history.map((run: { error: { code: string } | null }) => run.error?.code)).toEqual([
      'RUNNER_LOST',
      undefined
    ])
    expect(history[1].calls).toMatchObject([{ replayed: true }])
    expect(partner.requests).toHaveLength(1)
  })

  test.skipIf(!inject('mysqlUrl'))(
    'while the database is away is kept when it is back: the partner is not called twice',
    async () => {
      const url = await freshMysql()
      const proxy = await startProxy(url)
      onTestFinished(proxy.close)
      const { partner, answer, sandhook } = await startCall({
        DATABASE_URL: proxy.through(url),
        SHOP_DATABASE_URL: url
      })
      await proxy.set('refuse')
      answer()
      // Journalling has failed once at least when something else has.
      await eventually(async () => (await sandhook.call('GET', '/readyz')).status === 503)
      await new Promise(resolve => setTimeout(resolve, 1_000))
      await proxy.set('pass')
      const { attempts, result } = await settled(sandhook)
      expect([attempts, result]).toEqual([1, 1])
      expect(partner.requests).toHaveLength(1)
    },
    60_000
  )
})
