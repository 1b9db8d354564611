import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { createAccounts } from '../../runtime/runner/accounts.ts'
import { createGate } from '../../runtime/runner/gate.ts'
import { createPlaces } from '../../runtime/runner/places.ts'

describe('what a hook uses up', () => {
  test('is free up to a burst, then waits until the long run has caught up', () => {
    let now = 0
    const traffic = createAccounts({ perSecond: 8_000_000, atOnce: 1_000_000 }, () => now)
    expect(traffic('a', 1_000_000)).toBe(0)
    expect(traffic('a', 4_000_000)).toBe(500)
    expect(traffic('b', 1_000)).toBe(0)
    now = 500
    expect(traffic('a', 0)).toBe(0)
    expect(traffic('a', 8_000)).toBe(1)
    now = 60_000
    expect(traffic('a', 1_000_000)).toBe(0)
  })
})

describe('places of a hook', () => {
  test('are earned by runs of short turns, one by one and not without end', () => {
    const places = createPlaces(2)
    expect(places.of('a')).toBe(1)
    places.note('a', 1)
    expect(places.of('a')).toBe(2)
    for (let i = 0; i < 100; i++) places.note('a', 1)
    expect([places.of('a'), places.of('b')]).toEqual([32, 1])
  })

  test('are not lost by one long turn among short ones, and earned again after several', () => {
    const places = createPlaces(2)
    for (let i = 0; i < 100; i++) places.note('a', i % 10 === 0 ? 12 : 1)
    expect(places.of('a')).toBe(32)
    for (let i = 0; i < 10; i++) places.note('a', 6)
    expect(places.of('a')).toBe(2)
    for (let i = 0; i < 10; i++) places.note('a', 1)
    expect(places.of('a')).toBeGreaterThan(2)
  })

  test.each([
    ['long turns', 60, 4],
    ['a turn that is a burden', 101, 1],
    ['one that had to be ended', null, 1]
  ])('are lost by %s', (_what, turnMs, left) => {
    const places = createPlaces(4)
    for (let i = 0; i < 10; i++) places.note('a', 1)
    places.note('a', turnMs)
    expect(places.of('a')).toBe(left)
  })
})

test('what a hook owes is paid by one run after the other, each in its turn', () => {
  vi.useFakeTimers()
  onTestFinished(() => void vi.useRealTimers())
  const gate = createGate(2)
  const gone: string[] = []
  gate.charge('a', 2_000_000)
  for (const id of ['1', '2', '3']) gate.enter('a', id, 0, () => gone.push(id))
  vi.advanceTimersByTime(124)
  expect(gone).toEqual([])
  vi.advanceTimersByTime(1)
  expect(gone).toEqual(['1'])
  gate.charge('a', 800_000)
  gate.leave('a', '1')
  vi.advanceTimersByTime(99)
  expect(gone).toEqual(['1'])
  gate.leave('a', '2')
  vi.advanceTimersByTime(1)
  expect(gone).toEqual(['1', '3'])
})
