import { v7 as uuid } from 'uuid'
import type { CheckResult } from '../sandbox/wire.ts'
import { readCheck } from './frames.ts'

/** How long it may take to compile a script. */
const CHECK_MS = 3_000
/** What that may take of memory. */
const CHECK_BYTES = 64 * 1024 * 1024

/** The checks that a runner has under way. */
export interface Checks {
  readonly bytes: number
  /** Never rejects. */
  start: (script: string) => Promise<CheckResult>
  /** Answers what is wrong with a result that came, or null. */
  onResult: (id: string, document: string) => string | null
  /** The process is gone: what it was compiling is to blame. */
  lose: () => void
}

export interface ChecksNeeds {
  send: (id: string, script: string) => void
  /** Told when one takes too long: nothing but the process's end stops a compiler. */
  onLate: () => void
  onEnd: () => void
}

export function createChecks({ send, onLate, onEnd }: ChecksNeeds): Checks {
  const underWay = new Map<string, (result: CheckResult) => void>()

  return {
    get bytes() {
      return underWay.size * CHECK_BYTES
    },
    start(script) {
      const id = uuid()
      return new Promise(resolve => {
        const late = setTimeout(() => {
          settle(CHECK_LATE)
          onLate()
        }, CHECK_MS)
        const settle = (result: CheckResult) => {
          clearTimeout(late)
          underWay.delete(id)
          onEnd()
          resolve(result)
        }
        underWay.set(id, settle)
        send(id, script)
      })
    },
    onResult(id, document) {
      const settle = underWay.get(id)
      const result = readCheck(document)
      if (!settle || !result) return 'the result of a check that is none'
      settle(result)
      return null
    },
    lose() {
      for (const settle of underWay.values()) settle(CHECK_LOST)
    }
  }
}

const refused = (message: string): CheckResult => ({ ok: false, message, line: 1, column: 1 })
const CHECK_LOST = refused('The compiler died of this script.')
const CHECK_LATE = refused(`The script takes longer than ${CHECK_MS} ms to compile; nest it less, or make it shorter.`)
