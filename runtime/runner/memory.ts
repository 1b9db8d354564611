import type { ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'

const PERIOD_MS = 20
/** Linux reports pages of 4 KB on every platform that V8's prebuilt binaries run on. */
const PAGE_BYTES = 4096

export interface MemoryWatch {
  start: () => void
  stop: () => void
}

/**
 * Looks every 20 ms, while started, at how much memory a process holds (its resident set, which counts what V8's own
 * limit does not: buffers, Intl, strings of the parser). Calls `onExceeded` when it is more than `budget()` bytes.
 * Where there is no /proc (macOS) it sees nothing, and V8's limit is the only one.
 */
export function watchMemory(child: ChildProcess, budget: () => number, onExceeded: () => void): MemoryWatch {
  let timer: NodeJS.Timeout | null = null
  const stop = () => {
    if (timer) clearInterval(timer)
    timer = null
  }
  const look = () => {
    if (residentBytes(child.pid) > budget()) onExceeded()
  }
  return {
    start() {
      timer ??= setInterval(look, PERIOD_MS).unref()
    },
    stop
  }
}

/** A process's resident set in bytes; 0 when it cannot be read. */
export function residentBytes(pid: number | undefined): number {
  try {
    const [, resident] = readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')
    return Number(resident) * PAGE_BYTES
  } catch {
    return 0
  }
}
