import { createAccounts, type Terms } from './accounts.ts'
import { createPlaces } from './places.ts'
import { createTurns } from './turns.ts'

/** Who may execute at this moment. */
export interface Gate {
  /** Calls `go` when the hook has paid for these characters and it is the run's turn; never once the run has left. */
  enter: (pool: string, id: string, characters: number, go: () => void) => void
  /** Calls `go` when the hook has paid for these characters, whether it is anyone's turn or not. */
  pay: (pool: string, characters: number, go: () => void) => void
  /** The hook has moved these characters already: what it does next waits for it. */
  charge: (pool: string, characters: number) => void
  /** The run executes nothing any more, or gives up waiting. */
  leave: (pool: string, id: string) => void
  /** Tells what each turn of a run that ended by itself took on average; null: it had to be ended. */
  note: (pool: string, turnMs: number | null) => void
}

/**
 * Characters that a hook may move between a process and us: calls, answers, results, logs. All of that is work for the
 * main process, which serves all others too.
 */
const TRAFFIC: Terms = { perSecond: 8_000_000, atOnce: 1_000_000 }

/** A gate before `processes` that share the work: a hook's runs go in as it has earned places, and paid for what it moves. */
export function createGate(processes: number): Gate {
  const traffic = createAccounts(TRAFFIC)
  const places = createPlaces(processes)
  const turns = createTurns(places.of)
  const paying = new Set<string>()

  function pay(pool: string, characters: number, go: () => void): void {
    const restMs = traffic(pool, characters)
    if (restMs > 0) setTimeout(go, restMs).unref()
    else go()
  }

  return {
    pay,
    charge: (pool, characters) => void traffic(pool, characters),
    // In this order: of those that owe something, one after the other pays and goes.
    enter: (pool, id, characters, go) =>
      turns.enter(pool, id, () => {
        paying.add(id)
        pay(pool, characters, () => paying.delete(id) && go())
      }),
    leave(pool, id) {
      paying.delete(id)
      turns.leave(pool, id)
    },
    note: places.note
  }
}
