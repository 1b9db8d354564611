import { afterAll, beforeAll, expect, test } from 'vitest'
import { engines } from '../support/databases.ts'
import { openTestShop, runHook, type TestShop } from '../support/run-hook.ts'
import { qimenLibraries } from './qimen-gateway.ts'

const libraries = await qimenLibraries()
const [sqlite] = engines
let shop: TestShop
beforeAll(async () => {
  if (sqlite) shop = await openTestShop(sqlite)
})
afterAll(() => shop.close())

const sign = (params: object, secret: string, method: string) =>
  runHook({
    shop,
    libraries,
    script: `return require('/lib/sign/top').sign(${JSON.stringify(params)}, '${secret}', '${method}')`
  })

// The example of TOP's own page on calling an API.
const ITEM = {
  ...{ method: 'taobao.item.seller.get', app_key: '12345678', session: 'test', timestamp: '2016-01-01 12:00:00' },
  ...{ format: 'json', v: '2.0', fields: 'num_iid,title,nick,price,num', num_iid: 11223344, sign_method: 'md5' }
}
const SELLER = {
  ...{ method: 'taobao.user.seller.get', app_key: 'test', session: 'test', timestamp: '2013-05-06 13:52:03' },
  ...{ format: 'xml', v: '2.0', fields: 'nick', sign_method: 'md5' }
}
// Reckoned once with OpenSSL's digests, not by this code.
const EVENT = {
  ...{ method: 'taobao.qimen.event.produce', app_key: '12345678', session: 'test', timestamp: '2026-01-01 12:00:00' },
  ...{ format: 'json', v: '2.0', status: 'QIMEN_ERP_TRANSFER', tid: '12231221231232' }
}
const MD5 = { ...EVENT, sign_method: 'md5' }
const HMAC = { ...EVENT, sign_method: 'hmac' }
const SHA256 = { ...EVENT, sign_method: 'hmac-sha256' }

test.each([
  ['the published vector', ITEM, 'helloworld', 'md5', '66987CB115214E59E6EC978214934FB8'],
  ['another published vector', SELLER, 'test', 'md5', '72CB4D809B375A54502C09360D879C64'],
  ['md5', MD5, 'helloworld', 'md5', '56FAC30FDB74B1AFB1305B1E14AB2F82'],
  ['hmac', HMAC, 'helloworld', 'hmac', '7E15A222BE39F2ECD6157D56ABD1681E'],
  [
    'hmac-sha256',
    SHA256,
    'helloworld',
    'hmac-sha256',
    'E1EEA82F61BE59AEFDD924160AA7DFBCDDB94299306C8808901B63F84D49C071'
  ],
  [
    'a signature and empty values, which do not count',
    { ...MD5, sign: 'x', ext: '', nick: null },
    'helloworld',
    'md5',
    '56FAC30FDB74B1AFB1305B1E14AB2F82'
  ]
])('signs %s', async (_, params, secret, method, expected) => {
  expect((await sign(params, secret, method)).result).toBe(expected)
})

test.each(['sha1', 'constructor', ''])('refuses the sign method "%s"', async method => {
  expect((await sign(MD5, 'helloworld', method)).error?.message).toContain('sign method')
})
