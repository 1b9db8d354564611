import { type Static, type TSchema, Type } from 'typebox'
import type { Hook as HookNoun, Limits as LimitsNoun, HookVersion as VersionNoun } from '../model.ts'
import { AnyJson, EnvKey, GivenOwner, iso, notReserved, nullable, Owner, Time } from './schemas.ts'

const atLeast = (minimum: number, description: string) => Type.Integer({ minimum, description })

const LIMITS = {
  wallMs: atLeast(1, 'Wall clock of a run, waiting included'),
  cpuMs: atLeast(1, 'Time on the processor'),
  memoryMb: atLeast(8, 'V8 heap'),
  dbCalls: atLeast(1, 'db calls of a run'),
  dbRows: atLeast(1, 'Rows in one result'),
  dbBytes: atLeast(1, 'Size of one result'),
  httpCalls: atLeast(1, 'http calls of a run'),
  httpSentBytes: atLeast(1, 'Body of one request'),
  httpReceivedBytes: atLeast(1, 'Body of one answer'),
  logLines: atLeast(1, 'Lines of log'),
  logBytes: atLeast(1, 'Bytes of log'),
  resultBytes: atLeast(1, 'Size of the result'),
  concurrency: Type.Integer({ minimum: 1, maximum: 4096, description: 'Runs in flight at once, on each node' })
} satisfies Record<keyof LimitsNoun, TSchema>

const Limits = Type.Partial(Type.Object(LIMITS), {
  additionalProperties: false,
  description: 'What differs from the defaults. A merchant may only lower them'
})

const WEEK_MS = 7 * 24 * 3_600_000

const Retry = Type.Partial(
  Type.Object({
    attempts: Type.Integer({ minimum: 1, maximum: 50, description: 'Runs in all, the first one included' }),
    delaysMs: Type.Array(Type.Integer({ minimum: 0, maximum: WEEK_MS }), {
      minItems: 1,
      maxItems: 50,
      description: 'Rest before attempt 2, 3, …; the last one repeats'
    })
  }),
  { additionalProperties: false, description: 'What differs from the default retries' }
)

const EnvKeys = nullable(
  Type.Array(EnvKey, {
    maxItems: 200,
    description: "Keys that env shows to it; null: all of its owner's. Only an admin grants keys to a merchant's hook"
  })
)

/** A segment is a variable, `{id}`, or a name; `.` and `..` are none. */
const SEGMENT = `/(?!\\.{1,2}(?:/|$))${notReserved('(?:/|$)')}(?:\\{${notReserved('\\}')}\\w+\\}|[A-Za-z0-9_\\-.]+)`

const MEMBERS = {
  path: Type.String({
    pattern: `^/(?:custom|lib)(?:${SEGMENT})+$`,
    maxLength: 191,
    description: '/custom/… is a hook, /lib/… a library that hooks require'
  }),
  name: Type.String({
    ...{ minLength: 1, maxLength: 191, pattern: `^${notReserved()}` },
    description: 'Default: the path'
  }),
  description: Type.String({ maxLength: 4_000 }),
  events: Type.Array(Type.String({ pattern: '^[A-Za-z0-9_.:*-]{1,100}$' }), {
    maxItems: 100,
    description: 'Event keys, or patterns: ORDER_*'
  }),
  script: Type.String({ description: 'The body of a function, up to 256 KB' }),
  enabled: Type.Boolean({ description: 'Default: true' }),
  merId: GivenOwner,
  public: Type.Boolean({
    description: 'Whether anybody may call it over HTTP without a token. Only an admin may say so'
  }),
  limits: Limits,
  retry: Retry,
  transaction: Type.Enum(['run', 'none'], {
    description: 'run: all that a run writes is one transaction (default); none: each statement commits by itself'
  }),
  env: EnvKeys
}

/** What changes a hook; a script becomes its next version, published. */
export const HookPatch = Type.Partial(Type.Object(MEMBERS), { additionalProperties: false, minProperties: 1 })
export type HookPatch = Static<typeof HookPatch>

const { path, script, ...optional } = MEMBERS
/** What makes a hook. */
export const NewHook = Type.Object(
  { path, script, ...Type.Partial(Type.Object(optional)).properties },
  { additionalProperties: false }
)

const SHOWN = {
  id: Type.String(),
  path: Type.String(),
  name: Type.String(),
  description: Type.String(),
  events: Type.Array(Type.String()),
  enabled: Type.Boolean(),
  merId: Owner,
  builtin: Type.Boolean({ description: 'Shipped with Sandhook' }),
  public: Type.Boolean(),
  version: nullable(Type.Integer({ description: 'The published one' })),
  limits: Type.Unsafe<Partial<LimitsNoun>>(Limits),
  retry: Retry,
  transaction: Type.Enum(['run', 'none']),
  env: EnvKeys,
  createdAt: Time,
  updatedAt: Time
}

export const HookSummary = Type.Object(SHOWN, { $id: 'HookSummary' })
export const Hook = Type.Object(
  {
    ...SHOWN,
    script: nullable(Type.String({ description: 'The published text' })),
    warnings: Type.Array(Type.String(), { description: 'What is allowed, but probably not meant' })
  },
  { $id: 'Hook' }
)

export const HookVersion = Type.Object(
  {
    hookId: Type.String(),
    version: Type.Integer(),
    published: Type.Boolean(),
    script: Type.String(),
    createdBy: Type.String(),
    createdAt: Time
  },
  { $id: 'HookVersion' }
)

export const CatalogEntry = Type.Object(
  {
    key: Type.String(),
    group: Type.String(),
    label: Type.Object({ zh: Type.String(), en: Type.String() }),
    when: Type.Optional(Type.Object({ zh: Type.String(), en: Type.String() })),
    payload: Type.Object({
      kind: Type.String(),
      type: Type.String(),
      label: Type.Object({ zh: Type.String(), en: Type.String() })
    }),
    sample: Type.Object({ eventKey: Type.String(), payload: AnyJson, timestamp: Type.Integer() })
  },
  { $id: 'CatalogEntry' }
)

/** A hook as lists show it. */
export const summaryOf = (hook: HookNoun): Static<typeof HookSummary> => ({
  ...hook,
  createdAt: iso(hook.createdAt),
  updatedAt: iso(hook.updatedAt)
})

/** A version of a hook, as it is shown. */
export const versionOf = (hook: HookNoun, version: VersionNoun): Static<typeof HookVersion> => ({
  hookId: hook.id,
  version: version.version,
  published: version.version === hook.version,
  script: version.script,
  createdBy: version.createdBy,
  createdAt: iso(version.createdAt)
})
