import { isOutage } from './database.ts'

interface Waiting<T> {
  item: T
  characters: number
  resolve: () => void
  reject: (error: unknown) => void
}

/** In one transaction: enough to share a flush of the disk, and not so much that the next ones wait long for it. */
const MOST_ITEMS = 200
const MOST_CHARACTERS = 1_000_000

/**
 * Group commit: items given while a write is under way go out together in the next one, so that many callers share one
 * flush of the disk. Each caller's promise settles as its batch did; when a batch fails though the database is there,
 * each of its items is written alone, so that one that can't be written fails nobody else. `lengthOf` answers how many
 * characters an item holds: long ones go with few others.
 */
export function batched<T>(
  write: (items: T[]) => Promise<void>,
  lengthOf: (item: T) => number
): (item: T) => Promise<void> {
  const waiting: Waiting<T>[] = []
  let writing = false

  async function writeAll(batch: Waiting<T>[]): Promise<void> {
    try {
      await write(batch.map(({ item }) => item))
      for (const { resolve } of batch) resolve()
    } catch (error) {
      if (batch.length === 1 || isOutage(error)) for (const { reject } of batch) reject(error)
      else for (const one of batch) await writeAll([one])
    }
  }

  async function drain(): Promise<void> {
    if (writing) return
    writing = true
    while (waiting.length > 0) await writeAll(takeBatch(waiting))
    writing = false
  }

  return item =>
    new Promise((resolve, reject) => {
      waiting.push({ item, characters: lengthOf(item), resolve, reject })
      setImmediate(() => void drain())
    })
}

function takeBatch<T>(waiting: Waiting<T>[]): Waiting<T>[] {
  let count = 0
  for (let characters = 0; count < Math.min(waiting.length, MOST_ITEMS); count++) {
    characters += waiting[count]?.characters ?? 0
    if (count > 0 && characters > MOST_CHARACTERS) break
  }
  return waiting.splice(0, count)
}
