import { describe, expect, test } from 'vitest'
import {
  type Admission,
  admit,
  freshState,
  leave,
  type Target,
  type TargetState
} from '../../runtime/host/target-state.ts'

const ROBOT: Target = { host: 'robot', perMinute: 20, full: 'queue' }
const START = 1_700_000_000_000

/** A target's door with a clock of its own: runs come, are put off, and come back when they were told to. */
function door(target: Target) {
  let state: TargetState = freshState()
  let calls = 0
  return {
    get state() {
      return state
    },
    ask(who: string, now: number, comesBack = true): Admission & { call: string } {
      const call = `${who}/${++calls}`
      const admission = admit(target, state, { who, call, timeoutMs: 10_000, now, comesBack })
      state = admission.state
      return { ...admission, call }
    },
    end(call: string, ok: boolean, now: number) {
      state = leave(target, state, call, ok ? 'well' : 'badly', now)
    }
  }
}

/** The most calls that any sixty seconds hold. */
const busiestMinute = (times: number[]): number =>
  Math.max(...times.map(from => times.filter(time => time >= from && time < from + 60_000).length))

describe('a target with twenty calls a minute', () => {
  test('lets 200 runs that come at once through, at most twenty in any minute, each after one wait', () => {
    const robot = door(ROBOT)
    const due = Array.from({ length: 200 }, (_, i) => ({ who: `run-${i}`, at: START + i, waits: 0 }))
    const sent: number[] = []
    while (due.length > 0) {
      due.sort((a, b) => a.at - b.at)
      const next = due.shift()
      if (!next) break
      const answer = robot.ask(next.who, next.at)
      if (answer.admit === true) {
        sent.push(next.at)
        robot.end(answer.call, true, next.at)
        expect(next.waits).toBeLessThanOrEqual(1)
      } else if (answer.admit === false) due.push({ ...next, at: answer.until, waits: next.waits + 1 })
    }
    expect(sent).toHaveLength(200)
    expect(busiestMinute(sent)).toBe(20)
    expect(Math.max(...sent) - START).toBeLessThan(10 * 60_000)
  })

  test('keeps the promised place against newcomers', () => {
    const robot = door(ROBOT)
    for (let i = 0; i < 20; i++) expect(robot.ask(`run-${i}`, START).admit).toBe(true)
    const late = robot.ask('late', START + 1)
    expect(late).toMatchObject({ admit: false, until: START + 60_000 })
    for (let i = 0; i < 30; i++) robot.ask(`newcomer-${i}`, START + 2)
    expect(robot.ask('late', START + 60_000).admit).toBe(true)
    expect(robot.ask('another', START + 60_000).admit).toBe(false)
  })

  test('keeps no place for one that will not come back', () => {
    const robot = door(ROBOT)
    for (let i = 0; i < 20; i++) robot.ask(`run-${i}`, START)
    expect(robot.ask('throws', START + 1, false)).toMatchObject({ admit: false, until: START + 60_000 })
    expect(robot.state.promised).toEqual({})
  })

  test('forgets a promise that was not redeemed for ten minutes', () => {
    const robot = door(ROBOT)
    for (let i = 0; i < 20; i++) robot.ask(`run-${i}`, START)
    robot.ask('gone', START + 1)
    robot.ask('later', START + 900_000)
    expect(robot.state.promised).toEqual({})
  })
})

describe('a target with parallel calls', () => {
  const target: Target = { host: 'erp', parallel: 2, full: 'queue' }

  test('lets no more in at once, and again when one is over', () => {
    const erp = door(target)
    const [first] = [erp.ask('a', START), erp.ask('b', START)]
    expect(erp.ask('c', START)).toMatchObject({ admit: false, until: START + 1_000 })
    erp.end(first?.call ?? '', true, START + 10)
    expect(erp.ask('c', START + 20).admit).toBe(true)
  })

  test('gives the place of a call whose node died back when its time is over', () => {
    const erp = door(target)
    erp.ask('a', START)
    erp.ask('b', START)
    expect(erp.ask('c', START + 9_999).admit).toBe(false)
    expect(erp.ask('c', START + 10_001).admit).toBe(true)
  })
})

describe('a breaker', () => {
  const target: Target = { host: 'erp', full: 'queue', breaker: { failures: 3, openMs: 30_000 } }
  const broken = () => {
    const erp = door(target)
    for (let i = 0; i < 3; i++) {
      const { call } = erp.ask(`run-${i}`, START)
      erp.end(call, false, START)
    }
    return erp
  }

  test('opens after failures in a row, and a success in between starts the count anew', () => {
    const erp = door(target)
    for (const ok of [false, false, true, false, false]) erp.end(erp.ask('a', START).call, ok, START)
    expect(erp.ask('a', START).admit).toBe(true)
    expect(broken().ask('b', START + 1)).toMatchObject({ admit: false, until: START + 30_000, broken: true })
  })

  test('lets one probe through when its time is over: good news closes it, bad news opens it again', () => {
    const erp = broken()
    const probe = erp.ask('probe', START + 30_001)
    expect(probe.admit).toBe(true)
    expect(erp.ask('second', START + 30_002)).toMatchObject({ admit: false, broken: true })
    erp.end(probe.call, false, START + 30_003)
    expect(erp.ask('third', START + 30_004)).toMatchObject({ admit: false, until: START + 60_003 })
    const again = erp.ask('probe', START + 60_004)
    erp.end(again.call, true, START + 60_005)
    expect([erp.ask('x', START + 60_006).admit, erp.ask('y', START + 60_006).admit]).toEqual([true, true])
  })
})

describe('drop-oldest', () => {
  test('gives the place of the longest waiting run to the newest, and tells it when it comes', () => {
    const target: Target = { host: 'robot', perMinute: 1, full: 'drop-oldest', waiting: 2 }
    const robot = door(target)
    robot.ask('served', START)
    for (const who of ['a', 'b', 'c']) expect(robot.ask(who, START + 1).admit).toBe(false)
    expect(Object.keys(robot.state.promised)).toEqual(['b', 'c'])
    expect(robot.ask('a', START + 60_000).admit).toBe('dropped')
    expect(robot.ask('c', START + 60_000).admit).toBe(true)
  })
})
