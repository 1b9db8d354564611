interface Waiting<T> {
  item: T
  resolve: () => void
  reject: (error: unknown) => void
}

/**
 * Group commit: items given while a write is under way go out together in the next one, so that many callers share one
 * flush of the disk. Each caller's promise settles as its batch did.
 */
export function batched<T>(write: (items: T[]) => Promise<void>, most = 200): (item: T) => Promise<void> {
  const waiting: Waiting<T>[] = []
  let writing = false

  async function drain(): Promise<void> {
    if (writing) return
    writing = true
    while (waiting.length > 0) {
      const batch = waiting.splice(0, most)
      try {
        await write(batch.map(({ item }) => item))
        for (const { resolve } of batch) resolve()
      } catch (error) {
        for (const { reject } of batch) reject(error)
      }
    }
    writing = false
  }

  return item =>
    new Promise((resolve, reject) => {
      waiting.push({ item, resolve, reject })
      setImmediate(() => void drain())
    })
}
