import { describe, expect, test } from 'vitest'
import { concernsMerchants, isRunnable, keyMatches, matchPath, route } from '../../runtime/events/router.ts'
import type { Hook } from '../../runtime/model.ts'
import type { PublishedHook } from '../../runtime/store/hooks.ts'

const published = (id: string, fields: Partial<Hook> = {}): PublishedHook => ({
  hook: {
    ...{ id, path: `/custom/${id}`, name: id, description: '', events: ['ORDER_*'], enabled: true, merId: null },
    ...{ builtin: false, public: false, version: 1, limits: {}, retry: {}, transaction: 'run', env: null },
    ...{ createdAt: 0, updatedAt: 0 },
    ...fields
  },
  version: { hookId: id, version: 1, script: '', compiled: null, createdBy: 'test', createdAt: 0 }
})

describe('an event key', () => {
  test.each([
    ['ORDER_PAY', 'ORDER_PAY'],
    ['*', 'ORDER_PAY'],
    ['*', ''],
    ['**', 'X'],
    ['ORDER_*', 'ORDER_'],
    ['ORDER_*', 'ORDER_PAY_SUCCESS'],
    ['*_SUCCESS', 'ORDER_PAY_SUCCESS'],
    ['ORDER_*_SUCCESS', 'ORDER_PAY_SUCCESS'],
    ['ORDER_*_SUCCESS', 'ORDER__SUCCESS'],
    ['*PAY*', 'ORDER_PAY_SUCCESS'],
    ['*PAY*', 'PAY'],
    ['*A*B*', 'xAyBz'],
    ['A*B*C', 'A1B2B3C'],
    ['*AA*A', 'AAAA'],
    ['A*A', 'AA'],
    ['O.DER*', 'O.DER_PAY']
  ])('fits the pattern %j: %j', (pattern, key) => expect(keyMatches(pattern, key)).toBe(true))

  test.each([
    ['ORDER_PAY', 'ORDER_PAY_SUCCESS'],
    ['ORDER_PAY', 'order_pay'],
    ['', 'ORDER_PAY'],
    ['ORDER_*', 'ORDER'],
    ['ORDER_*', 'MY_ORDER_PAY'],
    ['*_SUCCESS', 'ORDER_SUCCESS_X'],
    ['A*A', 'A'],
    ['AB*BC', 'ABC'],
    ['AB*B*BC', 'ABBC'],
    ['*AA*AA', 'AAA'],
    ['*A*B*', 'xByAz'],
    ['O.DER*', 'ORDER_PAY'],
    ['[A-Z]*', 'ORDER']
  ])('does not fit the pattern %j: %j', (pattern, key) => expect(keyMatches(pattern, key)).toBe(false))

  test('is matched in no time by a pattern of many stars', () => {
    const begun = performance.now()
    expect(keyMatches(`${'*A'.repeat(50)}*B`, 'A'.repeat(100))).toBe(false)
    expect(performance.now() - begun).toBeLessThan(2_000)
  })
})

describe('an event goes', () => {
  const event = (merId: number | string | null, eventKey = 'ORDER_PAY') => ({ eventKey, merId })
  const routed = (hooks: PublishedHook[], to: ReturnType<typeof event>) => route(hooks, to).map(({ hook }) => hook.id)
  const platform = published('platform')

  test.each([
    ['to the platform and its own merchant', [null, 7, 8], 7, ['platform', 'm7']],
    ['to a merchant whose number is written as text', [null, 7], '7', ['platform', 'm7']],
    ['to a merchant whose id is text', [null, 'shop-a', 'shop-b'], 'shop-a', ['platform', 'mshop-a']],
    ['to the platform alone when its merchant is unknown', [null, 7], null, ['platform']],
    ['to merchant 0 as to any other', [0, 7], 0, ['m0']],
    ['to no merchant with an id that merely begins alike', [7], 77, []]
  ])('%s', (_, owners, merId, expected) => {
    const hooks = owners.map(owner => (owner === null ? platform : published(`m${owner}`, { merId: owner })))
    expect(routed(hooks, event(merId))).toEqual(expected)
  })

  test.each([
    ['that is switched off', { enabled: false }],
    ['that is a library', { path: '/lib/erp' }],
    ['that subscribes to nothing', { events: [] }],
    ['that subscribes to something else', { events: ['REFUND_*', 'ORDER_PAY_SUCCESS'] }]
  ])('to no hook %s', (_, fields) => expect(routed([published('x', fields)], event(7))).toEqual([]))

  test('once to a hook that subscribes twice', () => {
    expect(routed([published('x', { events: ['ORDER_*', 'ORDER_PAY'] })], event(7))).toEqual(['x'])
  })

  test.each([
    [true, { merId: 7 }],
    [false, { merId: null }],
    [false, { merId: 7, enabled: false }],
    [false, { merId: 7, events: ['REFUND'] }],
    [false, { merId: 7, path: '/lib/x' }]
  ])('to merchants: %j, with a hook %j', (expected, fields) => {
    expect(concernsMerchants([platform, published('x', fields)], 'ORDER_PAY')).toBe(expected)
  })
})

describe('a path', () => {
  test.each([
    ['/custom/user/{id}', '/custom/user/7', { id: '7' }],
    ['/custom/{a}/x/{b}', '/custom/1/x/2', { a: '1', b: '2' }],
    ['/custom/erp/order-sync', '/custom/erp/order-sync', {}],
    ['/custom/user/{id}', '/custom/user/a%2Fb', { id: 'a%2Fb' }],
    ['/custom/user/{id}', '/custom/user/', null],
    ['/custom/user/{id}', '/custom/user', null],
    ['/custom/user/{id}', '/custom/user/7/x', null],
    ['/custom/user/{id}', '/custom/User/7', null],
    ['/custom/a{id}', '/custom/a7', null],
    ['/custom/a.c', '/custom/abc', null]
  ])('of the pattern %j, given %j, has the variables %j', (pattern, path, expected) => {
    expect(matchPath(pattern, path)).toEqual(expected)
  })

  test('can be run under /custom/ only', () => {
    expect(['/custom/a', '/lib/a', '/customs/a', '/custom'].map(isRunnable)).toEqual([true, false, false, false])
  })
})
