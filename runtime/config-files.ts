/** The files of `config/`: data that whoever runs the product may change. Read once, at the start. */
import { readFileSync } from 'node:fs'
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

const Rate = Type.Object({ requests: positive, seconds: positive })

/** What those who call the HTTP server may take of it. */
const Callers = Type.Object({
  rates: Type.Object({
    /** Requests from one address: an IPv4 address, or an IPv6 network of 64 bits. Health and metrics count apart. */
    address: Rate,
    /** Requests with one token, from wherever. */
    token: Rate,
    /** Unknown tokens from one address. */
    failures: Rate
  }),
  /** Connections open at once: in all, and from one address, unless that is a trusted proxy's. */
  connections: Type.Object({ all: positive, address: positive }),
  /** For a client to send the head of a request. */
  headMs: positive,
  /** For a client to send a whole request. */
  requestMs: positive,
  /** For a client to take a whole answer. */
  answerMs: positive,
  /** How long a connection may rest between requests. */
  idleMs: positive
})

/** `config/limits.json`. */
const LimitsFile = Type.Object({
  /** For every hook that does not say otherwise. */
  defaults: LimitValues,
  /** What an admin may raise a hook's limits to. */
  maximum: LimitValues,
  retry: Type.Object({ attempts: positive, delaysMs: Type.Array(Type.Integer({ minimum: 0 }), { minItems: 1 }) }),
  /**
   * For every host that config/targets.json gives no breaker: after so many failures in a row of a hook's calls the
   * hook leaves the host alone for a while, and then tries it with one call at a time.
   */
  breaker: Type.Object({ failures: positive, openMs: positive }),
  /** How long finished executions and their events are kept. */
  retentionDays: positive,
  callers: Callers
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

const SqlName = Type.String({ pattern: '^[A-Za-z0-9_$\\u4e00-\\u9fff]+$' })
const ReadOnly = Type.Optional(Type.Literal('read'))

/** A table of `config/tables.json`, which merchants' hooks may use; host/sql/tables.ts says what each member means. */
const Table = Type.Union([
  Type.Object({ tenant: SqlName, access: ReadOnly }, { additionalProperties: false }),
  Type.Object(
    { link: SqlName, to: Type.String({ pattern: '^[^.]+\\.[^.]+$' }), access: ReadOnly },
    { additionalProperties: false }
  ),
  Type.Object({ shared: Type.Literal('read') }, { additionalProperties: false })
])

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

/** A setting that is wrong. The message is one line: the variable, what is wrong with it, an example. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
}

const FOLDER = new URL('../config/', import.meta.url)

/** Everything in `config/`, checked. Throws ConfigError. */
export const readConfigFiles = () => ({
  limits: readFile('limits.json', LimitsFile),
  catalog: readFile('events.json', Type.Array(CatalogEntry)),
  builtinHooks: readFile('builtin-hooks.json', Type.Array(BuiltinHook)),
  aliases: readFile('aliases.json', Type.Array(Alias)),
  tables: readFile('tables.json', Type.Record(SqlName, Table)),
  targets: readFile('targets.json', Type.Array(Target)),
  topics: readFile('topics.json', Type.Array(TopicRow)),
  monitor: readFile('monitor.json', MonitorFile)
})

export type ConfigFiles = ReturnType<typeof readConfigFiles>

function readFile<T extends TSchema>(name: string, schema: T): Static<T> {
  let data: unknown
  try {
    data = JSON.parse(readFileSync(new URL(name, FOLDER), 'utf8'))
  } catch (error) {
    throw new ConfigError(`config/${name}: ${(error as Error).message}`)
  }
  const [wrong] = Value.Errors(schema, data)
  if (wrong) throw new ConfigError(`config/${name}: ${wrong.instancePath || '/'} ${wrong.message}`)
  return data as Static<T>
}
