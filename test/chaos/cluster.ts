import { readFileSync } from 'node:fs'
import { type SandhookProcess, startSandhookProcess } from '../support/sandhook.ts'

/** A node that is started again whenever it has ended, as a service manager does. */
export interface Node {
  readonly name: string
  /** The process that listens; null: there is none just now. */
  readonly process: SandhookProcess | null
  /** Kills it with -9 and starts another after a rest; resolves when that listens. */
  kill: (restMs: number) => Promise<void>
  /** What all its processes have printed. */
  output: () => string
  /** Runners of former processes that are still there. */
  orphans: () => number[]
  stop: () => Promise<void>
}

const RESTART_MS = 300

/** Starts a node; resolves when it listens. */
export async function startNode(name: string, env: Record<string, string>): Promise<Node> {
  const past: string[] = []
  const bereaved: number[] = []
  let stopped = false
  let current: SandhookProcess | null = null

  async function start(): Promise<void> {
    while (!stopped)
      try {
        current = await startSandhookProcess(env)
        return
      } catch (error) {
        // Its database went away while it started.
        past.push(`(start) ${(error as Error).message}`)
        await new Promise(resolve => setTimeout(resolve, RESTART_MS))
      }
  }
  const end = async () => {
    const ending = current
    current = null
    if (!ending) return
    bereaved.push(...ending.runners())
    await ending.end('SIGKILL')
    past.push(ending.output())
  }

  await start()
  return {
    name,
    get process() {
      return current
    },
    async kill(restMs) {
      await end()
      await new Promise(resolve => setTimeout(resolve, restMs))
      await start()
    },
    orphans: () => bereaved.filter(isRunner),
    output: () => [...past, current?.output() ?? ''].join('\n--- next process ---\n'),
    async stop() {
      stopped = true
      await end()
    }
  }
}

/** Whether there is a process with this id, and it is a runner. */
function isRunner(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('sandbox/process.ts')
  } catch {
    return false
  }
}
