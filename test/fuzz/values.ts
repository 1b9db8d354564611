import fc, { type Arbitrary } from 'fast-check'
import type { Json } from '../../runtime/model.ts'
import type { Schema } from './document.ts'

/** Texts that have broken servers before. */
const NASTY = [
  ...[
    '',
    ' ',
    '\0',
    'a\0b',
    '\n',
    'a\r\nSet-Cookie: x=1',
    '\t',
    '\ud800',
    '\udfff\ud800',
    '\ufeff',
    '\u2028',
    '\u202e'
  ],
  ...['😀', '订单', 'İ', 'ß', 'e\u0301', '٣', '\uffff', '％', 'ＡＤＭＩＮ'],
  ...['../../etc/passwd', '..', '.', '/', '\\', '%', '%00', '%2e%2e%2f', '%ff', '_', '*', '?', '#', ';', '&a=b'],
  ...[
    "'",
    '"',
    '`',
    "' OR 1=1 -- ",
    '1; DROP TABLE sandhook_events',
    "\\'",
    '#{7*7}',
    '{{7*7}}',
    '<script>alert(1)</script>'
  ],
  ...['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', 'length', 'then'],
  ...['null', 'undefined', 'true', 'NaN', 'Infinity', '-0', '0', '1e999', '0x10', '9007199254740993', '-1', '1.5'],
  ...['1969-12-31T23:59:59Z', '2016-12-31T23:59:60Z', '+275760-09-13T00:00:00.001Z', '9999-12-31T23:59:59.999Z'],
  ...[
    '0001-01-01T00:00:00Z',
    '2024-02-30T00:00:00Z',
    'A'.repeat(192),
    '订'.repeat(130),
    '😀'.repeat(64),
    'x'.repeat(5_000)
  ]
]

export const nastyText: Arbitrary<string> = fc.constantFrom(...NASTY)

/** Texts of every kind; sometimes with lone surrogates, which JSON can carry. */
export const text: Arbitrary<string> = fc.oneof(
  { weight: 3, arbitrary: fc.stringMatching(/^[A-Za-z0-9_-]{1,12}$/) },
  { weight: 2, arbitrary: nastyText },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 40 }) },
  { weight: 1, arbitrary: fc.string({ unit: 'grapheme', maxLength: 20 }) }
)

const NUMBERS = [0, -1, 1, 1.5, 2 ** 31, 2 ** 32, 2 ** 53, 2 ** 53 + 2, -(2 ** 63), 1e21, 1e300, -1e-300, 8.64e15 + 1]

const nested = (levels: number): Json => {
  let value: Json = 1
  for (let level = 0; level < levels; level++) value = level % 2 ? [value] : { a: value }
  return value
}

const ODD: Json[] = [
  ...[null, true, false, [], {}, [[]], [null], { a: 1 }, { length: 3 }, { toJSON: 1 }, nested(40), nested(2_000)],
  Array.from({ length: 300 }, (_, i) => i),
  // As JSON.parse makes them: members of their own.
  JSON.parse('{"then":1,"__proto__":{"admin":true}}'),
  JSON.parse('{"constructor":{"prototype":{"admin":true}}}')
]

/** What was never asked for. */
export const hostile: Arbitrary<Json> = fc.oneof(
  text,
  fc.constantFrom(...NUMBERS),
  fc.constantFrom(...ODD),
  fc.jsonValue({ maxDepth: 3 }) as Arbitrary<Json>
)

/** Generators by the name of the member that they stand for: what a schema can't say. */
export type Own = Record<string, Arbitrary<Json>>

/** Values that a schema takes, as a rule. `own` has its say wherever a member has its name. */
export function valid(schema: Schema, own: Own): Arbitrary<Json> {
  if (schema.enum) return fc.constantFrom(...(schema.enum as Json[]))
  if (schema.anyOf) return fc.oneof(...schema.anyOf.map(one => valid(one, own)))
  const types = [schema.type ?? 'any'].flat()
  return types.length === 1
    ? ofType(types[0] ?? 'any', schema, own)
    : fc.oneof(...types.map(type => ofType(type, schema, own)))
}

function ofType(type: string, schema: Schema, own: Own): Arbitrary<Json> {
  if (type === 'null') return fc.constant(null)
  if (type === 'boolean') return fc.boolean()
  if (type === 'string') return validText(schema)
  if (type === 'integer' || type === 'number') return validNumber(type, schema)
  if (type === 'array') return validArray(schema, own)
  if (type === 'object') return validObject(schema, own)
  return fc.oneof(
    { weight: 3, arbitrary: text },
    { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 2 }) as Arbitrary<Json> }
  )
}

/** RFC 3339 has times that `Date` has not. */
const time = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.date({ min: new Date(0), max: new Date(4e12), noInvalidDate: true }).map(date => date.toISOString())
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      ...['2016-12-31T23:59:60Z', '2024-06-30t08:00:00z', '0000-01-01T00:00:00Z', '9999-12-31T23:59:59.999999999Z'],
      ...['2024-01-31T08:00:00+23:59', '2016-12-31 23:59:60Z', '9999-12-31T23:59:59-23:59', '2040-06-30T23:59:60Z']
    )
  }
)

function validText({ minLength = 0, maxLength = 5_000, pattern, format }: Schema): Arbitrary<string> {
  if (format === 'date-time') return time
  const fits = (value: string) => value.length >= minLength && value.length <= maxLength
  if (pattern === undefined) return text.filter(fits)
  const wanted = new RegExp(pattern, 'u')
  // The generator knows neither assertions nor classes of Unicode.
  if (/\(\?|\\p/.test(pattern)) return text.filter(value => fits(value) && wanted.test(value))
  return fc.stringMatching(wanted).filter(fits)
}

function validNumber(
  type: string,
  { minimum = -1_000, maximum = 2 ** 53 - 1, exclusiveMinimum }: Schema
): Arbitrary<number> {
  const least = exclusiveMinimum === undefined ? minimum : exclusiveMinimum + 1
  const small = fc.integer({ min: 0, max: Math.min(20, maximum - least) }).map(n => least + n)
  const whole = fc.oneof(
    small,
    fc.bigInt({ min: BigInt(least), max: BigInt(maximum) }).map(Number),
    fc.constant(maximum)
  )
  return type === 'integer' ? whole : fc.oneof(whole, fc.double({ min: least, max: least + 1_000, noNaN: true }))
}

const validArray = (
  { items = {}, minItems = 0, maxItems = 4, uniqueItems = false }: Schema,
  own: Own
): Arbitrary<Json> => {
  const bounds = { minLength: minItems, maxLength: Math.max(minItems, Math.min(4, maxItems)) }
  return uniqueItems ? fc.uniqueArray(valid(items, own), bounds) : fc.array(valid(items, own), bounds)
}

function validObject({ properties = {}, required = [], additionalProperties }: Schema, own: Own): Arbitrary<Json> {
  const known = Object.entries(properties).map(([name, schema]) => [name, own[name] ?? valid(schema, own)] as const)
  const members = fc.record(Object.fromEntries(known), { requiredKeys: required })
  if (typeof additionalProperties !== 'object') return members
  return fc
    .tuple(fc.dictionary(text, valid(additionalProperties, own), { maxKeys: 3 }), members)
    .map(parts => Object.assign({}, ...parts))
}

/** A way to spoil a value: which of its parts, and how. */
export interface Harm {
  part: number
  how: 'replace' | 'drop' | 'add' | 'double'
  value: Json
  name: string
}

export const harm: Arbitrary<Harm> = fc.record({
  part: fc.nat({ max: 30 }),
  how: fc.constantFrom('replace', 'replace', 'drop', 'add', 'double'),
  value: hostile,
  name: fc.oneof(nastyText, fc.constantFrom('id', 'script', 'merId', 'scopes', 'secret', 'builtin', 'version'))
})

type Place = { value: Json; put: (value: Json | undefined) => void }

/** A copy of `given` with one part spoiled. */
export function harmed(given: Json, { part, how, value, name }: Harm): Json {
  const root = { value: structuredClone(given) }
  const places: Place[] = [...placesIn(root.value, changed => define(root, 'value', changed ?? null))]
  const place = places[part % places.length] as Place
  if (how === 'drop') place.put(undefined)
  else if (how === 'double') place.put([place.value, place.value])
  else if (how === 'add' && isObject(place.value)) define(place.value, name, value)
  else place.put(value)
  return root.value
}

function* placesIn(value: Json, put: Place['put']): Generator<Place> {
  yield { value, put }
  if (typeof value !== 'object' || value === null) return
  const members = value as Record<string, Json>
  for (const name of Object.keys(members).slice(0, 12))
    yield* placesIn(members[name] ?? null, changed => {
      if (changed === undefined) delete members[name]
      else define(members, name, changed)
    })
}

const isObject = (value: Json): value is { [key: string]: Json } =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** A member of its own, `__proto__` too. */
const define = (object: object, name: string, value: Json): void =>
  void Object.defineProperty(object, name, { value, enumerable: true, configurable: true, writable: true })
