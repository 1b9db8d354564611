import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Json } from '../../runtime/model.ts'
import { BOUNDARY, ENDLESS_CASES, THROWING_CASES } from './cases/boundary.ts'
import { expectCase, hostileShop, TIGHT } from './hostile.ts'

const site = hostileShop()

const named = (cases: typeof BOUNDARY) => cases.map(each => [each.id, each] as const)

describe('what crosses the boundary', () => {
  test.each(named(BOUNDARY))('%s', (_id, each) => expectCase(site, each))
})

describe('plain data', () => {
  test('comes through every door as it was', async () => {
    const values = fc.sample(fc.jsonValue({ maxDepth: 4 }), { numRuns: 100, seed: 4 }) as Json[]
    values.push(
      JSON.parse('{"__proto__":{"a":1},"constructor":1,"toJSON":2,"then":3,"length":4,"hasOwnProperty":null}')
    )
    const { result, error, announced, calls } = await site.run(
      `const values = event.payload
      const sent = values.slice(0, 100).map(value => http.post('__SRV__/echo', { body: { value } }).body.value)
      emit('E', values)
      return { values, sent, bound: values.map(value => JSON.parse(db.selectValue('SELECT ? AS v', { value })).value) }`,
      { event: { eventKey: 'TEST', payload: values }, hook: { limits: { dbCalls: 200, httpCalls: 200, cpuMs: 5_000 } } }
    )
    expect(error).toBeNull()
    const exactly = JSON.stringify(values)
    expect(JSON.stringify(result)).toBe(
      `{"values":${exactly},"sent":${JSON.stringify(values.slice(0, 100))},"bound":${exactly}}`
    )
    expect(announced).toMatchObject([{ kind: 'event', eventKey: 'E' }])
    expect(JSON.stringify(announced[0] && 'payload' in announced[0] && announced[0].payload)).toBe(exactly)
    expect(calls).toHaveLength(2 * values.length)
  })
})

describe('a value that throws when it is looked at', () => {
  test.each(named(THROWING_CASES))('%s', (_id, each) => expectCase(site, each))
})

describe('a value that never lets go of who looks at it', () => {
  test.each(named(ENDLESS_CASES))('%s', (_id, each) => expectCase(site, each))
})

describe('a rejection that cannot even be looked at', () => {
  test.each([
    ['err-01', 'throw new Proxy({}, {get(){for(;;);}});'],
    ['err-05', 'Promise.reject(new Proxy({}, {get(){for(;;);}}));return 1;'],
    [
      'err-06',
      "class E extends Error{get name(){for(;;);}};Promise.resolve().then(()=>{throw new E('late')});return 'done';"
    ],
    ['a message that loops', 'Promise.reject({ get message() { for (;;); } }); return 1']
  ])('%s ends as a limit or a failure, and the next run goes on', async (_id, script) => {
    const { error, committed } = await site.run(script, { hook: { limits: { ...TIGHT, wallMs: 600 } } })
    expect(error?.code).toMatch(/^HOOK_(CPU_LIMIT|TIMEOUT|THREW)$/)
    expect(committed).toBe(false)
    expect((await site.run('return 1')).result).toBe(1)
  })
})
