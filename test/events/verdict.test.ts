import { describe, expect, test } from 'vitest'
import { excerptOf, RuntimeError } from '../../runtime/errors.ts'
import { verdictOf } from '../../runtime/events/verdict.ts'
import type { Json, Limits } from '../../runtime/model.ts'
import type { RunOutcome } from '../../runtime/runner/run.ts'

const LIMITS: Limits = {
  ...{ wallMs: 30_000, cpuMs: 1_000, memoryMb: 32, dbCalls: 1, dbRows: 1, dbBytes: 1, httpCalls: 1, httpSentBytes: 1 },
  ...{ httpReceivedBytes: 1, logLines: 1, logBytes: 1, resultBytes: 256, concurrency: 1 }
}
const SCRIPT = 'const a = 1\n\n  throw new Error("no")\nreturn a'

const verdict = (end: RunOutcome['end'], doom: RuntimeError | null = null, script = SCRIPT) =>
  verdictOf({ end, cpuMs: 0, logsCut: 0, wedged: false }, doom, script, LIMITS)

const returned = (value: Json | undefined) => verdict({ end: 'returned', value })

describe('what a script returns', () => {
  test.each([
    ['an object', { orderNo: '1' }],
    ['success', { success: true, message: 'fine' }],
    ['a text', 'false'],
    ['false itself', false],
    ['null', null],
    ['zero', 0],
    ['a list', [{ success: false }]],
    ['success as a text', { success: 'false' }],
    ['success as null', { success: null }],
    ['success as zero', { success: 0 }],
    ['a failure further in', { data: { success: false } }]
  ])('is its result: %s', (_, value) => {
    expect(returned(value)).toEqual({ ok: true, result: value, keepWrites: 'marked' })
  })

  test('is null when it returns nothing', () => {
    expect(returned(undefined)).toMatchObject({ ok: true, result: null })
  })

  test.each([
    ['plain', { success: false }, 'HOOK_FAILED', 'The script reported a failure.', undefined],
    ['with its reason', { success: false, message: 'ERP 拒绝' }, 'HOOK_FAILED', 'ERP 拒绝', undefined],
    [
      'with an empty reason',
      { success: false, message: '' },
      'HOOK_FAILED',
      'The script reported a failure.',
      undefined
    ],
    [
      'with a reason that is no text',
      { success: false, message: { a: 1 } },
      'HOOK_FAILED',
      'The script reported a failure.',
      undefined
    ],
    ['with a wish', { success: false, retryAfterMs: 5_000 }, 'HOOK_FAILED', 'The script reported a failure.', 5_000],
    [
      'with a wish that is no number',
      { success: false, retryAfterMs: '5' },
      'HOOK_FAILED',
      'The script reported a failure.',
      undefined
    ],
    ['for good', { success: false, retry: false, message: 'gone' }, 'HOOK_REJECTED', 'gone', undefined],
    [
      'with retry asked for',
      { success: false, retry: true },
      'HOOK_FAILED',
      'The script reported a failure.',
      undefined
    ],
    [
      'with a retry that is not quite false',
      { success: false, retry: 0 },
      'HOOK_FAILED',
      'The script reported a failure.',
      undefined
    ]
  ])('is a failure that keeps its writes and its result: %s', (_, value, code, message, retryAfterMs) => {
    expect(returned(value)).toMatchObject({
      ...{ ok: false, result: value, keepWrites: 'unmarked', error: { code, message, retryAfterMs } }
    })
  })

  test('goes to the HTTP caller with its response, also when it is a failure', () => {
    const response = { status: 418, headers: {}, body: 'teapot' }
    expect(verdict({ end: 'returned', value: 1, response })).toMatchObject({ ok: true, response })
    expect(verdict({ end: 'returned', value: { success: false }, response })).toMatchObject({ ok: false, response })
  })
})

describe('exit', () => {
  test.each([0, 200, 399])('with %i is a result', code => {
    const said = { code, message: 'm', data: [1] }
    expect(verdict({ end: 'exited', ...said })).toEqual({ ok: true, result: said, keepWrites: 'marked' })
  })

  test.each([400, 404, 500, 999_999])('with %i is a failure that takes its writes back', code => {
    expect(verdict({ end: 'exited', code, message: 'no such order', data: undefined })).toMatchObject({
      ...{ ok: false, keepWrites: 'no', result: { code, message: 'no such order', data: null } },
      error: { code: 'HOOK_EXITED', message: `exit(${code}): no such order`, data: { exitCode: code } }
    })
  })
})

describe('an error that a script throws', () => {
  const stack = (...frames: string[]) => ['Error: no', ...frames.map(frame => `    at ${frame}`)].join('\n')
  const threw = (fields: { name?: string; message?: string; code?: string; stack?: string }, script = SCRIPT) => {
    const given = verdict(
      { end: 'threw', error: { name: 'Error', message: 'no', code: '', stack: '', ...fields } },
      null,
      script
    )
    if (given.ok) throw new Error('an error is no success')
    return given
  }

  test('is a failure with its name that takes its writes back', () => {
    expect(threw({ name: 'TypeError', message: 'x is undefined' })).toMatchObject({
      ...{ ok: false, keepWrites: 'no', result: null },
      error: { code: 'HOOK_THREW', message: 'TypeError: x is undefined', position: undefined }
    })
  })

  test.each(['DB_ERROR', 'DB_DENIED', 'HTTP_TIMEOUT', 'LIBRARY_MISSING', 'ARGUMENT_INVALID'])(
    'names %s of a host call',
    code => {
      expect(threw({ code }).error.message).toBe(`Error: no (${code})`)
    }
  )

  test.each(['INTERNAL', 'ENOENT', 'XDB_ERROR', 'DB_ERROR\nDB', 'HTTP_', ''])(
    'does not repeat %j, which is no code of a host call',
    code => {
      expect(threw({ code }).error.message).toBe('Error: no')
    }
  )

  test("points at the script's own line and column", () => {
    const { position } = threw({ stack: stack('hook:script:5:9') }).error
    expect(position).toEqual({ line: 3, column: 9, excerpt: '  throw new Error("no")\n        ^' })
  })

  test('points at the topmost frame of the script, below libraries and the facade', () => {
    const frames = [
      'select (hook:facade:90:3)',
      'send (hook:/lib/erp:12:5)',
      'main (hook:script:3:7)',
      'hook:script:6:1'
    ]
    const { error, stack: shown } = threw({ stack: stack(...frames) })
    expect(error.position).toMatchObject({ line: 1, column: 7, excerpt: 'const a = 1\n      ^' })
    expect(shown?.split('\n').slice(1)).toEqual([
      '    at send (/lib/erp:10:5)',
      '    at main (script:1:7)',
      '    at script:4:1'
    ])
  })

  test.each([
    ['before the script', 'hook:script:2:1'],
    ['behind its end', 'hook:script:70:1'],
    ['elsewhere', 'hook:facade:5:1']
  ])('points nowhere when its place is %s', (_, frame) => {
    expect(threw({ stack: stack(frame) }).error.position).toBeUndefined()
  })

  test('shows a long stack by its top', () => {
    const { stack: shown } = threw({ stack: stack(...Array.from({ length: 50 }, (_, i) => `hook:script:${i + 3}:1`)) })
    expect(shown?.split('\n')).toHaveLength(12)
  })
})

test.each([
  ['at the start', 'return x', 1, 'return x\n^'],
  ['in the middle', 'return x', 8, 'return x\n       ^'],
  ['beyond the end', 'x', 9, 'x\n        ^'],
  ['in an empty line', '', 1, '\n^']
])('an excerpt has its caret under the column %s', (_, text, column, expected) => {
  expect(excerptOf(text, column)).toBe(expected)
})

test('an excerpt of a very long line is cut around the column', () => {
  const text = `${'a'.repeat(5_000)}HERE${'b'.repeat(5_000)}`
  const [line = '', caret = ''] = excerptOf(text, 5_001).split('\n')
  expect(line).toHaveLength(120)
  expect(line.slice(caret.indexOf('^'))).toMatch(/^HEREb/)
})

describe('a limit', () => {
  test.each([
    ['timeout', 'HOOK_TIMEOUT', '30000 ms'],
    ['cpu', 'HOOK_CPU_LIMIT', '1000 ms'],
    ['memory', 'HOOK_MEMORY_LIMIT', '32 MB'],
    ['pending', 'HOOK_TIMEOUT', 'promise'],
    ['stopped', 'SHUTTING_DOWN', 'broken off']
  ] as const)('%s ends as %s and takes its writes back', (end, code, said) => {
    const message = expect.stringContaining(said)
    expect(verdict({ end })).toMatchObject({ ok: false, keepWrites: 'no', result: null, error: { code, message } })
  })

  test('of a result tells its size and the limit', () => {
    const error = { code: 'HOOK_RESULT_LIMIT', message: expect.stringMatching(/1000.*256/) }
    expect(verdict({ end: 'oversized', bytes: 1000 })).toMatchObject({ ok: false, keepWrites: 'no', error })
  })

  test.each([true, false])('is not what a lost runner is (suspect: %j)', suspect => {
    expect(verdict({ end: 'lost', suspect })).toMatchObject({
      ok: false,
      keepWrites: 'no',
      error: { code: 'RUNNER_LOST' }
    })
  })
})

test('a text that does not compile is named', () => {
  const end = { end: 'syntax', message: 'Unexpected token', line: 1, column: 2 } as const
  expect(verdict(end)).toMatchObject({
    ok: false,
    error: { code: 'HOOK_SYNTAX', message: expect.stringContaining('Unexpected token') }
  })
})

test.each([
  { end: 'returned', value: { success: true } },
  { end: 'threw', error: { name: 'E', message: 'm', code: '', stack: '' } },
  { end: 'timeout' }
] as RunOutcome['end'][])('what doomed a run is its verdict, whatever the script made of it: $end', end => {
  const doom = new RuntimeError('HOOK_DB_LIMIT', 'too many')
  expect(verdict(end, doom)).toMatchObject({ ok: false, error: doom, result: null, keepWrites: 'no' })
})
