import { readFileSync } from 'node:fs'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readConfig } from '../../runtime/config.ts'
import type { Limits } from '../../runtime/model.ts'
import { createFleet, type Fleet } from '../../runtime/runner/fleet.ts'
import { createRecords } from '../../runtime/runner/records.ts'
import type { RunOutcome } from '../../runtime/runner/run.ts'
import { createTurns } from '../../runtime/runner/turns.ts'
import { openDatabase } from '../../runtime/store/database.ts'
import { engines } from '../support/databases.ts'
import { eventually, type SandhookProcess, startSandhookProcess } from '../support/sandhook.ts'
import { HOARDS, LOOPS } from './cases/resources.ts'
import { untilItEnds } from './hostile.ts'

const WEDGE = LOOPS['prc-01'] ?? ''
const UNENDABLE = LOOPS['adm-05'] ?? ''
const LIMITS: Limits = { ...readConfig({}).limits.defaults, concurrency: 100, wallMs: 120_000, cpuMs: 500 }

describe('beside a hostile run', () => {
  let fleet: Fleet
  beforeAll(() => {
    fleet = createFleet({ runners: 1, concurrency: 32, logger: pino({ level: 'silent' }) })
    return () => fleet.close()
  })

  /** A host whose `http.send` waits until the test lets it answer. */
  const held = () => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const asked: string[] = []
    const call = async (method: string) => {
      asked.push(method)
      await promise
      return JSON.stringify({ value: { status: 200, headers: {}, text: '{}' } })
    }
    return { host: { call, log() {} }, asked, answer: resolve }
  }

  const run = (pool: string, script: string, { host } = held(), alone = false, limits: Partial<Limits> = {}) =>
    fleet.run(
      {
        ...{ pool, name: pool, script, limits: { ...LIMITS, ...limits } },
        input: { payload: {}, env: {}, globals: {} }
      },
      host,
      { alone, signal: new AbortController().signal }
    )

  const runToItsEnd = (pool: string, script: string, limits: Partial<Limits> = {}) =>
    untilItEnds(alone => run(pool, script, held(), alone, limits))

  test('cpu-13: eight endless loops of one hook keep nobody else from running', async () => {
    const loops = Array.from({ length: 8 }, () => run('loops', 'for (;;);', held(), false, { cpuMs: 600 }))
    await eventually(async () => fleet.inFlight === 8)
    expect((await run('other', 'return 1')).end).toEqual({ end: 'returned', value: 1 })
    expect(fleet.inFlight).toBeGreaterThanOrEqual(6)
    for (const outcome of await Promise.all(loops)) expect(outcome.end.end).toBe('cpu')
  })

  test.each(['mem-02', 'mem-06', 'cpu-forEach-length'])(
    'eight of %s at once end by their limits, and a neighbour that waits meanwhile is done without blame',
    async id => {
      const neighbour = held()
      const patient = run('patient', "http.get('http://x'); return 'done'", neighbour)
      await eventually(async () => neighbour.asked.length === 1)
      const script = HOARDS[id] ?? LOOPS[id] ?? ''
      const limits = id.startsWith('mem') ? { cpuMs: 20_000 } : { cpuMs: 100 }
      const bombs = await Promise.all(Array.from({ length: 8 }, () => runToItsEnd(id, script, limits)))
      for (const { end } of bombs) expect(['cpu', 'memory']).toContain(end.end)
      neighbour.answer()
      const { end } = await patient
      expect([
        { end: 'returned', value: 'done' },
        { end: 'lost', suspect: false }
      ]).toContainEqual(end)
      expect((await run('next', 'return 2')).end).toEqual({ end: 'returned', value: 2 })
    }
  )

  test('a hook that has taken too much runs apart from then on: what it kills there, it kills alone', async () => {
    expect((await run('greedy', 'for (;;);', held(), false, { cpuMs: 50 })).end.end).toBe('cpu')
    const neighbour = held()
    const patient = run('patient 2', "http.get('http://x'); return 'done'", neighbour)
    await eventually(async () => neighbour.asked.length === 1)
    expect((await run('greedy', UNENDABLE, held(), false, { cpuMs: 50 })).wedged).toBe(true)
    expect((await run('greedy', UNENDABLE, held(), false, { cpuMs: 50 })).wedged).toBe(true)
    neighbour.answer()
    expect((await patient).end).toEqual({ end: 'returned', value: 'done' })
  })

  test('adm-04: scripts that kill or wedge the compiler disturb no run, and other scripts are checked meanwhile', async () => {
    const neighbour = held()
    const patient = run('patient 3', "http.get('http://x'); return 'done'", neighbour)
    await eventually(async () => neighbour.asked.length === 1)
    const bombs = [
      `${'(a='.repeat(10_000)}1${')=>1'.repeat(10_000)}`,
      `${'['.repeat(2_500_000)}${']'.repeat(2_500_000)}`,
      `return ${'()=>'.repeat(100_000)}1`,
      `return ${'`${'.repeat(100_000)}1${'}`'.repeat(100_000)}`,
      `const a = [${'[1],'.repeat(1_000_000)}]`,
      `type A = ${'Array<'.repeat(50_000)}1${'>'.repeat(50_000)}`,
      `/${'('.repeat(200_000)}${')'.repeat(200_000)}/`
    ]
    const results = await Promise.all([...bombs.map(fleet.check), fleet.check('return 1')])
    for (const result of results) expect(result.ok || result.message.length > 0).toBe(true)
    expect(results[0]).toMatchObject({ ok: false })
    expect(results.at(-1)).toEqual({ ok: true, compiled: null })
    neighbour.answer()
    expect((await patient).end).toEqual({ end: 'returned', value: 'done' })
  })
})

describe('the record of a hook', () => {
  const outcome = (end: 'cpu' | 'memory' | 'pending', more: Partial<RunOutcome> = {}): RunOutcome => ({
    ...{ end: { end }, cpuMs: 1, logsCut: 0, wedged: false },
    ...more
  })

  test.each<[string, RunOutcome, string]>([
    ['ends well', outcome('pending'), 'shared'],
    ['takes too much of the processor', outcome('cpu'), 'apart'],
    ['takes too much memory', outcome('memory'), 'apart'],
    ['is heavy within its limits', outcome('pending', { cpuMs: 800 }), 'apart'],
    ['costs its runner', outcome('cpu', { wedged: true }), 'alone'],
    ['is lost with its runner', outcome('pending', { end: { end: 'lost', suspect: true } }), 'shared']
  ])('one that %s belongs there', (_what, ended, place) => {
    const records = createRecords()
    records.note('a', ended, 1)
    expect([records.placeOf('a'), records.placeOf('b')]).toEqual([place, 'shared'])
  })

  test('follows from many runs together, when their turns are long', () => {
    const records = createRecords()
    for (let i = 0; i < 100; i++) {
      records.note('long', outcome('pending', { cpuMs: 6 }), 6)
      records.note('short', outcome('pending', { cpuMs: 6 }), 1)
    }
    expect([records.placeOf('long'), records.placeOf('short')]).toEqual(['apart', 'shared'])
  })

  test('is not bettered by a smaller misdeed', () => {
    const records = createRecords()
    records.note('a', outcome('cpu', { wedged: true }), 1)
    records.note('a', outcome('cpu'), 1)
    expect(records.placeOf('a')).toBe('alone')
  })
})

test('turns: so many of a group at once, in order of arrival; groups are strangers', () => {
  const turns = createTurns(() => 2)
  const log: string[] = []
  for (const id of ['1', '2', '3', '4', '5']) turns.enter('a', id, () => log.push(id))
  turns.enter('b', '6', () => log.push('6'))
  expect(log).toEqual(['1', '2', '6'])
  turns.leave('a', '3')
  turns.leave('a', '1')
  turns.leave('a', '1')
  expect(log).toEqual(['1', '2', '6', '4'])
  turns.leave('a', '4')
  turns.leave('a', '2')
  expect(log).toEqual(['1', '2', '6', '4', '5'])
})

test('turns: many that leave as soon as they are let in are let in one after the other', () => {
  const turns = createTurns(() => 1)
  const log: number[] = []
  turns.enter('a', 'first', () => {})
  for (let i = 0; i < 20_000; i++)
    turns.enter('a', String(i), () => {
      log.push(i)
      turns.leave('a', String(i))
    })
  turns.leave('a', 'first')
  expect(log).toEqual(Array.from({ length: 20_000 }, (_, i) => i))
})

const TEN = `(${Array.from({ length: 10 }, (_, i) => `SELECT ${i} AS n`).join(' UNION ALL ')})`
const ENDLESS = `SELECT COUNT(*) FROM ${Array.from({ length: 14 }, (_, i) => `${TEN} AS t${i}`).join(', ')}`

const COUNT = "return db.selectOne('SELECT COUNT(*) AS n, COUNT(DISTINCT event_id) AS different FROM effects')"

describe.each(engines)('in the whole product, on $engine', ({ make }) => {
  let sandhook: SandhookProcess
  let databases: Awaited<ReturnType<typeof make>>[]

  beforeAll(async () => {
    databases = [await make(), await make()]
    const [own = '', shop = ''] = databases.map(({ url }) => url)
    const db = openDatabase(shop)
    await db.schema.createTable('effects', table => {
      table.string('event_id', 100)
    })
    await db.destroy()
    sandhook = await startSandhookProcess({
      DATABASE_URL: own,
      SHOP_DATABASE_URL: shop,
      SANDHOOK_RUNNERS: '1',
      SANDHOOK_DEMO: 'off'
    })
    await makeHook('/custom/count', 'NEVER', COUNT)
  })
  afterAll(async () => {
    await sandhook.end('SIGKILL')
    for (const { drop } of databases) await drop()
  })

  const makeHook = (path: string, event: string, script: string, more: object = {}) =>
    sandhook.call('POST', '/admin/v1/hooks', { path, events: [event], script, ...more })
  const executions = async (hook: string): Promise<{ status: string; attempts: number; error: { code: string } }[]> =>
    (await sandhook.call('GET', `/admin/v1/executions?limit=200&hook=${hook}`)).body.items
  const settled = (hook: string, status: string, count: number) =>
    eventually(async () => {
      const items = await executions(hook)
      return items.length === count && items.every(item => item.status === status) && items
    })

  const resident = () => Number(readFileSync(`/proc/${sandhook.pid}/statm`, 'utf8').split(' ')[1]) * 4096

  test('prc-01: a run whose neighbour kills their runner is done once, and has used up no attempt', async () => {
    await makeHook('/custom/wedge', 'WEDGE', UNENDABLE, { retry: { attempts: 1 }, limits: { cpuMs: 200 } })
    await makeHook('/custom/thrower', 'WEDGE', WEDGE, { retry: { attempts: 1 }, limits: { cpuMs: 200 } })
    const script = `db.insert('INSERT INTO effects (event_id) VALUES (?)', payload.event.id)
      const until = Date.now() + 300; while (Date.now() < until); return 1`
    await makeHook('/custom/innocent', 'INNOCENT', script)
    const main = resident()
    const seen = new Set(sandhook.runners())
    await sandhook.call('POST', '/events', [
      ...Array.from({ length: 3 }, (_, i) => ({ eventKey: 'WEDGE', payload: `w${i}` })),
      ...Array.from({ length: 3 }, (_, i) => ({ eventKey: 'INNOCENT', payload: `i${i}` }))
    ])
    const innocent = await settled('/custom/innocent', 'succeeded', 3)
    expect(innocent.map(({ attempts }) => attempts)).toEqual([1, 1, 1])
    const hostile = [...(await settled('/custom/wedge', 'dead', 3)), ...(await settled('/custom/thrower', 'dead', 3))]
    for (const { error } of hostile) expect(error.code).toMatch(/^HOOK_(CPU_LIMIT|KILLED_RUNNER)$/)
    expect((await sandhook.call('GET', '/custom/count')).body).toEqual({ n: 3, different: 3 })
    expect(sandhook.runners().some(pid => !seen.has(pid))).toBe(true)
    expect(resident() - main).toBeLessThan(128 * 1024 * 1024)
  })

  test('adm-04: the API goes on while scripts are checked that no compiler can take', async () => {
    const bombs = ['(a=', '(b=', '(c='].map(open => `${open.repeat(10_000)}1${')=>1'.repeat(10_000)}`)
    const refused = bombs.map((script, i) => makeHook(`/custom/bomb/${i}`, 'X', script))
    expect((await sandhook.call('GET', '/readyz')).status).toBe(200)
    expect((await sandhook.call('GET', '/custom/count')).status).toBe(200)
    for (const { status, body } of await Promise.all(refused)) {
      expect([422, 503]).toContain(status)
      expect(['HOOK_SYNTAX', 'RUNNER_LOST']).toContain(body.code)
    }
  })

  test('sql-07: statements without an end are ended, and hold up nobody else', async () => {
    const script = `return db.selectValue(${JSON.stringify(ENDLESS)})`
    await makeHook('/custom/endless', 'ENDLESS', script, { retry: { attempts: 1 }, limits: { wallMs: 4_000 } })
    const events = Array.from({ length: 4 }, (_, i) => ({ eventKey: 'ENDLESS', payload: String(i) }))
    await sandhook.call('POST', '/events', events)
    await eventually(async () => (await executions('/custom/endless')).some(({ status }) => status === 'running'))
    for (let i = 0; i < 10; i++) expect((await sandhook.call('GET', '/custom/count')).status).toBe(200)
    const ended = await eventually(async () => {
      const all = await executions('/custom/endless')
      return all.every(({ status }) => status === 'dead') && all
    })
    for (const { error } of ended) expect(['HOOK_TIMEOUT', 'HOOK_THREW']).toContain(error?.code)
    expect((await sandhook.call('GET', '/readyz')).status).toBe(200)
  })

  test('prc-03: SIGTERM while a run loops ends the product in time', async () => {
    await makeHook('/custom/loop', 'LOOP', 'for (;;);', { limits: { cpuMs: 60_000, wallMs: 60_000 } })
    await sandhook.call('POST', '/events', { eventKey: 'LOOP', payload: '1' })
    await eventually(async () => (await executions('/custom/loop'))[0]?.status === 'running')
    expect(await sandhook.end('SIGTERM')).toBe(0)
  })
})
