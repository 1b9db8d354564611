import { Ajv2020 } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeSqlite } from '../support/databases.ts'
import { type Admin, type Body, openAdmin } from './admin.ts'

let admin: Admin
let drop: () => Promise<void>
let api: Body

beforeAll(async () => {
  const database = await makeSqlite()
  drop = database.drop
  admin = await openAdmin(database.url, { check: async () => ({ ok: true, compiled: null }) })
  await admin.app.ready()
  api = (await admin.call(null, 'GET', '/openapi.json')).body
})
afterAll(async () => {
  await admin.close()
  await drop()
})

/** Every object in a document. */
function* nodes(value: unknown): Generator<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) return
  if (!Array.isArray(value)) yield value as Record<string, unknown>
  for (const member of Object.values(value)) yield* nodes(member)
}

const operations = () =>
  Object.entries(api.paths as Record<string, Record<string, Body>>).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation }))
  )

describe('the document', () => {
  test('is OpenAPI 3.1 with title, version, tags and the bearer scheme', () => {
    expect(api.openapi).toBe('3.1.0')
    expect(api.info).toMatchObject({ title: 'Sandhook', version: expect.stringMatching(/^\d+\.\d+\.\d+/) })
    expect(api.components.securitySchemes.bearer).toMatchObject({ type: 'http', scheme: 'bearer' })
    const known = new Set(api.tags.map((tag: { name: string }) => tag.name))
    for (const { operation, path } of operations().filter(({ path }) => !path.startsWith('/test')))
      for (const tag of operation.tags ?? []) expect([path, known.has(tag)]).toEqual([path, true])
  })

  test('has every address of the contract', () => {
    const paths = operations().map(({ method, path }) => `${method} ${path}`)
    const contract = [
      ...['get /healthz', 'get /readyz', 'get /metrics', 'get /openapi.json'],
      ...['get', 'post'].map(method => `${method} /admin/v1/hooks`),
      ...['get', 'patch', 'delete'].map(method => `${method} /admin/v1/hooks/{id}`),
      ...['get /admin/v1/hooks/{id}/versions', 'get /admin/v1/hooks/{id}/versions/{n}'],
      ...['post /admin/v1/hooks/{id}/versions/{n}/publish', 'get /admin/v1/events', 'get /admin/v1/events/{id}'],
      ...['get /admin/v1/executions', 'get /admin/v1/executions/{id}', 'post /admin/v1/executions/replay'],
      ...['post /admin/v1/executions/{id}/replay', 'post /admin/v1/executions/{id}/discard'],
      ...['get /admin/v1/env', 'put /admin/v1/env/{key}', 'delete /admin/v1/env/{key}'],
      ...['get /admin/v1/tokens', 'post /admin/v1/tokens', 'delete /admin/v1/tokens/{id}'],
      ...['get /admin/v1/audit', 'get /admin/v1/stats', 'get /admin/v1/catalog'],
      ...['get /admin/v1/monitor/missing', 'get /admin/v1/monitor/missing/{id}'],
      ...['post /admin/v1/monitor/missing/{id}/inject', 'get /admin/v1/monitor/missing-events'],
      'post /admin/v1/monitor/missing-events/raise',
      ...['get /admin/v1/messages/dead', 'post /admin/v1/messages/dead/refeed']
    ]
    expect(paths.filter(path => !path.includes(' /test/')).sort()).toEqual(contract.sort())
  })

  test('all references lead somewhere, and every variable of a path is described', () => {
    for (const { $ref } of nodes(api)) {
      if (typeof $ref !== 'string') continue
      const found = $ref
        .slice(2)
        .split('/')
        .reduce((at: Body, name) => at?.[name], api)
      expect([$ref, typeof found]).toEqual([$ref, 'object'])
    }
    for (const { path, operation } of operations()) {
      const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name)
      const described = (operation.parameters ?? []).filter((p: Body) => p.in === 'path').map((p: Body) => p.name)
      expect([path, described.sort()]).toEqual([path, named.sort()])
    }
  })

  test('each operation has a summary, answers with descriptions, and says what lets one in', () => {
    for (const { path, operation } of operations().filter(({ path }) => !path.startsWith('/test'))) {
      expect([path, typeof operation.summary]).toEqual([path, 'string'])
      for (const answer of Object.values(operation.responses as Record<string, Body>))
        expect([path, typeof answer.description]).toEqual([path, 'string'])
      if (!path.startsWith('/admin/')) continue
      expect(operation.security).toContainEqual({ bearer: ['admin'] })
      expect(operation.responses['4XX'].content['application/problem+json'].schema.$ref).toContain('Problem')
    }
  })

  test('its schemas are valid JSON Schema 2020-12', () => {
    const ajv = new Ajv2020({ strict: false })
    addFormats.default(ajv)
    for (const [name, schema] of Object.entries(api.components.schemas as Record<string, object>)) {
      expect([name, ajv.validateSchema(schema)]).toEqual([name, true])
      // OpenAPI 3.0 had these; 3.1 has not.
      for (const node of nodes(schema)) expect(node).not.toHaveProperty('nullable')
    }
  })
})

test('the page to read it is whole without the internet', async () => {
  const page = await admin.call(null, 'GET', '/docs/')
  expect(page.status).toBe(200)
  expect(page.text).toContain('<title>Sandhook API</title>')
  expect(page.text).not.toMatch(/(src|href)="(https?:)?\/\//)
  const files = [...page.text.matchAll(/(?:src|href)="\.?([^"]+)"/g)].map(([, file]) => file ?? '')
  expect(files.length).toBeGreaterThan(4)
  for (const file of files) expect([file, (await admin.call(null, 'GET', `/docs${file}`)).status]).toEqual([file, 200])
  expect((await admin.call(null, 'GET', '/docs')).status).toBe(200)
  expect((await admin.call(null, 'GET', '/docs/json')).body).toEqual(api)
})
