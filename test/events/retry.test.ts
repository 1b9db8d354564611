import { describe, expect, test } from 'vitest'
import { errorTable, retryOf } from '../../runtime/errors.ts'
import { type FailedRun, nextStep } from '../../runtime/events/retry.ts'

const POLICY = { attempts: 4, delaysMs: [1_000, 10_000] }
const MIDDLE = () => 0.5
const failed = (fields: Partial<FailedRun> = {}): FailedRun => ({
  ...{ code: 'HOOK_THREW', attempts: 1, runs: 1, crashes: 0 },
  ...fields
})

describe('a failed attempt', () => {
  test.each([
    [1, 1_000],
    [2, 10_000],
    [3, 10_000]
  ])('number %i is repeated after its delay, the last one standing for all further', (attempts, delayMs) => {
    expect(nextStep(failed({ attempts }), POLICY, MIDDLE)).toEqual({ step: 'retry', delayMs })
  })

  test.each([4, 5])('number %i, when all are used up, is buried with its own reason', attempts => {
    expect(nextStep(failed({ attempts, code: 'HOOK_TIMEOUT' }), POLICY)).toEqual({
      step: 'bury',
      because: 'HOOK_TIMEOUT'
    })
  })

  test('is buried at once where one attempt is all there is', () => {
    expect(nextStep(failed(), { attempts: 1, delaysMs: [5] })).toMatchObject({ step: 'bury' })
  })

  test('is repeated at once where the policy has no delays', () => {
    expect(nextStep(failed(), { attempts: 2, delaysMs: [] })).toEqual({ step: 'retry', delayMs: 0 })
  })

  test.each([
    [0, 800],
    [0.25, 900],
    [0.75, 1_100],
    [1 - Number.EPSILON, 1_200]
  ])('rests a fifth less or more: with chance %f for %i ms', (chance, delayMs) => {
    expect(nextStep(failed(), POLICY, () => chance)).toEqual({ step: 'retry', delayMs })
  })

  test('spreads over the whole of that by default', () => {
    const delays = Array.from({ length: 500 }, () => nextStep(failed(), POLICY) as { delayMs: number })
    const all = delays.map(({ delayMs }) => delayMs)
    expect(Math.min(...all)).toBeGreaterThanOrEqual(800)
    expect(Math.max(...all)).toBeLessThanOrEqual(1_200)
    expect(Math.max(...all) - Math.min(...all)).toBeGreaterThan(200)
  })

  test.each([
    ['a longer rest is granted', 60_000, 60_000],
    ['a shorter one is not', 10, 1_000],
    ['none is taken as such', 0, 1_000],
    ['a negative one is none', -5, 1_000],
    ['more than a day is a day', 1e12, 86_400_000]
  ])('whose script wishes: %s', (_, retryAfterMs, delayMs) => {
    expect(nextStep(failed({ retryAfterMs }), POLICY, MIDDLE)).toEqual({ step: 'retry', delayMs })
  })

  test('gets no further attempt by wishing for one', () => {
    expect(nextStep(failed({ attempts: 4, retryAfterMs: 5 }), POLICY)).toMatchObject({ step: 'bury' })
  })
})

describe("a run that the runtime's own fault ended", () => {
  test('costs no attempt, however many there were', () => {
    expect(nextStep(failed({ code: 'RUNNER_LOST', attempts: 99 }), POLICY, MIDDLE)).toEqual({
      step: 'again',
      delayMs: 50
    })
  })

  test.each([
    [1, 50],
    [2, 100],
    [6, 1_600],
    [11, 30_000],
    [10_000, 30_000]
  ])('comes again the later the more runs there were: after %i in %i ms', (runs, delayMs) => {
    expect(nextStep(failed({ code: 'DB_UNAVAILABLE', runs }), POLICY, MIDDLE)).toEqual({ step: 'again', delayMs })
  })
})

describe('an execution that costs runners', () => {
  test.each([1, 2])('goes on with %i against it', crashes => {
    expect(nextStep(failed({ code: 'RUNNER_LOST', crashes }), POLICY)).toMatchObject({ step: 'again' })
  })

  test.each(['RUNNER_LOST', 'HOOK_TIMEOUT', 'HOOK_THREW'] as const)(
    'is poison with three, whatever the last was: %s',
    code => {
      expect(nextStep(failed({ code, crashes: 3 }), POLICY)).toEqual({ step: 'bury', because: 'HOOK_KILLED_RUNNER' })
    }
  )
})

test.each(errorTable().map(({ code }) => code))('%s leads to the step of its row in the table of errors', code => {
  const steps = { no: 'bury', yes: 'retry', free: 'again' } as const
  expect(nextStep(failed({ code }), POLICY).step).toBe(steps[retryOf(code)])
})
