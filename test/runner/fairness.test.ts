import { describe, expect, test } from 'vitest'
import { createPlaces } from '../../runtime/runner/places.ts'
import { createTraffic } from '../../runtime/runner/traffic.ts'

describe('what a hook moves', () => {
  test('is free up to a burst, then waits until the long run has caught up', () => {
    let now = 0
    const traffic = createTraffic(() => now)
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
  test('are earned by short runs, one by one and not without end', () => {
    const places = createPlaces(2)
    expect(places.of('a')).toBe(1)
    places.note('a', 1)
    expect(places.of('a')).toBe(2)
    for (let i = 0; i < 100; i++) places.note('a', 1)
    expect([places.of('a'), places.of('b')]).toEqual([32, 1])
  })

  test.each([
    ['a longer run', 60, 4],
    ['a run that is a burden', 101, 1],
    ['one that had to be ended', null, 1]
  ])('are lost by %s', (_what, executedMs, left) => {
    const places = createPlaces(4)
    for (let i = 0; i < 10; i++) places.note('a', 1)
    places.note('a', executedMs)
    expect(places.of('a')).toBe(left)
  })
})
