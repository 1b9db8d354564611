/** So many at a time, in the order of asking. */
export interface Turns {
  /**
   * Resolves when it is the caller's turn, with what ends it (once; later calls do nothing). Of those with the same
   * name one at a time gets that far, so that many of them leave room for others. Rejects when the signal fires first.
   */
  take: (signal: AbortSignal, name?: string) => Promise<() => void>
}

/** A queue for something that `most` may use at a time, and that nobody may wait for in vain. */
export function makeTurns(most = 1): Turns {
  const everybody = makeLine(most)
  const lines = new Map<string, { line: Line; users: number }>()

  /** The line of a name, for as long as anybody is in it. */
  async function takeOwn(name: string, signal: AbortSignal): Promise<() => void> {
    const own = lines.get(name) ?? { line: makeLine(1), users: 0 }
    lines.set(name, own)
    own.users++
    const leave = () => {
      if (--own.users === 0) lines.delete(name)
    }
    try {
      const done = await own.line(signal)
      return () => {
        leave()
        done()
      }
    } catch (error) {
      leave()
      throw error
    }
  }

  return {
    async take(signal, name) {
      const ends = [name === undefined ? () => {} : await takeOwn(name, signal)]
      const end = () => {
        for (const each of ends.splice(0).reverse()) each()
      }
      try {
        ends.push(await everybody(signal))
        return end
      } catch (error) {
        end()
        throw error
      }
    }
  }
}

type Line = (signal: AbortSignal) => Promise<() => void>

function makeLine(most: number): Line {
  const waiting: (() => void)[] = []
  let taken = 0
  const next = () => {
    const first = waiting.shift()
    if (first) first()
    else taken--
  }
  return async signal => {
    signal.throwIfAborted()
    if (taken < most) {
      taken++
      return next
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
    return next
  }
}
