import type { Limits, LogLine } from '../model.ts'
import type { RunEnd, RunInput } from '../sandbox/wire.ts'

/** A script to be run once, in an isolate of `pool`: the same hook, owner and version. */
export interface RunRequest {
  pool: string
  name: string
  script: string
  input: RunInput
  limits: Limits
}

/** What the main process does for a run. `call` answers HostAnswer as JSON and never rejects. */
export interface RunHost {
  call: (method: string, args: string) => Promise<string>
  log: (line: LogLine) => void
}

/**
 * How a run ended. `timeout`: its wall clock was spent. `lost`: its runner died; `suspect` says that this run may have
 * killed it. `wedged`: this run, and no other, has cost its runner.
 */
export interface RunOutcome {
  end: RunEnd | { end: 'timeout' } | { end: 'lost'; suspect: boolean }
  cpuMs: number
  logsCut: number
  wedged: boolean
}
