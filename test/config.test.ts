import { mkdtempSync, rmSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readConfig } from '../runtime/config.ts'
import { ConfigError } from '../runtime/config-files.ts'
import { openGuard } from '../runtime/startup.ts'

/** What a start with this environment says; fails when it says nothing. */
function complaint(env: Record<string, string>): string {
  try {
    const config = readConfig(env)
    openGuard(config, [])
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError)
    return (error as Error).message
  }
  throw new Error('Nothing was wrong with it')
}

const MYSQL = 'mysql://user:password@localhost:3306/sandhook'

describe('a wrong setting is told in one line: the variable, what is wrong, an example', () => {
  test.each<[string, string, string]>([
    ['PORT', 'http', 'must be a whole number from 0 to 65535, not "http"'],
    ['PORT', '65536', 'must be a whole number from 0 to 65535, not "65536"'],
    ['PORT', '-1', 'must be a whole number from 0 to 65535, not "-1"'],
    ['PORT', '80.5', 'must be a whole number from 0 to 65535, not "80.5"'],
    ['PORT', '0x50', 'must be a whole number from 0 to 65535, not "0x50"'],
    ['PORT', ' 80', 'must be a whole number from 0 to 65535, not " 80"'],
    ['DATABASE_URL', 'localhost', 'is no valid mysql:// address'],
    ['DATABASE_URL', 'postgres://user:sesame@localhost/db', 'is no valid mysql:// address'],
    ['DATABASE_URL', 'mysql:sandhook', 'is no valid mysql:// address'],
    ['DATABASE_URL', 'mysql://user:sesame@:3306/db', 'is no valid mysql:// address'],
    ['DATABASE_URL', 'mysql://user:sesame@localhost:99999/db', 'is no valid mysql:// address'],
    ['DATABASE_URL', 'mysql://user:sesame@localhost', 'must name a database after the host'],
    ['DATABASE_URL', 'mysql://user:sesame@localhost:3306/', 'must name a database after the host'],
    ['DATABASE_URL', 'mysql://user:ses%ame@localhost/db', 'has a % that stands for nothing; write it as %25'],
    ['DATABASE_URL', 'mysql://user:ses%ffame@localhost/db', 'has a % that stands for nothing; write it as %25'],
    ['DATABASE_URL', 'sqlite:', 'must name a file'],
    ['DATABASE_URL', 'sqlite::memory:', 'must name a file'],
    ['SHOP_DATABASE_URL', 'oracle://user:sesame@localhost/db', 'is no valid mysql:// address'],
    ['SHOP_DATABASE_URL', 'mysql://user:sesame@localhost', 'must name a database after the host'],
    ['SHOP_DATABASE_URL', 'sqlite::memory:', 'must name a file'],
    ['AMQP_URL', 'rabbit', 'is no valid amqp: or amqps:// address'],
    ['AMQP_URL', 'http://user:sesame@localhost', 'is no valid amqp: or amqps:// address'],
    ['SANDHOOK_ADMIN_TOKEN', 'sesame', 'must have at least 16 characters'],
    ['SANDHOOK_ADMIN_TOKEN', 'sesame with blanks in it', 'must have no blanks and only ASCII characters'],
    ['SANDHOOK_ADMIN_TOKEN', 'sesame密码密码密码密码密码密码', 'must have no blanks and only ASCII characters'],
    ['SANDHOOK_SECRET_KEY', 'sesame', 'must be 32 bytes as hex or Base64'],
    ['SANDHOOK_SECRET_KEY', 'sesame'.repeat(20), 'must be 32 bytes as hex or Base64'],
    ['SANDHOOK_SECRET_KEY', 'ab'.repeat(31), 'must be 32 bytes as hex or Base64'],
    ['SANDHOOK_RUNNERS', '0', 'must be a whole number from 1 to 256, not "0"'],
    ['SANDHOOK_RUNNERS', '257', 'must be a whole number from 1 to 256, not "257"'],
    ['SANDHOOK_RUNNERS', 'many', 'must be a whole number from 1 to 256, not "many"'],
    ['SANDHOOK_CONCURRENCY', '0', 'must be a whole number from 1 to 4096, not "0"'],
    ['SANDHOOK_CONCURRENCY', '1e3', 'must be a whole number from 1 to 4096, not "1e3"'],
    ['SANDHOOK_TRUST_PROXY', 'nginx', 'must be addresses or networks, separated by commas'],
    ['SANDHOOK_TRUST_PROXY', 'true', 'must be addresses or networks, separated by commas'],
    ['SANDHOOK_TRUST_PROXY', '10.0.0.0/33', 'must be addresses or networks, separated by commas'],
    ['SANDHOOK_TRUST_PROXY', '10/8', 'must be addresses or networks, separated by commas'],
    ['SANDHOOK_TRUST_PROXY', '10.0.0.1, 1', 'must be addresses or networks, separated by commas'],
    ['SANDHOOK_HTTP_ALLOW', '10.0.0.0/33', ''],
    ['SANDHOOK_HTTP_ALLOW', '127.0.0.1:18081,10.0.0.0/x', ''],
    ['SANDHOOK_HTTP_ALLOW', '127.0.0.1:port', ''],
    ['SANDHOOK_DEMO', 'perhaps', 'must be on or off, not "perhaps"'],
    ['SANDHOOK_LOG_LEVEL', 'loud', 'must be one of trace, debug, info, warn, error, fatal, silent, not "loud"']
  ])('%s=%s', (name, value, what) => {
    const line = complaint({ [name]: value })
    expect(line).not.toContain('\n')
    expect(line.startsWith(`${name} `)).toBe(true)
    expect(line).toContain(what)
    expect(line).toMatch(new RegExp(`; example: ${name}=.+$`))
    expect(line).not.toContain('sesame')
  })

  test('every example is itself a right setting', () => {
    const wrong = {
      ...{ PORT: 'x', DATABASE_URL: 'x', SHOP_DATABASE_URL: 'x', AMQP_URL: 'x', SANDHOOK_RUNNERS: 'x' },
      ...{ SANDHOOK_CONCURRENCY: 'x', SANDHOOK_DEMO: 'x', SANDHOOK_LOG_LEVEL: 'x', SANDHOOK_HTTP_ALLOW: '10.0.0.0/99' }
    }
    for (const [name, value] of Object.entries(wrong)) {
      const example = /example: \w+=(.*)$/.exec(complaint({ [name]: value }))?.[1] as string
      expect(openGuard(readConfig({ [name]: example }), [])).toBeDefined()
    }
  })
})

describe('with nothing set', () => {
  test('it is the embedded database in ./data, a port of this machine only, and no demo decision', () => {
    const config = readConfig({})
    expect(config).toMatchObject({
      ...{ host: '127.0.0.1', port: 8080, databaseUrl: `sqlite:${resolve('data/sandhook.db')}` },
      ...{ shopDatabaseUrl: `sqlite:${resolve('data/shop.db')}`, dataDir: resolve('data'), amqpUrl: null },
      ...{ adminToken: null, secretKey: null, runners: availableParallelism(), concurrency: 64, httpAllow: [] },
      ...{ demo: null, logLevel: 'info' }
    })
    expect(Object.isFrozen(config)).toBe(true)
  })

  test('an empty variable is as good as none', () => {
    const names = ['HOST', 'PORT', 'SHOP_DATABASE_URL', 'AMQP_URL', 'SANDHOOK_ADMIN_TOKEN', 'SANDHOOK_SECRET_KEY']
    const more = ['DATABASE_URL', 'SANDHOOK_RUNNERS', 'SANDHOOK_CONCURRENCY', 'SANDHOOK_HTTP_ALLOW', 'SANDHOOK_DEMO']
    const empty = Object.fromEntries([...names, ...more, 'SANDHOOK_LOG_LEVEL'].map(name => [name, '']))
    expect(readConfig(empty)).toEqual(readConfig({}))
  })
})

describe('databases', () => {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'sandhook-config-'))
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  test.each([
    ['sqlite:data/a.db', resolve('data/a.db')],
    ['sqlite:./a.db', resolve('a.db')],
    ['sqlite:/var/lib/a.db', '/var/lib/a.db'],
    ['sqlite:///var/lib/a.db', '/var/lib/a.db']
  ])('%s is the file %s, with the shop and the key beside it', (url, file) => {
    const config = readConfig({ DATABASE_URL: url })
    expect(config.databaseUrl).toBe(`sqlite:${file}`)
    expect(config.shopDatabaseUrl).toBe(`sqlite:${resolve(file, '../shop.db')}`)
    expect(config.dataDir).toBe(resolve(file, '..'))
  })

  test('on MySQL the shop is by default the same database, and may be another, or a file', () => {
    expect(readConfig({ DATABASE_URL: MYSQL }).shopDatabaseUrl).toBe(MYSQL)
    const shop = 'mysql://scripts:secret@shop-db:3307/shop'
    expect(readConfig({ DATABASE_URL: MYSQL, SHOP_DATABASE_URL: shop }).shopDatabaseUrl).toBe(shop)
    const file = `sqlite:${join(folder, 'shop.db')}`
    expect(readConfig({ DATABASE_URL: MYSQL, SHOP_DATABASE_URL: file }).shopDatabaseUrl).toBe(file)
    expect(readConfig({ DATABASE_URL: MYSQL, SHOP_DATABASE_URL: MYSQL }).shopDatabaseUrl).toBe(MYSQL)
  })

  test.each([
    ['the same path', 'sqlite:data/a.db', 'sqlite:data/a.db'],
    ['the same path, written otherwise', 'sqlite:data/a.db', `sqlite:${resolve('data')}/../data/a.db`],
    ['the default of the shop', 'sqlite:data/shop.db', '']
  ])('one SQLite file for both is refused: %s', (_, url, shop) => {
    const line = complaint({ DATABASE_URL: url, SHOP_DATABASE_URL: shop })
    expect(line).toMatch(
      /^SHOP_DATABASE_URL must be another SQLite file than DATABASE_URL: .*; example: SHOP_DATABASE_URL=/
    )
  })
})

describe('other settings', () => {
  const key = Buffer.from(Array.from({ length: 32 }, (_, i) => i))

  test.each([
    ['hex', key.toString('hex')],
    ['hex in capitals', key.toString('hex').toUpperCase()],
    ['Base64', key.toString('base64')],
    ['Base64 for addresses', key.toString('base64url')]
  ])('the secret key may be %s', (_, text) => {
    expect(readConfig({ SANDHOOK_SECRET_KEY: text }).secretKey).toEqual(key)
  })

  test.each([
    ['1', true],
    ['on', true],
    ['True', true],
    ['YES', true],
    ['0', false],
    ['off', false],
    ['false', false],
    ['No', false]
  ])('SANDHOOK_DEMO=%s is %s', (text, value) => {
    expect(readConfig({ SANDHOOK_DEMO: text }).demo).toBe(value)
  })

  test('the allowed hosts are a list, with or without blanks', () => {
    const { httpAllow } = readConfig({ SANDHOOK_HTTP_ALLOW: '127.0.0.1:18081, 10.0.0.0/8 ,,erp.local' })
    expect(httpAllow).toEqual(['127.0.0.1:18081', '10.0.0.0/8', 'erp.local'])
  })

  test('proxies are trusted by their addresses and networks, and by default none', () => {
    expect(readConfig({ SANDHOOK_TRUST_PROXY: '10.0.0.0/8, ::1 ,192.0.2.7' }).trustProxy).toBe(
      '10.0.0.0/8,::1,192.0.2.7'
    )
    expect(readConfig({}).trustProxy).toBeNull()
  })

  test('an IPv6 host and port 0 are right', () => {
    expect(readConfig({ HOST: '::1', PORT: '0' })).toMatchObject({ host: '::1', port: 0 })
  })
})
