import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { engines } from '../support/databases.ts'
import { eventually } from '../support/sandhook.ts'
import { judge } from './judge.ts'
import { planArbitrary } from './plans.ts'
import { runs } from './runs.ts'
import { openWorld, type World } from './world.ts'

/** Requests of one case, sent at once; what goes wrong is shrunk to fewer of them. */
const TOGETHER = 12

describe.each(engines)('every route of the document on $name', entry => {
  describe.skipIf(entry.missing)('', () => {
    let world: World
    /** How often each operation was answered with which class of status. */
    const seen = new Map<string, number>()

    beforeAll(async () => {
      world = await openWorld(entry)
    })
    afterAll(() => world?.close())
    const knowledge = () => ({ operations: world.operations, secrets: world.memory.secrets })

    test(
      'answers any requests as it says it does, in time, and tells nobody what is not theirs',
      async () => {
        const plans = fc.array(planArbitrary(world.operations), { minLength: 1, maxLength: TOGETHER, size: 'max' })
        const property = fc.asyncProperty(plans, async together => {
          for (const [i, { answer }] of (await world.play(together)).entries()) {
            const key = `${together[i]?.operation.name} ${Math.floor(answer.status / 100)}xx`
            seen.set(key, (seen.get(key) ?? 0) + 1)
          }
        })
        const numRuns = Math.ceil(runs.requests / (TOGETHER / 2))
        const limits = { interruptAfterTimeLimit: runs.timeoutMs * 0.8, markInterruptAsFailure: true }
        await fc.assert(property, { seed: runs.seed, numRuns, ...limits })
      },
      runs.timeoutMs
    )

    test('was let do what it asked often enough, and refused often enough, to have proved something', () => {
      const total = (status: string) =>
        [...seen].filter(([key]) => key.endsWith(status)).reduce((sum, [, count]) => sum + count, 0)
      expect(total('')).toBeGreaterThan(runs.requests / 2)
      expect(total('2xx') / total('')).toBeGreaterThan(0.2)
      expect(total('4xx') / total('')).toBeGreaterThan(0.2)
      const tried = new Set([...seen.keys()].map(key => key.replace(/ \dxx$/, '')))
      const single = world.operations.filter(({ path }) => !path.startsWith('/api/'))
      expect(single.filter(({ name }) => !tried.has(name)).map(({ name }) => name)).toEqual([])
    })

    test.each([1_000, 6_000, 12_000, 100_000])(
      'takes or refuses JSON of %i levels, wherever a body goes',
      async levels => {
        const { secret, token } = world.memory.planted('admin')
        const headers = { authorization: `Bearer ${secret}`, 'content-type': 'application/json' }
        const deep = `${'{"a":['.repeat(levels / 2)}1${']}'.repeat(levels / 2)}`
        const taking = world.operations.filter(({ body, scripted, method }) => body || (scripted && method !== 'GET'))
        expect(taking.length).toBeGreaterThan(20)
        for (const { method, path, body, scripted } of taking) {
          const names = Object.keys(body?.properties ?? body?.anyOf?.[0]?.anyOf?.[0]?.properties ?? { body: {} })
          const whole = scripted ? deep : `{${names.map(name => `"${name}":${deep}`).join()}}`
          const address = path.replace('{*}', 'open/7').replace(/\{\w+\}/, 'NO_KEY')
          const sent = { method, path: address, headers, body: whole }
          const at = Date.now()
          const answer = await world.send(sent)
          judge({ sent, token, clean: true, at, answeredAt: Date.now(), answer }, knowledge())
        }
      }
    )

    test('is ready afterwards, and has nothing to complain of in its log', async () => {
      await eventually(async () => (await world.sandhook.call('GET', '/readyz')).status === 200)
      expect(world.sandhook.output()).not.toMatch(/A request failed|uncaught|unhandled/i)
    })
  })
})
