import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { engines } from '../support/databases.ts'
import { openTestShop, runHook } from '../support/run-hook.ts'
import { type Body, libraries, md5, partnerSign, type Shop, signed } from './haidian-fixtures.ts'

const SQLITE = engines[0] as (typeof engines)[number]

let shop: Shop
beforeAll(async () => {
  shop = await openTestShop(SQLITE)
})
afterAll(() => shop.close())

/** Evaluates an expression with `sign` (the library) and `fields` in a script. */
async function evaluate(expression: string, fields: Body, env: Record<string, string>, method = 'order-add') {
  const { result, error } = await runHook({
    shop,
    script: `const sign = require('/lib/sign/haidian')
      const { fields, method } = payload.event.payload
      return { value: ${expression} }`,
    event: { eventKey: 'TEST', payload: { fields, method } },
    env: { HAIDIAN_SECRET: 'S', ...env },
    libraries: await libraries()
  })
  if (error) throw new Error(error.message)
  return (result as { value: unknown }).value
}
const signOf = (fields: Body, env: Record<string, string>, method?: string) =>
  evaluate('sign.sign(fields, method)', fields, env, method)
const verify = (fields: Body, env: Record<string, string>) => evaluate('sign.verify(fields, method)', fields, env)

describe('signatures that are published', () => {
  test("kv-key gives WeChat Pay's example", async () => {
    const fields = {
      ...{ appid: 'wxd930ea5d5a258f4f', mch_id: '10000100', device_info: '1000', body: 'test' },
      nonce_str: 'ibuaiVcKdpRxkhJA'
    }
    const env = { HAIDIAN_SECRET: '192006250b4c09247ec02edce69f6a2d', HAIDIAN_SIGN_RECIPE: 'kv-key' }
    expect(await signOf(fields, env)).toBe('9a0a8659f005d6984697e2ca0a9cf3b7')
  })

  test('top gives the example of Taobao', async () => {
    const fields = {
      ...{ method: 'taobao.item.seller.get', app_key: '12345678', session: 'test', sign_method: 'md5', v: '2.0' },
      ...{ timestamp: '2016-01-01 12:00:00', format: 'json', fields: 'num_iid,title,nick,price,num' },
      num_iid: 11223344
    }
    const env = { HAIDIAN_SECRET: 'helloworld', HAIDIAN_SIGN_RECIPE: 'top' }
    expect(await signOf(fields, env)).toBe('66987cb115214e59e6ec978214934fb8')
  })

  test('kv-secret without a name for the secret gives the example of a payment service', async () => {
    const env = {
      HAIDIAN_SECRET: '58b31d465652be856d7ed80977aa4ce4',
      ...{ HAIDIAN_SIGN_RECIPE: 'kv-secret', HAIDIAN_SECRET_NAME: '-' }
    }
    expect(await signOf({ uid: 1000, timestamp: 1548047628 }, env)).toBe('15540d3398e5ed2a37533e3fc032e1a0')
  })
})

const FIELDS = {
  ...{ b: '2', a: 1, sign: 'not signed', empty: '', none: null, yes: true, no: false },
  ...{ Z: 'é/中', list: [{ n: '1', m: 'x/中' }], timestamp: '2026-01-01 12:00:00' }
}
const NESTED = '[{"n":"1","m":"x/中"}]'
const LISTED = `Z=é/中&a=1&b=2&list=${NESTED}&no=0&timestamp=2026-01-01 12:00:00&yes=1`
const STRUNG = `Zé/中a1b2list${NESTED}no0timestamp2026-01-01 12:00:00yes1`
const OTHERS = `{"b":"2","a":1,"empty":"","none":null,"yes":true,"no":false,"Z":"é/中","list":${NESTED}}`

describe.each([
  ['', `${LISTED}&key=S`],
  ['kv-key', `${LISTED}&key=S`],
  ['kv-secret', `${LISTED}&privateKey=S`],
  ['top', `S${STRUNG}S`],
  ['kv-plain', `${STRUNG}S`],
  ['values', `é/中12${NESTED}02026-01-01 12:00:001S`],
  ['double', `${md5('Zé/中a1b2emptylist0mx/中n1no0timestamp2026-01-01 12:00:00yes1').toUpperCase()}S`],
  ['concat', `order-addAPP2026-01-01 12:00:00${OTHERS}S`]
])('the recipe "%s"', (recipe, base) => {
  const env = { HAIDIAN_SIGN_RECIPE: recipe, HAIDIAN_APP_ID: 'APP' }

  test('signs exactly what its description says', async () => {
    expect(await signOf(FIELDS, env)).toBe(md5(base))
  })

  test('is verified in either case, and not when a field, the secret or the signature is changed', async () => {
    const sign = md5(base)
    expect(await verify({ ...FIELDS, sign }, env)).toBe(true)
    expect(await verify({ ...FIELDS, sign: sign.toUpperCase() }, env)).toBe(true)
    expect(await verify({ ...FIELDS, sign, b: '3' }, env)).toBe(false)
    expect(await verify({ ...FIELDS, sign, list: [{ n: '2', m: 'x/中' }] }, env)).toBe(false)
    expect(await verify({ ...FIELDS, sign, more: 'x' }, env)).toBe(false)
    expect(await verify({ ...FIELDS, sign }, { ...env, HAIDIAN_SECRET: 'T' })).toBe(false)
    for (const wrong of [`${sign.slice(0, -1)}x`, sign.slice(0, -1), `${sign}0`, '', 'x'.repeat(32)])
      expect(await verify({ ...FIELDS, sign: wrong }, env)).toBe(false)
  })

  test('sends what it would itself take', async () => {
    const sent = (await evaluate('sign.signed(fields, method)', { a: 1, b: '' }, env)) as Body
    expect(await verify(sent, env)).toBe(true)
    expect(Object.hasOwn(sent, 'timestamp')).toBe(recipe === 'concat')
  })
})

test("nested fields are written as PHP writes them when that is set, here and by the partner's own reckoning", async () => {
  const base = 'a=中/&list=[{"n":"1","m":"x\\/\\u4e2d\\ud83c\\udf75"}]&key=S'
  const fields = { a: '中/', list: [{ n: '1', m: 'x/中🍵' }] }
  expect(await signOf(fields, { HAIDIAN_PHP_JSON: '1' })).toBe(md5(base))
  expect(await signOf(fields, {})).toBe(partnerSign(fields, 'S'))
})

test('the letters of a signature that is sent are lower case, or upper case where that is set', async () => {
  const fields = { a: 1 }
  const plain = await evaluate('sign.signed(fields, method)', fields, {})
  expect(plain).toEqual(signed(fields, 'S'))
  const upper = (await evaluate('sign.signed(fields, method)', fields, { HAIDIAN_SIGN_CASE: 'upper' })) as Body
  expect(upper.sign).toBe(partnerSign(fields, 'S').toUpperCase())
})

test('a method is part of the signature of concat only', async () => {
  expect(await signOf({ a: 1 }, { HAIDIAN_SIGN_RECIPE: 'concat' }, 'order-send')).toBe(md5('order-send{"a":1}S'))
})

test.each([
  ['a recipe that is none', { HAIDIAN_SIGN_RECIPE: 'sha256' }, 'kv-key, kv-secret, top'],
  ['the name of something that every object has', { HAIDIAN_SIGN_RECIPE: 'constructor' }, 'HAIDIAN_SIGN_RECIPE'],
  ['no secret', { HAIDIAN_SECRET: '' }, 'HAIDIAN_SECRET is not set']
])('%s is refused by name', async (_, env, message) => {
  await expect(signOf({ a: 1 }, env)).rejects.toThrow(message)
})
