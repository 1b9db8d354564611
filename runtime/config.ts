import { isIP } from 'node:net'
import { availableParallelism } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import ipaddr from 'ipaddr.js'
import { ConfigError, type ConfigFiles, readConfigFiles } from './config-files.ts'

/** Everything that can be set, checked; design and README list the variables. */
export interface Config extends Readonly<ConfigFiles> {
  readonly host: string
  /** 0: any free port. */
  readonly port: number
  readonly databaseUrl: string
  readonly shopDatabaseUrl: string
  readonly amqpUrl: string | null
  /** Queues that messages are spread over by order number; 1: they stay in the one in which they come. */
  readonly amqpPartitions: number
  /** Networks of proxies whose X-Forwarded-For is believed; null: nobody's. */
  readonly trustProxy: string | null
  /** Where the platform publishes its events on a channel; null: nowhere. */
  readonly redisUrl: string | null
  /** Whether sent messages may be reported without a token. */
  readonly monitorOpen: boolean
  /** Null: one is made at the first start. */
  readonly adminToken: string | null
  /** 32 bytes; null: made at the first start and kept in `dataDir`. */
  readonly secretKey: Buffer | null
  /** Where the embedded databases and the made key lie. */
  readonly dataDir: string
  readonly runners: number
  /** Runs in flight per runner. */
  readonly concurrency: number
  /** Hosts and networks that scripts may reach although they are private. */
  readonly httpAllow: string[]
  /** Null: on when the embedded database is new. */
  readonly demo: boolean | null
  readonly logLevel: string
}

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']

/** Reads the environment and `config/`; the only reader of the environment. Throws ConfigError. */
export function readConfig(env: NodeJS.ProcessEnv = process.env): Config {
  const databaseUrl = databaseOf('DATABASE_URL', env.DATABASE_URL || 'sqlite:data/sandhook.db')
  const dataDir = isEmbedded(databaseUrl) ? dirname(fileOf(databaseUrl)) : resolve('data')
  return Object.freeze({
    host: env.HOST || '127.0.0.1',
    port: integer(env, 'PORT', 8080, 0, 65_535),
    databaseUrl,
    shopDatabaseUrl: shopOf(env, databaseUrl),
    trustProxy: proxiesOf(env.SANDHOOK_TRUST_PROXY),
    amqpUrl: env.AMQP_URL
      ? urlOf('AMQP_URL', env.AMQP_URL, ['amqp:', 'amqps:'], 'amqp://user:password@localhost:5672')
      : null,
    redisUrl: env.REDIS_URL
      ? urlOf('REDIS_URL', env.REDIS_URL, ['redis:', 'rediss:'], 'redis://:password@localhost:6379/0')
      : null,
    monitorOpen: switchOf(env, 'SANDHOOK_MONITOR_OPEN') ?? true,
    amqpPartitions: integer(env, 'AMQP_PARTITIONS', 1, 1, 64),
    adminToken: adminTokenOf(env.SANDHOOK_ADMIN_TOKEN),
    secretKey: secretKeyOf(env.SANDHOOK_SECRET_KEY),
    dataDir,
    runners: integer(env, 'SANDHOOK_RUNNERS', availableParallelism(), 1, 256),
    concurrency: integer(env, 'SANDHOOK_CONCURRENCY', 64, 1, 4096),
    httpAllow: allowOf(env.SANDHOOK_HTTP_ALLOW),
    demo: switchOf(env, 'SANDHOOK_DEMO'),
    logLevel: oneOf('SANDHOOK_LOG_LEVEL', env.SANDHOOK_LOG_LEVEL || 'info', LOG_LEVELS),
    ...readConfigFiles()
  })
}

/** A setting's error in the one form that all have. */
export const wrong = (name: string, what: string, example: string): ConfigError =>
  new ConfigError(`${name} ${what}; example: ${name}=${example}`)

function integer(env: NodeJS.ProcessEnv, name: string, fallback: number, least: number, most: number): number {
  const text = env[name]
  if (text === undefined || text === '') return fallback
  const value = Number(text)
  if (/^\d+$/.test(text) && value >= least && value <= most) return value
  throw wrong(name, `must be a whole number from ${least} to ${most}, not "${text}"`, String(fallback))
}

function oneOf(name: string, text: string, known: string[]): string {
  if (known.includes(text)) return text
  throw wrong(name, `must be one of ${known.join(', ')}, not "${text}"`, known[2] ?? '')
}

function switchOf(env: NodeJS.ProcessEnv, name: string): boolean | null {
  const text = (env[name] ?? '').toLowerCase()
  if (text === '') return null
  if (['1', 'true', 'on', 'yes'].includes(text)) return true
  if (['0', 'false', 'off', 'no'].includes(text)) return false
  throw wrong(name, `must be on or off, not "${env[name]}"`, 'off')
}

/** Passwords stay out of the message. */
function urlOf(name: string, text: string, protocols: string[], example: string): string {
  const url = URL.parse(text)
  if (!url || !protocols.includes(url.protocol) || url.hostname === '')
    throw wrong(name, `is no valid ${protocols.join(' or ')}// address`, example)
  try {
    decodeURIComponent(text)
    return text
  } catch {
    throw wrong(name, 'has a % that stands for nothing; write it as %25', example)
  }
}

const DATABASE_EXAMPLE = 'mysql://user:password@localhost:3306/sandhook'

function databaseOf(name: string, text: string): string {
  if (isEmbedded(text)) {
    const file = text.slice('sqlite:'.length)
    if (file === '' || file === ':memory:')
      throw wrong(
        name,
        'must name a file: a database in memory would not outlive the process',
        'sqlite:data/sandhook.db'
      )
    return `sqlite:${resolve(file.replace(/^\/\/(?=\/)/, ''))}`
  }
  const url = urlOf(name, text, ['mysql:'], DATABASE_EXAMPLE)
  if ((URL.parse(url)?.pathname ?? '').length < 2)
    throw wrong(name, 'must name a database after the host', DATABASE_EXAMPLE)
  return url
}

/** Whether a database is a file that only this process uses. */
export const isEmbedded = (url: string): boolean => url.startsWith('sqlite:')

/** The file of a `sqlite:` address. */
export const fileOf = (url: string): string => url.slice('sqlite:'.length)

/**
 * On MySQL the shop is by default the same database. The embedded shop is a file of its own beside the runtime's: SQLite
 * locks whole files, and a run that waits for its ERP with an open transaction must not stop events from being accepted.
 */
function shopOf(env: NodeJS.ProcessEnv, databaseUrl: string): string {
  const own = isEmbedded(databaseUrl) ? `sqlite:${join(dirname(fileOf(databaseUrl)), 'shop.db')}` : databaseUrl
  const url = databaseOf('SHOP_DATABASE_URL', env.SHOP_DATABASE_URL || own)
  if (url !== databaseUrl || !isEmbedded(url)) return url
  throw wrong(
    'SHOP_DATABASE_URL',
    'must be another SQLite file than DATABASE_URL: they would lock each other out',
    'sqlite:data/shop.db'
  )
}

function adminTokenOf(text: string | undefined): string | null {
  if (!text) return null
  const example = '"$(openssl rand -hex 24)"'
  if (text.length < 16) throw wrong('SANDHOOK_ADMIN_TOKEN', 'must have at least 16 characters', example)
  // Any other could not be sent in a header.
  if (/^[\x21-\x7e]+$/.test(text)) return text
  throw wrong('SANDHOOK_ADMIN_TOKEN', 'must have no blanks and only ASCII characters', example)
}

function secretKeyOf(text: string | undefined): Buffer | null {
  if (!text) return null
  const key = /^[0-9a-f]{64}$/i.test(text) ? Buffer.from(text, 'hex') : Buffer.from(text, 'base64')
  if (key.length === 32) return key
  throw wrong('SANDHOOK_SECRET_KEY', 'must be 32 bytes as hex or Base64', '"$(openssl rand -hex 32)"')
}

function proxiesOf(text: string | undefined): string | null {
  const networks = allowOf(text)
  if (networks.length === 0) return null
  const isNetwork = (text: string) =>
    isIP(text.replace(/\/.*/, '')) !== 0 && (isIP(text) !== 0 || ipaddr.isValidCIDR(text))
  if (networks.every(isNetwork)) return networks.join(',')
  throw wrong('SANDHOOK_TRUST_PROXY', 'must be addresses or networks, separated by commas', '10.0.0.0/8')
}

const allowOf = (text: string | undefined): string[] =>
  (text ?? '')
    .split(',')
    .map(entry => entry.trim())
    .filter(entry => entry !== '')
