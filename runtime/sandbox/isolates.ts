import ivm from 'isolated-vm'

/** A V8 isolate with the facade compiled in it. It belongs to one hook of one owner for as long as it lives. */
export interface HookIsolate {
  readonly isolate: ivm.Isolate
  readonly facade: ivm.Script
  /** Resolves, with V8's reason, when this isolate can't be stopped any more: only the process's end helps. */
  readonly broken: Promise<string>
}

/** Idle isolates kept warm in all, and what share of its memory one may still use to be kept. */
const MAX_IDLE = 64
const MAX_HEAP_SHARE = 0.5

export interface Isolates {
  /** An isolate of this pool: a warm one, or a new one (about 2 ms). */
  take: (pool: string, memoryMb: number) => Promise<HookIsolate>
  /** Gives it back after a run that ended well; it is kept, or disposed of when it grew too large. */
  keep: (pool: string, memoryMb: number, used: HookIsolate) => void
}

/**
 * Warm isolates by pool (a hook's version and its limits). Only isolates whose last run ended by itself come back, so
 * nothing runs in an idle one: scripts have no timers, and all their host calls block.
 */
export function createIsolates(facadeText: string): Isolates {
  const idle = new Map<string, HookIsolate[]>()
  let count = 0

  const create = async (memoryMb: number): Promise<HookIsolate> => {
    const { promise: broken, resolve: onCatastrophicError } = Promise.withResolvers<string>()
    const isolate = new ivm.Isolate({ memoryLimit: memoryMb, onCatastrophicError })
    return { isolate, broken, facade: await isolate.compileScript(facadeText, { filename: 'facade' }) }
  }

  const evictOldest = () => {
    const [pool, isolates] = idle.entries().next().value ?? []
    if (pool === undefined || !isolates) return
    isolates.shift()?.isolate.dispose()
    count--
    if (isolates.length === 0) idle.delete(pool)
  }

  return {
    async take(pool, memoryMb) {
      const warm = idle.get(pool)
      const found = warm?.pop()
      if (!found) return create(memoryMb)
      count--
      if (warm?.length === 0) idle.delete(pool)
      return found
    },
    keep(pool, memoryMb, used) {
      const { used_heap_size: heap, externally_allocated_size: buffers } = used.isolate.getHeapStatisticsSync()
      if (heap + buffers > memoryMb * 1024 * 1024 * MAX_HEAP_SHARE) return used.isolate.dispose()
      const isolates = idle.get(pool) ?? []
      idle.delete(pool)
      idle.set(pool, [...isolates, used])
      if (++count > MAX_IDLE) evictOldest()
    }
  }
}
