/** Holds back hooks whose runs meet a host that takes no calls. */
export interface Pace {
  /** A run was put off because of an open breaker. */
  putOff: (hookId: string) => void
  /** Whether one more run of the hook may start now. */
  allows: (hookId: string) => boolean
  started: (hookId: string) => void
  /** Hooks that are held back at present. */
  readonly held: string[]
}

/** Runs that a hook may start in a second while others of it are being put off. */
const STARTS_PER_SECOND = 20
const SECOND_MS = 1_000
/** For so long after a run was put off its hook is held back. */
const MEMORY_MS = 2_000

/**
 * While a host is down, each run that needs it is started, refused and put off. A backlog of a hundred thousand must
 * not make the node do nothing else, and runs of the same hook that do not need the host must go on: so the hook is
 * not stopped, but starts only so many runs a second.
 */
export function createPace(now: () => number = Date.now): Pace {
  const hooks = new Map<string, { lastPutOff: number; second: number; starts: number }>()

  function startsIn(hookId: string): number {
    const known = hooks.get(hookId)
    if (!known) return 0
    if (now() - known.lastPutOff > MEMORY_MS) hooks.delete(hookId)
    return now() - known.second < SECOND_MS ? known.starts : 0
  }

  return {
    putOff(hookId) {
      const known = hooks.get(hookId) ?? { second: now(), starts: 0 }
      hooks.set(hookId, { ...known, lastPutOff: now() })
    },
    allows: hookId => startsIn(hookId) < STARTS_PER_SECOND,
    started(hookId) {
      const starts = startsIn(hookId)
      const known = hooks.get(hookId)
      if (known) hooks.set(hookId, { ...known, second: starts === 0 ? now() : known.second, starts: starts + 1 })
    },
    get held() {
      return [...hooks.keys()].filter(hookId => startsIn(hookId) >= STARTS_PER_SECOND)
    }
  }
}
