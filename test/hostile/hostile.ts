import { afterAll, beforeAll, expect } from 'vitest'
import type { RunOutcome } from '../../runtime/runner/run.ts'
import { engines } from '../support/databases.ts'
import {
  type HookRun,
  type HookRunResult,
  openTestShop,
  type Partner,
  runHook,
  startPartner,
  type TestShop
} from '../support/run-hook.ts'
import type { Case } from './cases/case.ts'

/** Limits that hostile scripts reach soon. */
export const TIGHT = { cpuMs: 150, wallMs: 10_000 }

/**
 * Runs a script as the dispatcher does: what a runner's death has taken along runs again, alone when it is a suspect.
 * What then costs its runner again is to blame for that.
 */
export async function untilItEnds(run: (alone: boolean) => Promise<RunOutcome>): Promise<RunOutcome> {
  for (let alone = false; ; ) {
    const outcome = await run(alone)
    if (outcome.end.end !== 'lost' || outcome.wedged) return outcome
    alone ||= outcome.end.suspect
  }
}

/** Libraries that hostile scripts require. */
const LIBRARIES = {
  '/lib/probe': "exports.x = 'lib'",
  '/lib/look':
    'module.exports = [typeof process, typeof module.require, [exports, module, require].every(x => (x.constructor.prototype === Object.prototype || x.constructor.prototype === Function.prototype))]'
}

export interface HostileShop {
  readonly shop: TestShop
  readonly partner: Partner
  /** Runs a script with `event` in place of `payload.event`, and `__SRV__` as the partner's address. */
  run: (script: string, more?: Partial<HookRun>) => Promise<HookRunResult>
}

/** A shop with a partner, for the tests of one file. */
export function hostileShop(): HostileShop {
  let shop: TestShop
  let partner: Partner
  beforeAll(async () => {
    const [sqlite] = engines
    if (sqlite) shop = await openTestShop(sqlite)
    partner = await startPartner(({ path, body, headers }) => ({
      status: path.startsWith('/fail') ? 500 : 200,
      body: path.startsWith('/echo') ? { path, body, 'x-a': headers['x-a'] ?? null } : { ok: true, path }
    }))
  })
  afterAll(async () => {
    await shop.close()
    await partner.close()
  })
  return {
    get shop() {
      return shop
    },
    get partner() {
      return partner
    },
    run: (script, more = {}) =>
      runHook({
        ...{ shop, libraries: LIBRARIES },
        ...more,
        script: `const event = payload.event;\n${script.replaceAll('__SRV__', partner.url)}`
      })
  }
}

/** Runs a case and compares what comes of it. */
export async function expectCase({ run }: HostileShop, { script, gives, oneOf, fails }: Case): Promise<void> {
  const { result, error } = await run(script, fails ? { hook: { limits: TIGHT } } : {})
  if (!fails) {
    expect(error).toBeNull()
    if (oneOf) expect(oneOf).toContainEqual(result)
    else expect(result).toEqual(gives)
    return
  }
  expect(error).not.toBeNull()
  expect(error?.code).toMatch(fails.code ?? 'HOOK_THREW')
  expect(error?.message).toMatch(fails.message ?? '')
}
