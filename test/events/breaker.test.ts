import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readConfig } from '../../runtime/config.ts'
import { createPace } from '../../runtime/events/pace.ts'
import { createBreakers, type Entry } from '../../runtime/host/breakers.ts'
import { type Sandhook, startSandhook } from '../../runtime/main.ts'
import { type Partner, startPartner } from '../support/run-hook.ts'
import { eventually } from '../support/sandhook.ts'

const START = 1_700_000_000_000
const hook = (id: string) => ({ hookId: id, hookPath: `/custom/${id}`, merId: null })

/** Breakers with a clock of their own. */
function breakers() {
  const clock = { now: START }
  const all = createBreakers({ failures: 3, openMs: 30_000 }, () => clock.now)
  const ask = (id = 'a', host = 'erp.test') => all.enter(hook(id), host, 10_000)
  const leave = (entry: Entry, end: 'well' | 'badly' | 'unsaid') => {
    if (!entry.admit) throw new Error('It was not let in')
    entry.leave(end)
  }
  const fail = (times: number, id?: string) => {
    for (let i = 0; i < times; i++) leave(ask(id), 'badly')
  }
  return { clock, all, ask, leave, fail }
}

describe("a host's breaker for one hook", () => {
  test('opens after failures in a row, and a success in between starts the count anew', () => {
    const { ask, leave, fail } = breakers()
    fail(2)
    leave(ask(), 'well')
    fail(2)
    expect(ask().admit).toBe(true)
    fail(1)
    expect(ask()).toEqual({ admit: false, until: START + 30_000 })
  })

  test('is no other hook’s, and no other host’s', () => {
    const { ask, fail } = breakers()
    fail(3)
    expect([ask('b').admit, ask('a', 'other.test').admit]).toEqual([true, true])
  })

  test('lets one probe in when its time is over; good news closes it, bad news opens it again', () => {
    const { clock, ask, leave, fail, all } = breakers()
    fail(3)
    clock.now += 30_000
    const probe = ask()
    expect([probe.admit, ask().admit, all.list()[0]?.state]).toEqual([true, false, 'half-open'])
    leave(probe, 'badly')
    expect(ask()).toEqual({ admit: false, until: clock.now + 30_000 })
    expect(all.list()).toMatchObject([{ host: 'erp.test', state: 'open', failures: 4, until: clock.now + 30_000 }])
    clock.now += 30_000
    leave(ask(), 'well')
    expect([ask().admit, ask().admit, all.list()]).toEqual([true, true, []])
  })

  test('gives a lost probe up when its time is over, and one that says nothing at once', () => {
    const { clock, ask, leave, fail } = breakers()
    fail(3)
    clock.now += 30_000
    ask()
    clock.now += 10_000
    const second = ask()
    expect(second.admit).toBe(true)
    leave(second, 'unsaid')
    expect(ask().admit).toBe(true)
  })

  test('does not count what says nothing of the host', () => {
    const { ask, leave } = breakers()
    for (let i = 0; i < 20; i++) leave(ask(), 'unsaid')
    expect(ask().admit).toBe(true)
  })

  test('remembers only so many hosts', () => {
    const { all } = breakers()
    for (let i = 0; i < 20_000; i++) {
      const entry = all.enter(hook('a'), `host-${i}.test`, 1)
      if (entry.admit) entry.leave('badly')
    }
    expect(all.list()).toHaveLength(10_000)
  })
})

describe('the pace of a hook whose host is down', () => {
  test('is twenty starts a second, and none is held back without cause', () => {
    const clock = { now: START }
    const pace = createPace(() => clock.now)
    const starts = (id: string, most: number) => {
      let count = 0
      for (; count < most && pace.allows(id); count++) pace.started(id)
      return count
    }
    expect(starts('a', 1_000)).toBe(1_000)
    pace.putOff('a')
    expect([starts('a', 1_000), pace.held, starts('b', 1_000)]).toEqual([20, ['a'], 1_000])
    clock.now += 1_000
    expect([pace.held, starts('a', 1_000)]).toEqual([[], 20])
    clock.now += 2_001
    expect([starts('a', 1_000), pace.held]).toEqual([1_000, []])
  })
})

const TOKEN = 'breaker-test-token'
let folder: string
let sandhook: Sandhook
let erp: Partner
let down = true

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sandhook-breaker-'))
  erp = await startPartner(({ path }) => (down && path !== '/up' ? { status: 503, body: {} } : { body: { ok: true } }))
  const config = readConfig({
    DATABASE_URL: `sqlite:${join(folder, 'sandhook.db')}`,
    ...{
      PORT: '0',
      SANDHOOK_ADMIN_TOKEN: TOKEN,
      SANDHOOK_DEMO: 'off',
      SANDHOOK_RUNNERS: '1',
      SANDHOOK_CONCURRENCY: '8'
    },
    SANDHOOK_HTTP_ALLOW: new URL(erp.url).host
  })
  const limits = { ...config.limits, breaker: { failures: 5, openMs: 700 }, retry: { attempts: 8, delaysMs: [50] } }
  sandhook = await startSandhook({ ...config, limits }, pino({ level: 'silent' }))
})
afterAll(async () => {
  await sandhook.close()
  await erp.close()
  rmSync(folder, { recursive: true, force: true })
})

// biome-ignore lint/suspicious/noExplicitAny: answers of every route
async function call(method: string, path: string, body?: unknown, token = TOKEN): Promise<any> {
  const answer = await fetch(sandhook.url + path, {
    method,
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) })
  })
  return answer.headers.get('content-type')?.includes('json') ? answer.json() : answer.text()
}

const execution = (id: string) => call('GET', `/admin/v1/executions/${id}`)

async function hookFor(
  eventKey: string,
  script: string,
  merId?: number
): Promise<(count: number) => Promise<string[]>> {
  const owner = merId === undefined ? {} : { merId }
  await call('POST', '/admin/v1/hooks', { path: `/custom/${eventKey}`, events: [eventKey], script, ...owner })
  return async count => {
    const events = Array.from({ length: count }, (_, i) => ({ eventKey, payload: `${eventKey}-${i}`, ...owner }))
    const { events: accepted } = await call('POST', '/events', events)
    return accepted.flatMap((event: { executions: string[] }) => event.executions)
  }
}

const done = (ids: string[]) =>
  eventually(async () => {
    const all = await Promise.all(ids.map(execution))
    return all.every(({ status }) => status === 'succeeded') && all
  })

describe('a hook whose ERP is down', () => {
  test('waits for it: no event is lost, hardly an attempt is used up, the ERP has its peace, others go on', async () => {
    down = true
    const send = await hookFor('SYNC', `return http.post('${erp.url}/sync', { body: payload.event.payload }).ok`)
    const ids = await send(60)
    const open = await eventually(async () => {
      const { hosts } = await call('GET', '/admin/v1/stats')
      return hosts.find((host: { state: string }) => host.state !== 'closed')
    })
    expect(open).toMatchObject({ host: new URL(erp.url).host, hook: '/custom/SYNC', waiting: null })
    await eventually(async () => {
      const waiting = await call('GET', '/admin/v1/executions?status=queued&limit=200')
      return waiting.items.some((item: { error?: { code: string } }) => item.error?.code === 'HTTP_FULL')
    })
    const others = await (await hookFor('OTHER', `return http.get('${erp.url}/up').ok`))(20)
    await done(others)
    const whileDown = erp.requests.filter(({ path }) => path === '/sync').length
    down = false
    const all = await done(ids)
    const failed = all.reduce((sum: number, { attempts }: { attempts: number }) => sum + attempts - 1, 0)
    // Each failing call has cost its run an attempt, and nothing else has.
    expect(failed).toBe(erp.requests.filter(({ path }) => path === '/sync').length - ids.length)
    expect(failed).toBeGreaterThanOrEqual(5)
    // All that ran when the first failed, and then one probe at a time; 60 retries at their own pace would be hundreds.
    expect(whileDown).toBeLessThan(60)
    expect((await call('GET', '/admin/v1/stats')).hosts).toEqual([])
  })

  test('may get along without it', async () => {
    down = true
    const script = `try { http.post('${erp.url}/soft') } catch (e) { return e.code }`
    const send = await hookFor('SOFT', script)
    const results = await eventually(async () => {
      const [one] = await done(await send(1))
      return one.result === 'HTTP_FULL' && one
    })
    expect(results.attempts).toBe(1)
  })

  test('is put off for free when it says in its own words that it failed', async () => {
    down = true
    const script = `try { http.post('${erp.url}/words') } catch (e) { return { success: false, message: e.code } }
      return payload.event.attempt`
    const send = await hookFor('WORDS', script)
    const ids = await send(20)
    await eventually(async () => {
      const all = await Promise.all(ids.map(execution))
      return all.some(({ error, history }) => error?.code === 'HTTP_FULL' && history.length > 0)
    })
    down = false
    const all = await done(ids)
    for (const { attempts, result } of all) expect(result).toBe(attempts)
  })

  test('called over HTTP answers in its own words, or when to come again', async () => {
    down = true
    await hookFor('CALLED', `return http.post('${erp.url}/called').ok`)
    const answer = await eventually(async () => {
      const response = await fetch(`${sandhook.url}/custom/CALLED`, {
        method: 'POST',
        headers: { authorization: `Bearer ${TOKEN}` }
      })
      return (await response.text()).includes('rests') && response
    })
    expect(answer.status).toBeGreaterThanOrEqual(500)
  })

  test('is seen by its own merchant, and by nobody else’s', async () => {
    down = true
    for (const merId of [7, 8]) {
      await (await hookFor(`MER_${merId}`, `http.post('${erp.url}/mer')`, merId))(6)
      await eventually(async () => {
        const { hosts } = await call('GET', '/admin/v1/stats')
        return hosts.some(
          (host: { hook: string; state: string }) => host.hook.endsWith(`_${merId}`) && host.state !== 'closed'
        )
      })
    }
    const made = await call('POST', '/admin/v1/tokens', { name: 'seven', scopes: ['merchant'], merId: 7 })
    const own = await eventually(async () => {
      const seen = await call('GET', '/admin/v1/stats', undefined, made.token)
      return seen.hooks[0].waiting === 6 && seen
    })
    expect(own.hosts.map((host: { hook: string }) => host.hook)).toEqual(['/custom/MER_7'])
    expect(own.hooks.map(({ hook }: { hook: string }) => hook)).toEqual(['/custom/MER_7'])
    const metrics = await eventually(async () => {
      const text = await call('GET', '/metrics')
      return text.includes('sandhook_waiting{hook="/custom/MER_7"} 6') && text
    })
    expect(metrics).toMatch(/sandhook_hosts_resting\{hook="\/custom\/MER_8"\} 1/)
    expect(metrics).toMatch(/sandhook_oldest_waiting_seconds\{hook="\/custom\/MER_7"\} \d/)
    expect(metrics).not.toContain(new URL(erp.url).host)
  })
})
