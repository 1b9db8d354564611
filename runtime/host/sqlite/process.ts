/**
 * A process that executes statements on a SQLite file: arguments are the file and `read` or `write`. It ends with the
 * process that has started it, and when a statement takes too much memory, in the middle of it.
 */
import { Worker } from 'node:worker_threads'
import type { RuntimeError } from '../../errors.ts'
import { openEngine, type Request } from './engine.ts'
import type { Reply } from './session.ts'

const [file = '', access = 'read'] = process.argv.slice(2)

/** What this process may hold, in bytes: many times the largest result. */
const MOST_BYTES = 512 * 1024 * 1024
/** Nothing else can run in this thread while SQLite is at a statement. */
const WATCH = `setInterval(() => {
  if (process.ppid !== ${process.ppid} || process.memoryUsage.rss() > ${MOST_BYTES}) process.kill(process.pid, 'SIGKILL')
}, 50)`
new Worker(WATCH, { eval: true, resourceLimits: { maxOldGenerationSizeMb: 8 } }).unref()

// Whoever stops the product tells the whole group; what still runs needs its database.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => {})
process.on('disconnect', () => process.exit())

let execute: ReturnType<typeof openEngine> | null = null

process.on('message', ({ id, request }: { id: number; request: Request }) => {
  const reply = (): Reply => {
    try {
      execute ??= openEngine(file, access as 'read' | 'write')
      return { id, answer: execute(request) }
    } catch (error) {
      const { code, message, data } = error as RuntimeError
      return { id, error: { code, message, data } }
    }
  }
  process.send?.(reply())
})
