import { type Static, type TProperties, type TSchema, Type } from 'typebox'
import type { Json, MerId } from '../model.ts'
import { Problem } from './problem.ts'

/** A shared schema (one with an `$id`) by its name, so that the API's document has it once. */
export const named = <T extends TSchema>(schema: T) =>
  Type.Unsafe<Static<T>>({ $ref: `${(schema as { $id?: string }).$id}#` })

/** A schema of one type that also takes null. */
export const nullable = <T extends TSchema & { type: string }>(schema: T) =>
  Type.Unsafe<Static<T> | null>({ ...schema, type: [schema.type, 'null'] })

export const Time = Type.String({ format: 'date-time', description: 'ISO 8601, UTC' })
export const MaybeTime = nullable(Time)
/** Anything that JSON can carry. */
export const AnyJson = Type.Unsafe<Json>({})
export const Owner = Type.Unsafe<MerId | null>({
  type: ['integer', 'string', 'null'],
  description: "The merchant's id; null: the platform"
})
/** An owner as a request gives it; told apart as MySQL does, which ignores blanks at the end. */
export const GivenOwner = Type.Unsafe<MerId | null>({
  type: ['integer', 'string', 'null'],
  minimum: 0,
  maximum: Number.MAX_SAFE_INTEGER,
  minLength: 1,
  maxLength: 64,
  pattern: '^(?!\\s)[^\\p{Cc}\\p{Cs}]*(?<!\\s)$',
  description: "The merchant's id; null: the platform. A merchant's token has no choice"
})

export const Id = Type.Object({ id: Type.String({ minLength: 1, maxLength: 128 }) })
export const Gone = Type.Null({ description: 'Done' })

/** What names must not be: in many an object it stands for something else. */
const RESERVED = '(?:__proto__|prototype|constructor)'
/** The beginning of a pattern for names, up to `end`, that are none of those. */
export const notReserved = (end = '$'): string => `(?!${RESERVED}${end})`

/** An env key. */
export const EnvKey = Type.String({ pattern: `^${notReserved()}[A-Za-z_][A-Za-z0-9_]{0,127}$` })

const refusal = (description: string) => ({
  description,
  content: { 'application/problem+json': { schema: named(Problem) } }
})

/** How every address of the API may refuse. */
export const problems = {
  '4xx': refusal('Refused: the problem says what is wrong, and what helps'),
  '5xx': refusal('Failed here: the problem says whether and when to come again')
}

const MAX_LIMIT = 200

/** The query of a list: its own members, and which page. */
export const listQuery = <T extends TProperties>(members: T) =>
  Type.Object(
    {
      ...members,
      limit: Type.Optional(
        Type.Integer({ minimum: 1, maximum: MAX_LIMIT, default: 50, description: 'Items of a page, at most' })
      ),
      cursor: Type.Optional(
        Type.String({ maxLength: 1_000, description: 'The page after the one that gave it as `nextCursor`' })
      )
    },
    { additionalProperties: false }
  )

/** A list's answer. */
export const pageOf = <T extends TSchema>(item: T) =>
  Type.Object({ items: Type.Array(item), nextCursor: nullable(Type.String({ description: 'null: the last page' })) })

/** A merchant to narrow a list to; '' is the platform. */
export const MerIdQuery = Type.Optional(
  Type.String({ maxLength: 64, description: "Only this merchant's; empty: only the platform's" })
)

/** Milliseconds since the epoch as answers give a time. */
export const iso = (time: number): string => new Date(time).toISOString()
export const isoOrNull = (time: number | null): string | null => (time === null ? null : iso(time))
