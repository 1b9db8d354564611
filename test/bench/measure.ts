import { fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { SandhookProcess } from '../support/sandhook.ts'

export const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 5)
export const file = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
export const say = (text: string): void => void process.stdout.write(`${text}\n`)

export const median = (values: number[]): number =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN

/** The median, and in brackets the least and the most. */
export const span = (values: number[], digits = 2): string =>
  `${median(values).toFixed(digits)} (${Math.min(...values).toFixed(digits)}–${Math.max(...values).toFixed(digits)})`

/** How many executions have succeeded so far. */
export async function succeeded(sandhook: SandhookProcess): Promise<number> {
  return (await sandhook.call('GET', '/admin/v1/stats')).body.executions.succeeded ?? 0
}

/** Resident memory of the main process and its runners, in megabytes. */
export function memoryOf(sandhook: SandhookProcess): number {
  const resident = (pid: number) => Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]) * 4096
  return Math.round([sandhook.pid, ...sandhook.runners()].reduce((sum, pid) => sum + resident(pid), 0) / 1048576)
}

/** Runs `work` and answers the most memory that was seen meanwhile, in megabytes. */
export async function watchingMemory(sandhook: SandhookProcess, work: () => Promise<void>): Promise<number> {
  let most = 0
  const watch = setInterval(() => {
    most = Math.max(most, memoryOf(sandhook))
  }, 50)
  try {
    await work()
    return most
  } finally {
    clearInterval(watch)
  }
}

/** An ERP that answers after so long, in a process of its own. */
export async function startErp(delayMs: number): Promise<{ url: string; stop: () => void }> {
  const child = fork(file('erp.ts'), [String(delayMs)])
  const [address] = (await once(child, 'message')) as [{ port: number }]
  return { url: `http://127.0.0.1:${address.port}`, stop: () => void child.kill() }
}

export async function makeHook(sandhook: SandhookProcess, path: string, event: string, script: string): Promise<void> {
  const { status, body } = await sandhook.call('POST', '/admin/v1/hooks', { path, events: [event], script })
  if (status !== 201) throw new Error(`The hook ${path} was refused: ${JSON.stringify(body)}`)
}
