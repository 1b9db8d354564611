import { randomBytes } from 'node:crypto'
import { v7 as uuid } from 'uuid'
import { describe, expect, test } from 'vitest'
import { createCipher } from '../../runtime/store/cipher.ts'
import { createEnvStore } from '../../runtime/store/env.ts'
import { onEachEngine, walk } from './fixtures.ts'

const KEY = randomBytes(32)

onEachEngine('env', store => {
  const open = (key = KEY) => createEnvStore(store.db, createCipher(key))

  test('shows a plain value, and never a secret one', async () => {
    const env = open()
    expect(await env.put(null, 'URL', { value: 'http://erp/', secret: false })).toMatchObject({
      key: 'URL',
      value: 'http://erp/'
    })
    expect(await env.put(7, 'TOKEN', { value: 's3cret-value', secret: true })).toMatchObject({
      value: null,
      secret: true,
      merId: 7
    })
    expect(await env.get(null, 'URL')).toMatchObject({ value: 'http://erp/', secret: false, merId: null })
    expect(await env.get(7, 'TOKEN')).toMatchObject({ value: null, secret: true })
    expect(await env.get(null, 'TOKEN')).toBeNull()
    const { items } = await env.list(undefined, { limit: 10 })
    expect(JSON.stringify(items)).not.toContain('s3cret-value')
  })

  test('keeps a secret encrypted, and never twice the same', async () => {
    const env = open()
    const stored = async () => (await store.db('sandhook_env').where({ name: 'TOKEN' }).first()) as { value: string }
    await env.put(null, 'TOKEN', { value: 's3cret-value', secret: true })
    const first = await stored()
    expect(Object.values(first).join()).not.toContain('s3cret-value')
    expect(Buffer.from(first.value, 'base64').toString('latin1')).not.toContain('s3cret')
    await env.put(null, 'TOKEN', { value: 's3cret-value', secret: true })
    expect((await stored()).value).not.toBe(first.value)
    expect((await env.granted(null, null, uuid())).values).toEqual({ TOKEN: 's3cret-value' })
  })

  test('says which secret another key sealed, and what to do', async () => {
    await open().put(null, 'TOKEN', { value: 's3cret-value', secret: true })
    await open().put(null, 'URL', { value: 'http://erp/', secret: false })
    const other = open(randomBytes(32))
    const failure = {
      code: 'INTERNAL',
      message: expect.stringMatching(/TOKEN.*SANDHOOK_SECRET_KEY.*store the value again/)
    }
    await expect(other.granted(null, null, uuid())).rejects.toMatchObject(failure)
    expect(await other.granted(null, ['URL'], uuid())).toEqual({
      values: { URL: 'http://erp/' },
      secrets: [],
      bound: []
    })
    await other.put(null, 'TOKEN', { value: 'new', secret: true })
    expect((await other.granted(null, null, uuid())).values).toMatchObject({ TOKEN: 'new' })
  })

  test('binds a value to hosts until it is told otherwise', async () => {
    const env = open()
    const bound = async () => (await env.granted(null, null, uuid())).bound
    expect(await env.put(null, 'KEY', { value: 'one', secret: true })).toMatchObject({ hosts: null })
    expect(await bound()).toEqual([])
    const hosts = ['erp.example.com', 'erp.example.com:8443']
    expect(await env.put(null, 'KEY', { value: 'two', hosts })).toMatchObject({ secret: true, hosts })
    await env.put(null, 'KEY', { value: 'three' })
    expect(await bound()).toEqual([{ key: 'KEY', value: 'three', hosts }])
    await env.put(null, 'KEY', { value: 'four', hosts: [] })
    expect(await bound()).toEqual([{ key: 'KEY', value: 'four', hosts: [] }])
    await env.put(null, 'KEY', { value: 'five', hosts: null })
    expect(await bound()).toEqual([])
  })

  test('replaces a value, and its being secret', async () => {
    const env = open()
    await env.put(null, 'A', { value: 'one', secret: false })
    await env.put(null, 'A', { value: 'two', secret: true })
    expect(await env.granted(null, null, uuid())).toEqual({ values: { A: 'two' }, secrets: ['two'], bound: [] })
    await env.put(null, 'A', { value: 'three', secret: false })
    expect(await env.granted(null, null, uuid())).toEqual({ values: { A: 'three' }, secrets: [], bound: [] })
  })

  test('removes a value of this owner only', async () => {
    const env = open()
    await env.put(null, 'A', { value: 'platform', secret: false })
    await env.put(7, 'A', { value: 'merchant', secret: false })
    await env.remove(7, 'A')
    expect(await env.get(null, 'A')).toMatchObject({ value: 'platform' })
    await expect(env.remove(7, 'A')).rejects.toMatchObject({ code: 'NOT_FOUND', message: expect.stringContaining('A') })
  })

  describe('grants', () => {
    test.each([
      ['a platform hook all of the platform', null, null, { P: 'p', BOTH: 'p' }],
      ['a platform hook what is named', null, ['P', 'X'], { P: 'p' }],
      ['a platform hook nothing when nothing is named', null, [], {}],
      ["a merchant's hook all of its merchant, nothing of the platform", 7, null, { M: 'm', BOTH: 'm' }],
      ["a merchant's hook what is named of both, its own first", 7, ['P', 'M', 'BOTH'], { P: 'p', M: 'm', BOTH: 'm' }],
      ["a merchant's hook nothing of another merchant", 8, ['M', 'BOTH'], { BOTH: 'p' }]
    ])('%s', async (_, merId, grants, expected) => {
      const env = open()
      await env.put(null, 'P', { value: 'p', secret: true })
      await env.put(null, 'BOTH', { value: 'p', secret: false })
      await env.put(7, 'M', { value: 'm', secret: true })
      await env.put(7, 'BOTH', { value: 'm', secret: false })
      const granted = await env.granted(merId, grants, uuid())
      expect(granted.values).toEqual(expected)
      const secret = Object.entries(expected).filter(([name]) => name === 'P' || name === 'M')
      expect(granted.secrets.sort()).toEqual(secret.map(([, value]) => value).sort())
    })
  })

  test('is listed by key and owner, each once, and for some owners only', async () => {
    const env = open()
    for (const key of ['B', 'A', 'C'])
      for (const merId of [null, 7, 'm-8']) await env.put(merId, key, { value: 'x', secret: false })
    const order = (items: { key: string; merId: unknown }[]) => items.map(item => `${item.key}${item.merId ?? ''}`)
    for (const limit of [1, 2, 9])
      expect(order(await walk(page => env.list(undefined, page), limit))).toEqual([
        'A',
        'A7',
        'Am-8',
        'B',
        'B7',
        'Bm-8',
        'C',
        'C7',
        'Cm-8'
      ])
    expect(order(await walk(page => env.list([null, 7], page), 2))).toEqual(['A', 'A7', 'B', 'B7', 'C', 'C7'])
  })

  test('keeps keys apart that differ in case', async () => {
    const env = open()
    await env.put(null, 'key', { value: 'small', secret: false })
    await env.put(null, 'KEY', { value: 'large', secret: false })
    expect((await env.granted(null, null, uuid())).values).toEqual({ key: 'small', KEY: 'large' })
  })
})

describe('a cipher', () => {
  const cipher = createCipher(KEY)

  test.each(['', 'x', '密钥🔑', 'x'.repeat(100_000)])('opens what it sealed', text => {
    expect(cipher.open(cipher.seal(text))).toBe(text)
  })

  test.each([0, 12, 28])('refuses a text that was changed at byte %i', at => {
    const bytes = Buffer.from(cipher.seal('a secret'), 'base64')
    bytes[at] = (bytes[at] ?? 0) ^ 1
    expect(() => cipher.open(bytes.toString('base64'))).toThrow()
  })

  test('refuses a text that was cut', () => {
    const bytes = Buffer.from(cipher.seal('a secret'), 'base64')
    for (const length of [0, 12, 20, 28, bytes.length - 1])
      expect(() => cipher.open(bytes.subarray(0, length).toString('base64'))).toThrow()
  })
})
