import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { eventually, type SandhookProcess, startSandhookProcess } from './support/sandhook.ts'

let folder: string
let sandhook: SandhookProcess

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sandhook-libraries-'))
  sandhook = await startSandhookProcess({ DATABASE_URL: `sqlite:${join(folder, 'sandhook.db')}`, SANDHOOK_DEMO: 'off' })
})
afterAll(async () => {
  await sandhook.end('SIGTERM')
  rmSync(folder, { recursive: true, force: true })
})

const create = async (hook: object): Promise<string> => {
  const { status, body } = await sandhook.call('POST', '/admin/v1/hooks', hook)
  expect([status, body.code]).toEqual([201, undefined])
  return body.id
}
const change = async (id: string, script: string) =>
  expect((await sandhook.call('PATCH', `/admin/v1/hooks/${id}`, { script })).status).toBe(200)

/** Sends an event and gives what its one execution returned, or its failure. */
async function outcome(eventKey: string, merId?: number) {
  const sent = await sandhook.call('POST', '/events', {
    eventKey,
    payload: '1',
    ...(merId === undefined ? {} : { merId })
  })
  const [id] = sent.body.events[0].executions
  return eventually(async () => {
    const { body } = await sandhook.call('GET', `/admin/v1/executions/${id}`)
    return (
      ['succeeded', 'retrying', 'dead'].includes(body.status) && { result: body.result, error: body.error?.message }
    )
  })
}

test('a changed library takes effect at once for all hooks that use it, and rolls back as they do', async () => {
  const library = await create({ path: '/lib/rate', script: 'exports.rate = 1' })
  for (const name of ['A', 'B'])
    await create({ path: `/custom/${name}`, events: [`LIB_${name}`], script: "return require('/lib/rate').rate" })
  expect([(await outcome('LIB_A')).result, (await outcome('LIB_B')).result]).toEqual([1, 1])
  await change(library, 'exports.rate = 2')
  expect([(await outcome('LIB_A')).result, (await outcome('LIB_B')).result]).toEqual([2, 2])
  await sandhook.call('POST', `/admin/v1/hooks/${library}/versions/1/publish`)
  expect((await outcome('LIB_A')).result).toBe(1)
})

test('a merchant’s library comes before the platform’s, and no other merchant sees it', async () => {
  await create({ path: '/lib/tax', script: "exports.of = 'platform'" })
  await create({ path: '/lib/tax', merId: 7, script: "exports.of = 'merchant 7'" })
  await create({ path: '/lib/secret', merId: 7, script: 'exports.x = 1' })
  const script = "return require('/lib/tax').of"
  await create({ path: '/custom/tax', merId: 7, events: ['TAX'], script })
  await create({ path: '/custom/tax', merId: 8, events: ['TAX'], script })
  await create({ path: '/custom/peek', merId: 8, events: ['PEEK'], script: "return require('/lib/secret')" })
  expect((await outcome('TAX', 7)).result).toBe('merchant 7')
  expect((await outcome('TAX', 8)).result).toBe('platform')
  expect((await outcome('PEEK', 8)).error).toContain('LIBRARY_MISSING')
})

test('a library that does not compile is refused, and one that throws fails its hook with the reason', async () => {
  expect((await sandhook.call('POST', '/admin/v1/hooks', { path: '/lib/bad', script: 'exports. = 1' })).body.code).toBe(
    'HOOK_SYNTAX'
  )
  await create({ path: '/lib/throws', script: "throw new Error('not today')" })
  await create({ path: '/custom/throws', events: ['THROWS'], script: "require('/lib/throws')" })
  expect((await outcome('THROWS')).error).toContain('not today')
})
