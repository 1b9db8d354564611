import type { ChildProcess } from 'node:child_process'
import { getPriority, setPriority } from 'node:os'

/** What every process of ours is told of the environment: a time zone, which dates are in, and nothing that is secret. */
export const timeZone = (): { TZ?: string } => (process.env.TZ === undefined ? {} : { TZ: process.env.TZ })

/**
 * Has a process stand so far (a nice value) behind this one, which serves everybody. To be called before it has threads,
 * which take it over.
 */
export function standBack({ pid }: ChildProcess, niceness: number): void {
  try {
    if (pid !== undefined) setPriority(pid, Math.min(19, getPriority() + niceness))
  } catch {
    // It is gone already, or this system has no such thing.
  }
}
