import { asRuntimeError } from '../errors.ts'
import type { Journal, ScriptAnswer } from '../host/http.ts'
import type { Execution } from '../model.ts'
import type { Queue } from '../store/queue.ts'

/** The journal of this attempt: only a repeated run can find anything in it. `fence` throws when the run is no longer ours. */
export async function openJournal(
  store: Pick<Queue, 'journal' | 'journaled'>,
  execution: Execution,
  fence: () => void
) {
  const attempt = execution.attempts + 1
  const entries = execution.runs > 1 ? await store.journaled(execution.id, attempt) : []
  const known = new Map(entries.map(entry => [`${entry.callNo} ${entry.fingerprint}`, entry.answer as ScriptAnswer]))
  let late: Promise<void> = Promise.resolve()
  return {
    find: (callNo: number, fingerprint: string) => known.get(`${callNo} ${fingerprint}`) ?? null,
    async keep(callNo: number, fingerprint: string, answer: ScriptAnswer) {
      const write = async () => {
        fence()
        await store.journal(execution.id, attempt, { callNo, fingerprint, answer })
      }
      await write().catch(error => {
        late = insist(write)
        throw error
      })
    },
    /** Resolves when an answer that could not be kept at first is kept, or never will be. */
    idle: () => late
  } satisfies Journal & { idle: () => Promise<void> }
}

const INSIST_MS = 10_000
const INSIST_PAUSE_MS = 300

/** The run has failed, but what a partner has answered is to outlast a short outage of the database. */
async function insist(write: () => Promise<void>): Promise<void> {
  for (const until = Date.now() + INSIST_MS; Date.now() < until; )
    try {
      return await write()
    } catch (error) {
      if (asRuntimeError(error).code !== 'STORE_UNAVAILABLE') return
      await new Promise(resolve => setTimeout(resolve, INSIST_PAUSE_MS))
    }
}
