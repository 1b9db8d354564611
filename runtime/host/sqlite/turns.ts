/** So many at a time, in the order of asking. */
export interface Turns {
  /** Resolves when it is the caller's turn, with what ends it (once; later calls do nothing). Rejects when the signal fires first. */
  take: (signal: AbortSignal) => Promise<() => void>
}

/** A queue for something that `most` may use at a time, and that nobody may wait for in vain. */
export function makeTurns(most = 1): Turns {
  const waiting: (() => void)[] = []
  let taken = 0
  const next = () => {
    const first = waiting.shift()
    if (first) first()
    else taken--
  }
  const turn = () => {
    let over = false
    return () => {
      if (over) return
      over = true
      next()
    }
  }
  return {
    take: async signal => {
      signal.throwIfAborted()
      if (taken < most) {
        taken++
        return turn()
      }
      await new Promise<void>((resolve, reject) => {
        const start = () => {
          signal.removeEventListener('abort', leave)
          resolve()
        }
        const leave = () => {
          waiting.splice(waiting.indexOf(start), 1)
          reject(signal.reason)
        }
        signal.addEventListener('abort', leave, { once: true })
        waiting.push(start)
      })
      return turn()
    }
  }
}
