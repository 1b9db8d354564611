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
    const places = createPlaces()
    const first = places.of('a')
    places.note('a', 1)
    expect(places.of('a')).toBe(first + 1)
    for (let i = 0; i < 100; i++) places.note('a', 1)
    const most = places.of('a')
    places.note('a', 1)
    expect([places.of('a'), most > first + 1]).toEqual([most, true])
    expect(places.of('b')).toBe(first)
  })

  test.each([
    ['a long run', 51],
    ['one that had to be ended', null]
  ])('are lost by %s', (_what, executedMs) => {
    const places = createPlaces()
    const first = places.of('a')
    for (let i = 0; i < 5; i++) places.note('a', 1)
    places.note('a', executedMs)
    expect(places.of('a')).toBe(first)
  })
})
