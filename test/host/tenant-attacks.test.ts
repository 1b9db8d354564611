import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { engines } from '../support/databases.ts'
import type { TestShop } from '../support/run-hook.ts'
import { type Attack, NESTED, PARAMS, SINGLE } from './tenant-attacks.ts'
import { access, MINE, openWorlds, tryOut } from './tenant-world.ts'

/**
 * Two shops that differ in what other merchants' rows say. Whatever merchant 7 asks, it must see the same in both: no
 * value, no count, no error, and so no answer to a clever question either, can come from those rows.
 */
describe.each(engines)('merchant 7 on $name', ({ missing, ...entry }) => {
  describe.skipIf(missing)('learns and changes nothing of others', () => {
    let worlds: TestShop[] = []

    beforeAll(async () => {
      worlds = await openWorlds({ missing, ...entry })
    })
    afterAll(async () => {
      for (const world of worlds) await world.close()
    })

    /** What tells the two worlds apart, or changes one. */
    const leaks = async (owner: number | null, attacks: Attack[]) => {
      const found: unknown[] = []
      const read = access(owner)
      const before = await Promise.all(worlds.map(async world => (await tryOut(world, read, [])).found))
      for (const statement of attacks) {
        const after = await Promise.all(worlds.map(world => tryOut(world, read, [statement])))
        const [here, there] = after.map(({ seen }) => JSON.stringify(seen))
        const told = here !== there || /canary|99001[78]/.test(here ?? '')
        const changed = after.some((one, index) => one.found !== before[index])
        if (told || changed) found.push({ statement, here, there, changed })
      }
      return found
    }

    test.each([
      ['a query for one value wherever it can stand', NESTED],
      ['a statement of its own', SINGLE],
      ['parameters', PARAMS]
    ])('by %s', async (_, attacks) => {
      expect(attacks.length).toBeGreaterThan(20)
      expect(await leaks(MINE, attacks)).toEqual([])
    })

    test('though many of the same statements would, were they the platform’s', async () => {
      const sample = [...NESTED, ...SINGLE, ...PARAMS].filter((_, index) => index % 12 === 0)
      expect((await leaks(null, sample)).length).toBeGreaterThan(sample.length / 3)
    })
  })
})
