import { describe, expect, test } from 'vitest'
import { RuntimeError } from '../../runtime/errors.ts'
import type { AttemptReport } from '../../runtime/events/run-record.ts'
import { buryOrphan, settlementOf } from '../../runtime/events/settle.ts'
import type { Attempt, Execution } from '../../runtime/model.ts'
import type { Claim } from '../../runtime/store/queue.ts'
import { jobOf } from '../store/fixtures.ts'

const NOW = 1_000_000
const POLICY = { attempts: 3, delaysMs: [1_000] }

function claimOf(fields: Partial<Execution> = {}): Claim {
  const { event, execution, lane } = jobOf({ key: '1' })
  const running = { status: 'running' as const, runs: 1, nextAttemptAt: null, startedAt: NOW - 500 }
  return { event: { ...event, receivedAt: 0 }, execution: { ...execution, ...running, ...fields }, lane }
}

function reportOf(error: RuntimeError | null, fields: Partial<AttemptReport> = {}): AttemptReport {
  const attempt: Attempt = {
    ...{ attempt: 1, run: 1, version: 3, startedAt: NOW - 20, durationMs: 20, cpuMs: 1, result: 'masked ***' },
    ...{ error: error && { code: error.code, message: error.message, line: 3 }, logs: [], logsCut: 0, calls: [] }
  }
  return { attempt, error, result: 'unmasked', response: undefined, blame: 'none', ...fields }
}

const settled = (claim: Claim, report: AttemptReport) => settlementOf(claim, report, POLICY, NOW)
const failure = (code: RuntimeError['code'], retryAfterMs?: number) =>
  new RuntimeError(code, `because of ${code}`, retryAfterMs === undefined ? {} : { retryAfterMs })

describe('a run that went well', () => {
  test('finishes the execution with what it gave, secrets masked', () => {
    const claim = claimOf({ attempts: 1, error: { code: 'HOOK_THREW', message: 'before' } })
    const report = reportOf(null)
    expect(settled(claim, report)).toEqual({
      claim,
      attempt: report.attempt,
      execution: {
        ...claim.execution,
        ...{ status: 'succeeded', attempts: 2, result: 'masked ***', error: null },
        ...{ nextAttemptAt: null, finishedAt: NOW, durationMs: 500 }
      }
    })
  })

  test('finishes it also when earlier ones had cost runners', () => {
    expect(settled(claimOf({ crashes: 2 }), reportOf(null)).execution).toMatchObject({ status: 'succeeded' })
  })
})

describe('a run that failed', () => {
  test('uses up its attempt and waits for the next', () => {
    const { execution } = settled(claimOf(), reportOf(failure('HOOK_THREW')))
    expect(execution).toMatchObject({ status: 'retrying', attempts: 1, runs: 1, crashes: 0, finishedAt: null })
    expect(execution.error).toEqual({ code: 'HOOK_THREW', message: 'because of HOOK_THREW', line: 3 })
    expect(execution.nextAttemptAt).toBeGreaterThanOrEqual(NOW + 800)
    expect(execution.nextAttemptAt).toBeLessThanOrEqual(NOW + 1_200)
  })

  test('keeps what it returned', () => {
    expect(settled(claimOf(), reportOf(failure('HOOK_FAILED'))).execution.result).toBe('masked ***')
  })

  test('waits as long as the script wished', () => {
    const { execution } = settled(claimOf(), reportOf(failure('HOOK_FAILED', 60_000)))
    expect(execution.nextAttemptAt).toBe(NOW + 60_000)
  })

  test('is a dead letter after the last attempt', () => {
    const { execution } = settled(claimOf({ attempts: 2, runs: 5 }), reportOf(failure('HOOK_TIMEOUT')))
    expect(execution).toMatchObject({
      status: 'dead',
      attempts: 3,
      nextAttemptAt: null,
      finishedAt: NOW,
      durationMs: 500
    })
    expect(execution.error).toMatchObject({ code: 'HOOK_TIMEOUT', message: 'because of HOOK_TIMEOUT' })
  })

  test.each(['HOOK_REJECTED', 'HOOK_SYNTAX'] as const)('is a dead letter at once with %s', code => {
    expect(settled(claimOf(), reportOf(failure(code))).execution).toMatchObject({ status: 'dead', attempts: 1 })
  })
})

describe("a run that the runtime's own fault ended", () => {
  test.each([
    [0, 'queued'],
    [2, 'retrying']
  ])('leaves %i attempts as they are, and the execution %s', (attempts, status) => {
    const { execution, attempt } = settled(claimOf({ attempts }), reportOf(failure('DB_UNAVAILABLE')))
    expect(execution).toMatchObject({ status, attempts, finishedAt: null, durationMs: null })
    expect(execution.nextAttemptAt).toBeGreaterThan(NOW)
    expect(attempt, 'but the run is remembered').not.toBeNull()
  })
})

describe('a lost runner', () => {
  const lost = (blame: AttemptReport['blame']) => reportOf(failure('RUNNER_LOST'), { blame })

  test.each([
    ['none', 0, 0],
    ['none', 2, 2],
    ['suspected', 0, 1],
    ['suspected', 1, 1],
    ['suspected', 2, 2],
    ['proven', 0, 2],
    ['proven', 1, 2]
  ] as const)('with blame %s turns %i against the execution into %i', (blame, before, after) => {
    const { execution } = settled(claimOf({ crashes: before }), lost(blame))
    expect(execution).toMatchObject({ status: 'queued', attempts: 0, crashes: after })
  })

  test('that this execution has cost for the second time makes it a dead letter that says so', () => {
    const { execution } = settled(claimOf({ crashes: 2 }), lost('proven'))
    expect(execution).toMatchObject({ status: 'dead', crashes: 3, attempts: 1, finishedAt: NOW })
    expect(execution.error).toMatchObject({ code: 'HOOK_KILLED_RUNNER' })
    expect(execution.error?.message).toMatch(/twice.*because of RUNNER_LOST/)
  })

  test('that had to be killed for a limit counts although the attempt is used up', () => {
    const report = reportOf(failure('HOOK_TIMEOUT'), { blame: 'proven' })
    const { execution } = settled(claimOf(), report)
    expect(execution).toMatchObject({ status: 'retrying', attempts: 1, crashes: 2 })
    expect(settled(claimOf(execution), report).execution.error).toMatchObject({ code: 'HOOK_KILLED_RUNNER', line: 3 })
  })
})

test('an execution whose hook is gone is a dead letter that names the hook, with no run', () => {
  const claim = claimOf({ hookPath: '/custom/gone' })
  const { attempt, execution } = buryOrphan(claim, NOW)
  expect(attempt).toBeNull()
  expect(execution).toMatchObject({ status: 'dead', attempts: 0, nextAttemptAt: null, finishedAt: NOW })
  expect(execution.error).toMatchObject({ code: 'HOOK_GONE', message: expect.stringContaining('/custom/gone') })
})
