import { stopped } from '../result.ts'
import type { Answer } from '../shop.ts'
import type { Request } from './engine.ts'
import { type Session, startSession } from './session.ts'
import { makeTurns } from './turns.ts'

/** Connections that read: one more than a hook with slow statements can keep busy. */
const READERS = 2

export interface Readers {
  /** Executes a request as `Session.ask` does, after those of the same hook. */
  ask: (request: Request, options: ReadOptions) => Promise<Answer>
  close: () => Promise<void>
}

export interface ReadOptions {
  signal: AbortSignal
  limitMs: number
  hook?: string | undefined
}

/** Sessions that read, started when they are needed. */
export function openReaders(file: string): Readers {
  const places = makeTurns(READERS)
  const idle: Session[] = []
  const all = new Set<Session>()

  function start(): void {
    const session = startSession(file, 'read')
    all.add(session)
    idle.push(session)
  }

  /** There always is one: as many sessions are idle as places are free. */
  function take(): Session {
    // All at once, when they are first needed: the second one is wanted when the first one is slow.
    while (all.size < READERS) start()
    const session = idle.shift() as Session
    if (session.alive) return session
    all.delete(session)
    return take()
  }

  return {
    async ask(request, options) {
      const done = await places.take(options.signal, options.hook).catch(() => {
        throw stopped(options.signal)
      })
      const session = take()
      try {
        return await session.ask(request, options)
      } finally {
        // What was broken off may go on for a moment.
        void session.idle().then(() => {
          idle.push(session)
          done()
        })
      }
    },
    async close() {
      await Promise.all([...all].map(session => session.end()))
    }
  }
}
