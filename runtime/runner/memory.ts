import { readFileSync } from 'node:fs'
import { totalmem } from 'node:os'

const PERIOD_MS = 20
/** Linux reports pages of 4 KB on every platform that V8's prebuilt binaries run on. */
const PAGE_BYTES = 4096
/** However many runs there are, one process never takes more of the machine than this. */
const MOST_BYTES = totalmem() / 2

export interface MemoryWatch {
  start: () => void
  stop: () => void
}

export interface MemoryNeeds {
  pid: number | undefined
  /** What the process may hold beyond its runs' own limits: V8's code and garbage, warm isolates. In bytes. */
  headroom: number
  /** The limits of the runs in flight, in bytes. */
  granted: () => number
  onExceeded: () => void
}

/**
 * Looks every 20 ms, while started, at how much memory a process holds (its resident set, which counts what V8's own
 * limit does not: buffers, Intl, strings of the parser), and calls `onExceeded` when that is more than what the process
 * held before its runs, headroom, and the limits of the runs in flight allow. Where there is no /proc (macOS) it sees
 * nothing, and V8's limit is the only one.
 */
export function watchMemory({ pid, headroom, granted, onExceeded }: MemoryNeeds): MemoryWatch {
  const floor = createWindow(Math.min)
  const ceiling = createWindow(Math.max)
  let timer: NodeJS.Timeout | null = null

  const look = () => {
    const now = performance.now()
    const resident = residentBytes(pid)
    // A process gives little back to the system: what a burst of runs took, it holds for long after them.
    const budget = floor(now, resident) + ceiling(now, granted()) + headroom
    if (resident > Math.min(budget, MOST_BYTES)) onExceeded()
  }
  return {
    start() {
      if (timer) return
      look()
      timer = setInterval(look, PERIOD_MS).unref()
    },
    stop() {
      if (timer) clearInterval(timer)
      timer = null
    }
  }
}

const BUCKET_MS = 5_000
/** Longer than a run lasts, so that one cannot raise its own floor. */
const BUCKETS = 24

/** The least or most of what was noted in the last two minutes. */
function createWindow(pick: (...values: number[]) => number): (now: number, value: number) => number {
  const buckets = new Map<number, number>()
  return (now, value) => {
    const bucket = Math.floor(now / BUCKET_MS)
    buckets.set(bucket, pick(buckets.get(bucket) ?? value, value))
    for (const old of buckets.keys()) if (old <= bucket - BUCKETS) buckets.delete(old)
    return pick(...buckets.values())
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
