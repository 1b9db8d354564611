import { createPlaces } from './places.ts'
import type { Traffic } from './traffic.ts'
import { createTurns } from './turns.ts'

/** Who may execute in a process at this moment. */
export interface Gate {
  /** Calls `go` when the hook has paid for these characters and it is the run's turn; never once the run has left. */
  enter: (pool: string, id: string, characters: number, go: () => void) => void
  /** Calls `go` when the hook has paid for these characters, whether it is anyone's turn or not. */
  pay: (pool: string, characters: number, go: () => void) => void
  /** The run executes nothing any more, or gives up waiting. */
  leave: (pool: string, id: string) => void
  /** Tells of a run that has ended by itself, or, with null, that it had to be ended. */
  note: (pool: string, executedMs: number | null) => void
}

/** A gate that lets a hook's runs in as it has earned places, and pays for what it moves. */
export function createGate(traffic: Traffic): Gate {
  const places = createPlaces()
  const turns = createTurns(places.of)
  const paying = new Set<string>()

  function pay(pool: string, characters: number, go: () => void): void {
    const restMs = traffic(pool, characters)
    if (restMs > 0) setTimeout(go, restMs).unref()
    else go()
  }

  return {
    pay,
    enter(pool, id, characters, go) {
      paying.add(id)
      pay(pool, characters, () => paying.delete(id) && turns.enter(pool, id, go))
    },
    leave(pool, id) {
      paying.delete(id)
      turns.leave(pool, id)
    },
    note: places.note
  }
}
