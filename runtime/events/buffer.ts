import { setTimeout as sleep } from 'node:timers/promises'
import { asRuntimeError, retryOf } from '../errors.ts'

export interface BufferNeeds<T> {
  /** Writes a batch, all or nothing. What it throws with `retry: 'free'` is an outage: the batch is tried again. */
  write: (batch: T[]) => Promise<unknown>
  /** Told of items that are lost: no room, or `write` refuses them (`error`). */
  onLost: (count: number, error: Error | null) => void
  /** Room in memory, in bytes as `push` is told them. */
  bytes: number
}

/** Keeps in memory, in order, what is to be written and whose sender is not made to wait. */
export interface Buffer<T> {
  /** False when there is no room: the item is lost, and counted. */
  push: (item: T, bytes: number) => boolean
  /** Writes what is left, for at most so long; what remains is lost, and counted. */
  stop: (graceMs: number) => Promise<void>
}

const MAX_BATCH = 500
const MAX_BATCH_BYTES = 1024 * 1024
/** Each item costs this beyond its own size. */
const OVERHEAD = 200
const OUTAGE_PAUSE_MS = 500

/** Writes one batch after the other; during an outage it waits, and fills up. */
export function createBuffer<T>({ write, onLost, bytes }: BufferNeeds<T>): Buffer<T> {
  const waiting: { item: T; size: number }[] = []
  const gone = new AbortController()
  let held = 0
  let writing: Promise<void> | null = null

  function take(): T[] {
    let size = 0
    let count = 0
    for (const entry of waiting) {
      if (count === MAX_BATCH || (count > 0 && size + entry.size > MAX_BATCH_BYTES)) break
      size += entry.size
      count++
    }
    held -= size
    return waiting.splice(0, count).map(({ item }) => item)
  }

  /** One that is refused does not take the others of its batch with it. */
  async function deliver(batch: T[]): Promise<void> {
    while (!gone.signal.aborted) {
      try {
        await write(batch)
        return
      } catch (thrown) {
        const error = asRuntimeError(thrown)
        if (retryOf(error.code) === 'free') await sleep(OUTAGE_PAUSE_MS, undefined, gone).catch(() => {})
        else if (batch.length === 1) return onLost(1, error)
        else {
          for (const item of batch) await deliver([item])
          return
        }
      }
    }
    onLost(batch.length, null)
  }

  async function drain(): Promise<void> {
    while (waiting.length > 0) await deliver(take())
    writing = null
  }

  return {
    push(item, itemBytes) {
      const size = itemBytes + OVERHEAD
      if (held + size > bytes) {
        onLost(1, null)
        return false
      }
      held += size
      waiting.push({ item, size })
      // What comes in the same moment goes in the same batch.
      writing ??= new Promise(setImmediate).then(drain)
      return true
    },
    async stop(graceMs) {
      const patience = setTimeout(() => gone.abort(), graceMs)
      await writing
      clearTimeout(patience)
    }
  }
}
