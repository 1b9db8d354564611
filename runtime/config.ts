import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { type Static, type TSchema, Type } from 'typebox'
import { Value } from 'typebox/value'

const positive = Type.Integer({ minimum: 1 })
const Label = Type.Object({ zh: Type.String(), en: Type.String() })

/** A hook's limits without its concurrency, which depends on the machine. model.ts says what each one bounds. */
const LimitValues = Type.Object({
  wallMs: positive,
  cpuMs: positive,
  memoryMb: Type.Integer({ minimum: 8 }),
  dbCalls: positive,
  dbRows: positive,
  dbBytes: positive,
  httpCalls: positive,
  httpSentBytes: positive,
  httpReceivedBytes: positive,
  logLines: positive,
  logBytes: positive,
  resultBytes: positive
})

/** `config/limits.json`. */
const LimitsFile = Type.Object({
  /** For every hook that does not say otherwise. */
  defaults: LimitValues,
  /** What an admin may raise a hook's limits to. */
  maximum: LimitValues,
  retry: Type.Object({ attempts: positive, delaysMs: Type.Array(Type.Integer({ minimum: 0 }), { minItems: 1 }) }),
  /** How long finished executions and their events are kept. */
  retentionDays: positive
})

/** A row of `config/events.json`. */
const CatalogEntry = Type.Object({
  key: Type.String(),
  group: Type.String(),
  label: Label,
  when: Type.Optional(Label),
  payload: Type.Object({ kind: Type.String(), type: Type.String(), label: Label }),
  sample: Type.Object({ eventKey: Type.String(), payload: Type.Any(), timestamp: Type.Integer() }),
  /** Finds the merchant that an event of this kind belongs to; its one parameter is the payload. */
  merchantQuery: Type.Optional(Type.String())
})
export type CatalogEntry = Static<typeof CatalogEntry>

/** A row of `config/builtin-hooks.json`: a script of `hooks/` and its default subscriptions. */
const BuiltinHook = Type.Object({
  path: Type.String(),
  file: Type.String(),
  name: Type.String(),
  description: Type.String(),
  events: Type.Array(Type.String()),
  /** May be called over HTTP without a token: it verifies its callers itself. */
  public: Type.Optional(Type.Boolean()),
  /** Default: true. */
  enabled: Type.Optional(Type.Boolean()),
  /** Default: run. */
  transaction: Type.Optional(Type.Union([Type.Literal('run'), Type.Literal('none')]))
})
export type BuiltinHook = Static<typeof BuiltinHook>

/** A row of `config/targets.json`; host/target-state.ts says what each member means. */
const Target = Type.Object(
  {
    host: Type.String({ minLength: 1 }),
    each: Type.Optional(Type.String()),
    perMinute: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000 })),
    parallel: Type.Optional(positive),
    full: Type.Union([Type.Literal('queue'), Type.Literal('merge'), Type.Literal('drop-oldest')]),
    waiting: Type.Optional(positive),
    breaker: Type.Optional(Type.Object({ failures: positive, openMs: positive }))
  },
  { additionalProperties: false }
)
export type TargetConfig = Static<typeof Target>

/** A row of `config/aliases.json`: a further address of a hook, which a partner's document names. */
const Alias = Type.Object({
  path: Type.String({ pattern: '^/' }),
  hook: Type.String({ pattern: '^/custom/' })
})
export type Alias = Static<typeof Alias>

const Scalar = Type.Union([Type.String(), Type.Number(), Type.Boolean(), Type.Null()])
const Path = Type.String({ minLength: 1 })
const Paths = Type.Array(Path, { minItems: 1 })

/**
 * A row of `config/topics.json`: what a message of RabbitMQ means. Of a topic's rows the first whose `when` fits decides;
 * a message that none fits goes to the dead letters. A path names a member of the body: `status`, `data.id`. A topic that
 * a row names is subscribed to at the next start.
 */
const TopicRow = Type.Object(
  {
    /** The routing key, as it is. */
    topic: Type.String({ minLength: 1, maxLength: 255 }),
    /** Members by path, with the value or one of the values that each must have: 1 and "1" are alike, null is none. */
    when: Type.Optional(Type.Record(Type.String(), Type.Union([Scalar, Type.Array(Scalar, { minItems: 1 })]))),
    /** The event key; none: the message is known and becomes no event, except for hooks of `mq:<topic>`. */
    event: Type.Optional(Type.String({ minLength: 1, maxLength: 100 })),
    /** Where the payload is: the first of these that has a number or a text. Default: orderCode, order_code. */
    payload: Type.Optional(Paths),
    /** Where the ordering key is; default: it is the payload. */
    key: Type.Optional(Paths),
    /** Where the time of the event is, in seconds or milliseconds; default: the message's own, or when it came. */
    timestamp: Type.Optional(Path),
    /** The body is a list, each of whose elements is an event of its own with the element as its data. */
    each: Type.Optional(Type.Boolean()),
    /**
     * There is one such event for a payload (true), or for what these members say, whoever tells of it and however
     * often: all later ones are duplicates. For what ends something: a cancellation, a receipt.
     */
    once: Type.Optional(Type.Union([Type.Boolean(), Paths])),
    /** The message tells which id of the ERP's stands for which of the front's: both are kept under this kind. */
    remember: Type.Optional(
      Type.Object({ kind: Type.String({ minLength: 1, maxLength: 32 }), erp: Path, front: Path })
    ),
    /** The payload is an ERP id of this kind: it becomes the front's id, or `erp:<id>` while nobody has told that one. */
    lookup: Type.Optional(Type.String({ minLength: 1, maxLength: 32 }))
  },
  { additionalProperties: false }
)
export type TopicRow = Static<typeof TopicRow>

/** `config/monitor.json`. */
const MonitorFile = Type.Object(
  {
    /** How long a message that was reported as sent may be on its way before it counts as missing. */
    graceSeconds: positive,
    /** Reports that a node takes in one second, and as many kilobytes of them; what is more is not kept. */
    reportsPerSecond: positive,
    /** Events that the shop's tables tell there should be, one row for each event key. */
    events: Type.Array(
      Type.Object(
        {
          eventKey: Type.String({ minLength: 1, maxLength: 100 }),
          /**
           * A SELECT of `payload`, with `mer_id` where there are merchants, and `key` where the ordering key is not the
           * payload. Its one parameter is a time of the shop's own clock (YYYY-MM-DD HH:mm:ss) from which on it looks.
           */
          query: Type.String({ minLength: 1 }),
          /** How far back it looks. */
          hours: positive,
          /** How long an event may take to come. */
          graceSeconds: Type.Integer({ minimum: 0 })
        },
        { additionalProperties: false }
      )
    )
  },
  { additionalProperties: false }
)
export type MonitorConfig = Static<typeof MonitorFile>

type LimitsConfig = Static<typeof LimitsFile>

/** Everything that can be set, checked; design and README list the variables. */
export interface Config {
  readonly host: string
  /** 0: any free port. */
  readonly port: number
  readonly databaseUrl: string
  readonly shopDatabaseUrl: string
  readonly amqpUrl: string | null
  /** Queues that messages are spread over by order number; 1: they stay in the one in which they come. */
  readonly amqpPartitions: number
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
  readonly limits: LimitsConfig
  readonly catalog: CatalogEntry[]
  readonly builtinHooks: BuiltinHook[]
  readonly aliases: Alias[]
  readonly targets: TargetConfig[]
  readonly topics: TopicRow[]
  readonly monitor: MonitorConfig
}

/** A setting that is wrong. The message is one line: the variable, what is wrong with it, an example. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']
const CONFIG_DIR = new URL('../config/', import.meta.url)

/** Reads the environment and `config/`; the only reader of the environment. Throws ConfigError. */
export function readConfig(env: NodeJS.ProcessEnv = process.env): Config {
  const databaseUrl = databaseOf('DATABASE_URL', env.DATABASE_URL || 'sqlite:data/sandhook.db')
  const dataDir = isEmbedded(databaseUrl) ? dirname(fileOf(databaseUrl)) : resolve('data')
  return Object.freeze({
    host: env.HOST || '127.0.0.1',
    port: integer(env, 'PORT', 8080, 0, 65_535),
    databaseUrl,
    shopDatabaseUrl: shopOf(env, databaseUrl),
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
    limits: readFile('limits.json', LimitsFile),
    catalog: readFile('events.json', Type.Array(CatalogEntry)),
    builtinHooks: readFile('builtin-hooks.json', Type.Array(BuiltinHook)),
    aliases: readFile('aliases.json', Type.Array(Alias)),
    targets: readFile('targets.json', Type.Array(Target)),
    topics: readFile('topics.json', Type.Array(TopicRow)),
    monitor: readFile('monitor.json', MonitorFile)
  })
}

function readFile<T extends TSchema>(name: string, schema: T): Static<T> {
  let data: unknown
  try {
    data = JSON.parse(readFileSync(new URL(name, CONFIG_DIR), 'utf8'))
  } catch (error) {
    throw new ConfigError(`config/${name}: ${(error as Error).message}`)
  }
  const [wrong] = Value.Errors(schema, data)
  if (wrong) throw new ConfigError(`config/${name}: ${wrong.instancePath || '/'} ${wrong.message}`)
  return data as Static<T>
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

const allowOf = (text: string | undefined): string[] =>
  (text ?? '')
    .split(',')
    .map(entry => entry.trim())
    .filter(entry => entry !== '')
