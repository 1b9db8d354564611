import { describe, expect, test } from 'vitest'
import { canonicalJson, fingerprintOf, parseExactly } from '../../runtime/events/canonical-json.ts'
import { readMessage } from '../../runtime/events/message-body.ts'

const canonical = (text: string) => canonicalJson(parseExactly(text))

describe('a body’s one spelling', () => {
  test.each([
    ['{"b":1,"a":{"d":2,"c":[3,{"f":4,"e":5}]}}', '{ "a": {"c":[3,{"e":5,"f":4}], "d":2}, "b":1 }'],
    ['[1, 2]', '[1,2]'],
    ['{"2":1,"1":2}', '{"1":2,"2":1}'],
    ['{"a":"\\u4e2d"}', '{"a":"中"}']
  ])('%s is %s', (one, other) => {
    expect(canonical(one)).toBe(canonical(other))
  })
  test.each([
    ['[1,2]', '[2,1]'],
    ['{"a":1}', '{"a":"1"}'],
    ['{"a":1}', '{"a":1,"b":null}'],
    ['{"id":12345678901234567890}', '{"id":12345678901234567891}'],
    ['{"__proto__":1}', '{}']
  ])('%s is not %s', (one, other) => {
    expect(canonical(one)).not.toBe(canonical(other))
  })
  test('numbers that a double can’t hold stay exact, others stay numbers', () => {
    expect(parseExactly('[9007199254740993, -9007199254740993, 9007199254740991, 1.5, 1e3]')).toEqual([
      ...['9007199254740993', '-9007199254740993'],
      ...[9007199254740991, 1.5, 1000]
    ])
  })
})

test('a report of a text and the message itself have one fingerprint, another topic has another', () => {
  const sent = '{"uid":1111,"order_code":111111,"status":901}'
  const reported = { status: 901, uid: 1111, order_code: 111111 }
  expect(fingerprintOf('order.erpstatus', readMessage(sent))).toBe(fingerprintOf('order.erpstatus', reported))
  expect(fingerprintOf('order.erpstatus', readMessage(`${sent} // sent by hand`))).toBe(
    fingerprintOf('order.erpstatus', reported)
  )
  expect(fingerprintOf('order.payment', reported)).not.toBe(fingerprintOf('order.erpstatus', reported))
})

test.each([
  ['arrays', '[', ']'],
  ['objects', '{"a":', '}']
])('a text of nested %s either can be told by its fingerprint, or is refused as too deep', (_what, open, close) => {
  const nested = (levels: number) => `${open.repeat(levels)}1${close.repeat(levels)}`
  expect(fingerprintOf('t', parseExactly(nested(1_000)))).toMatch(/^[0-9a-f]{64}$/)
  for (const levels of [1_001, 2_300, 2_600, 10_000, 100_000])
    expect(() => parseExactly(nested(levels))).toThrow('it is nested more than 1000 levels deep')
})
