import fc, { type Arbitrary } from 'fast-check'
import type { Json } from '../../runtime/model.ts'
import type { Operation } from './document.ts'
import { OWN } from './members.ts'
import { type Harm, harm, harmed, hostile, nastyText, text, valid } from './values.ts'

/** A part of an address: something that the server has or had, a text to be encoded, or characters as they stand. */
export type Piece = { known: number } | { gone: number } | { text: string } | { raw: string }

/** Whose token: a planted one, one that the fuzz has made, or an Authorization header as it stands. */
export type Who = { role: Role } | { made: number } | { header: string }

/** What is done to a body's bytes. */
type Rent = { cut: number } | { at: number; insert: string } | { megabytes: number } | { bytes: number[] }

/** A request, before it is known what the server has: small, so that it can be shrunk and read. */
export interface Plan {
  operation: Operation
  /** Another method than the operation's. */
  method?: string
  who: Who
  params: Record<string, Piece>
  query: [string, Piece][]
  headers: Record<string, string>
  body: { json: Json; rent: Rent | null; type: string } | null
}

/** The planted tokens. A viewer and a sender are bound to a merchant as well. */
export const ROLES = {
  admin: { scopes: ['admin'] },
  viewer: { scopes: ['viewer'] },
  merchantA: { scopes: ['merchant'], merId: 101 },
  merchantB: { scopes: ['merchant'], merId: 'shop-b' },
  viewerA: { scopes: ['viewer'], merId: 101 },
  sender: { scopes: ['events:write'] },
  senderB: { scopes: ['events:write'], merId: 'shop-b' },
  caller: { scopes: ['hooks:call'] }
} satisfies Record<string, { scopes: string[]; merId?: number | string }>
export type Role = keyof typeof ROLES

const piece = (known: number): Arbitrary<Piece> =>
  fc.oneof(
    { weight: known, arbitrary: fc.record({ known: fc.nat({ max: 60 }) }) },
    { weight: 1, arbitrary: fc.record({ gone: fc.nat({ max: 20 }) }) },
    { weight: 2, arbitrary: fc.record({ text: fc.oneof(nastyText, text, fc.uuid()) }) },
    { weight: 1, arbitrary: fc.record({ raw: raw }) }
  )

const raw = fc.constantFrom(
  ...[
    '',
    '.',
    '..',
    '../..',
    '%',
    '%zz',
    '%00',
    '%2e%2e%2f',
    '%c0%af',
    '%ed%a0%80',
    '%2F',
    'a/b',
    'a//b',
    '//',
    ';x=1',
    ':id'
  ],
  ...[
    '{id}',
    '*',
    '\\',
    '..\\..',
    '~',
    "'",
    '"',
    '|',
    '^',
    'x'.repeat(1_700),
    '%41'.repeat(700),
    '[]',
    '@',
    '$&',
    '..;/'
  ]
)

function queryOf(operation: Operation): Arbitrary<[string, Piece][]> {
  const known = Object.entries(operation.query).map(([name, schema]) => {
    const fine = valid(schema, OWN).map((value): Piece => ({ text: String(value) }))
    const odd = { weight: 1, arbitrary: piece(3) }
    const value = fc.oneof(
      { weight: ['cursor', 'merId', 'hook', 'eventId'].includes(name) ? 0 : 6, arbitrary: fine },
      odd
    )
    const none = { weight: 4, arbitrary: fc.constant<[string, Piece][]>([]) }
    return fc.oneof(none, { weight: 1, arbitrary: fc.tuple(fc.constant(name), value).map(given => [given]) })
  })
  const odd = fc.tuple(fc.oneof(nastyText, fc.constantFrom('merId', 'limit', 'cursor', 'limit[]', 'a[b][c]')), piece(1))
  const some = fc.oneof(
    { weight: 8, arbitrary: fc.constant<never[]>([]) },
    { weight: 1, arbitrary: fc.array(odd, { maxLength: 3 }) }
  )
  return fc.tuple(some, ...known).map(parts => parts.flat())
}

const TYPES = [
  'application/json; charset=utf-8',
  'APPLICATION/JSON',
  'application/json; charset=utf-16',
  'application/json;',
  'application/json,text/html'
]
const OTHER_TYPES = [
  'text/plain',
  'application/x-www-form-urlencoded',
  'multipart/form-data; boundary=x',
  'application/octet-stream',
  'image/png',
  '',
  'x',
  `a/${'b'.repeat(300)}`
]
const type = fc.oneof(
  { weight: 12, arbitrary: fc.constant('application/json') },
  { weight: 2, arbitrary: fc.constantFrom(...TYPES, 'application/cloudevents+json', 'application/problem+json') },
  { weight: 1, arbitrary: fc.constantFrom(...OTHER_TYPES) }
)

const rent: Arbitrary<Rent | null> = fc.oneof(
  { weight: 60, arbitrary: fc.constant(null) },
  { weight: 3, arbitrary: fc.record({ cut: fc.nat({ max: 80 }) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      at: fc.nat({ max: 80 }),
      insert: fc.oneof(nastyText, fc.constantFrom('1e999', ',', '}', '[', '\\ud800', '"__proto__":1,'))
    })
  },
  { weight: 2, arbitrary: fc.record({ bytes: fc.array(fc.nat({ max: 255 }), { minLength: 1, maxLength: 8 }) }) },
  { weight: 0.05 * 20, arbitrary: fc.constantFrom({ megabytes: 0.3 }, { megabytes: 0.3 }, { megabytes: 5.5 }) }
)

function bodyOf({ body }: Operation): Arbitrary<Plan['body']> {
  const json = body
    ? fc
        .tuple(
          valid(body, OWN),
          fc.oneof(
            { weight: 3, arbitrary: fc.constant<never[]>([]) },
            { weight: 1, arbitrary: fc.array(harm, { maxLength: 3 }) }
          )
        )
        .map(([given, harms]: [Json, Harm[]]) => harms.reduce(harmed, given))
    : hostile
  const some = fc.record({ json, rent, type })
  const none = fc.constant(null)
  return body
    ? fc.oneof({ weight: 15, arbitrary: some }, { weight: 1, arbitrary: none })
    : fc.oneof({ weight: 1, arbitrary: some }, { weight: 8, arbitrary: none })
}

const HEADERS: [string, string][] = [
  ...(['accept', 'accept'] as const).map((name, i): [string, string] => [name, ['text/html', '*/*;q=0'][i] ?? '']),
  ...([
    ['accept-encoding', 'gzip, br'],
    ['if-none-match', '*'],
    ['range', 'bytes=0-1'],
    ['origin', 'https://evil.example']
  ] as [string, string][]),
  ...([
    ['x-http-method-override', 'DELETE'],
    ['x-forwarded-host', 'evil.example'],
    ['x-forwarded-for', '127.0.0.1, ::1, \'"'],
    ['x-forwarded-proto', 'javascript'],
    ['host', 'evil.example'],
    ['cookie', 'token=x']
  ] as [string, string][]),
  ...([
    ['content-encoding', 'gzip'],
    ['x-request-id', '\u00ff\u0080'],
    ['request-id', 'a'.repeat(4_000)],
    ['x-long', 'v'.repeat(9_000)]
  ] as [string, string][]),
  ...([
    ['accept-version', '2.x'],
    ['__proto__', 'x'],
    ['constructor', 'x'],
    ['prefer', 'return=minimal'],
    ['idempotency-key', 'k']
  ] as [string, string][])
]
const headers = fc.oneof(
  { weight: 6, arbitrary: fc.constant({}) },
  {
    weight: 1,
    arbitrary: fc.subarray(HEADERS, { minLength: 1, maxLength: 4 }).map(entries => Object.fromEntries(entries))
  }
)

const BAD_TOKENS = [
  '',
  'Bearer',
  'Bearer ',
  'Bearer nonsense',
  'Basic YTpi',
  'Bearer a b',
  'Bearer \u00ff',
  `Bearer ${'x'.repeat(5_000)}`,
  "Bearer ' OR 1=1",
  'bearer undefined'
]

function whoOf({ scopes }: Operation): Arbitrary<Who> {
  const roles = Object.keys(ROLES) as Role[]
  const able = roles.filter(role => scopes === null || ROLES[role].scopes.some(scope => scopes.includes(scope)))
  return fc.oneof(
    { weight: 12, arbitrary: fc.record({ role: fc.constantFrom(...able) }) },
    { weight: 2, arbitrary: fc.record({ role: fc.constantFrom(...roles) }) },
    { weight: 2, arbitrary: fc.record({ made: fc.nat({ max: 20 }) }) },
    { weight: 1, arbitrary: fc.record({ header: fc.constantFrom(...BAD_TOKENS) }) }
  )
}

const METHODS = ['HEAD', 'OPTIONS', 'POST', 'GET', 'PUT', 'PATCH', 'DELETE', 'PROPFIND', 'SEARCH', 'MKCOL']

function planOf(operation: Operation): Arbitrary<Plan> {
  const params = Object.entries(operation.params).map(([name, schema]) => {
    const fine = valid(schema, {}).map((value): Piece => ({ text: String(value) }))
    return [name, fc.oneof({ weight: 3, arbitrary: piece(10) }, { weight: 1, arbitrary: fine })] as const
  })
  const method = fc.oneof(
    { weight: 30, arbitrary: fc.constant(operation.method) },
    { weight: 1, arbitrary: fc.constantFrom(...METHODS) }
  )
  return fc.record({
    ...{
      operation: fc.constant(operation),
      method,
      who: whoOf(operation),
      params: fc.record(Object.fromEntries(params))
    },
    ...{ query: queryOf(operation), headers, body: bodyOf(operation) }
  })
}

/** Requests to all operations alike; those that differ in nothing but their first segments' names count as one. */
export function planArbitrary(operations: Operation[]): Arbitrary<Plan> {
  const groups = Object.values(Object.groupBy(operations, ({ path, name }) => /^\/(api)\//.exec(path)?.[1] ?? name))
  return fc.oneof(...groups.map(group => fc.oneof(...(group ?? []).map(planOf))))
}
