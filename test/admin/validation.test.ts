import { Ajv } from 'ajv'
import { pino } from 'pino'
import { Type } from 'typebox'
import { describe, expect, test } from 'vitest'
import { allowedMethods } from '../../runtime/admin/methods.ts'
import { createServer } from '../../runtime/admin/server.ts'
import { wrongFields } from '../../runtime/admin/validation.ts'
import { readConfig } from '../../runtime/config.ts'

const { callers } = readConfig({}).limits

const Plain = Type.Object(
  { eventKey: Type.String(), payload: Type.Any(), merId: Type.Optional(Type.Union([Type.Integer(), Type.String()])) },
  { additionalProperties: false }
)
const Cloud = Type.Object({
  specversion: Type.Literal('1.0'),
  id: Type.String(),
  source: Type.String(),
  type: Type.String()
})
const One = Type.Union([Plain, Cloud])
const Body = Type.Union([One, Type.Array(One, { minItems: 1, maxItems: 3 })])
const validate = new Ajv({ allErrors: true }).compile(Body)

const wrong = (value: unknown) => {
  expect(validate(value)).toBe(false)
  return wrongFields(validate.errors ?? []).map(({ path, message }) => `${path} ${message}`)
}

describe('of alternatives, the one that fails least is explained', () => {
  test.each([
    ['a plain event', { eventKey: 5, payload: 1 }, ['/eventKey must be string']],
    ['a CloudEvent', { specversion: '1.0', id: 1, source: 'a', type: 'b' }, ['/id must be string']],
    ['one of an array', [{ eventKey: 'A', payload: 1 }, { eventKey: 'B' }], ['/1/payload is missing']],
    ['a union within', { eventKey: 'A', payload: 1, merId: true }, ['/merId must be integer or string']],
    ['too many', Array(4).fill({ eventKey: 'A', payload: 1 }), ['/ must NOT have more than 3 items']],
    ['none of them', 7, [' must be object or array']]
  ])('%s', (_what, value, expected) => {
    expect(wrong(value).map(text => text.replace(/^ must NOT/, '/ must NOT'))).toEqual(expected)
  })

  test('names are escaped as JSON pointers, and the list is bounded', () => {
    expect(wrong({ eventKey: 'A', payload: 1, 'a/b~c': 1 })).toEqual(['/a~1b~0c is no known field'])
    const many = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`x${i}`, 1]))
    expect(wrong({ eventKey: 'A', payload: 1, ...many }).length).toBeLessThanOrEqual(50)
  })

  test('a body of millions of errors is refused as fast as one of few', async () => {
    const app = await createServer({ logger: pino({ level: 'silent' }), callers, trustProxy: null })
    app.post('/', { schema: { body: Body }, config: { invalid: 'EVENT_INVALID' } }, async () => 'never')
    const post = (payload: string) =>
      app.inject({ method: 'POST', url: '/', headers: { 'content-type': 'application/json' }, payload })
    await app.ready()
    const began = performance.now()
    for (const element of ['1', '{}', '[]', '{"eventKey":1}']) {
      const answer = await post(`[${Array(Math.floor(4_000_000 / (element.length + 1))).fill(element)}]`)
      expect([answer.statusCode, answer.json().code]).toEqual([422, 'EVENT_INVALID'])
      expect(answer.json().errors.length).toBeGreaterThan(0)
    }
    expect(performance.now() - began).toBeLessThan(60_000)
    const small = (await post('[{"eventKey":"A","payload":1},{"eventKey":1},{}]')).json()
    expect(small.errors.map(({ path }: { path: string }) => path)).toEqual([
      '/1/payload',
      '/1/eventKey',
      '/2/eventKey',
      '/2/payload'
    ])
    await app.close()
  })
})

test('the methods of an address are those of all routes that fit it', () => {
  const routes = [
    { url: '/a/:id', methods: ['GET'] },
    { url: '/a/:id', methods: ['PUT', 'GET'] },
    { url: '/b/*', methods: ['POST'] }
  ]
  expect(allowedMethods(routes, '/a/7')).toEqual(['GET', 'PUT'])
  expect(allowedMethods(routes, '/b/c/d')).toEqual(['POST'])
  for (const path of ['/a', '/a/', '/a/7/x', '/c']) expect(allowedMethods(routes, path)).toEqual([])
})
