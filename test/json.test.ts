import { expect, test } from 'vitest'
import { isDeeper } from '../runtime/json.ts'

test.each([
  ['1', 0],
  ['[]', 1],
  ['[[],{},[]]', 2],
  ['{"a":{"b":[1]}}', 3],
  ['"[[[["', 0],
  ['["\\\\",[]]', 2],
  ['["\\"[[[["]', 1],
  ['{"[{\\"[{":{}}', 2],
  ['[[[', 3]
])('%s is %i levels deep', (json, levels) => {
  expect(isDeeper(json, levels)).toBe(false)
  if (levels > 0) expect(isDeeper(json, levels - 1)).toBe(true)
})
