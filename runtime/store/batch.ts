import { isOutage } from './database.ts'

interface Waiting<T> {
  item: T
  resolve: () => void
  reject: (error: unknown) => void
}

type Write<T> = (items: T[]) => Promise<void>

/** In one transaction: enough to share a flush of the disk among many callers. */
const MOST = 200
/** Characters of an item that goes alone, beside the others: none of them is to wait for it. */
const LONG = 20_000

/**
 * Group commit: items given while a write is under way go out together in the next one, so that many callers share one
 * flush of the disk. Each caller's promise settles as its batch did; when a batch fails though the database is there,
 * each of its items is written alone, so that one that can't be written fails nobody else. `lengthOf` answers how many
 * characters an item holds: long ones are written one after the other, in a line of their own. Two writes may be under
 * way at once, and items need not be written in the order of asking.
 */
export function batched<T>(write: Write<T>, lengthOf: (item: T) => number): (item: T) => Promise<void> {
  const short = openLine(write, MOST)
  const long = openLine(write, 1)
  return item => (lengthOf(item) > LONG ? long : short)(item)
}

function openLine<T>(write: Write<T>, most: number): (item: T) => Promise<void> {
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
    while (waiting.length > 0) await writeAll(waiting.splice(0, most))
    writing = false
  }

  return item =>
    new Promise((resolve, reject) => {
      waiting.push({ item, resolve, reject })
      setImmediate(() => void drain())
    })
}
