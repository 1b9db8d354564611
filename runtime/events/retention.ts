import type { Logger } from 'pino'

const PERIOD_MS = 3_600_000
const DAY_MS = 86_400_000
const PAUSE_MS = 50

export interface RetentionNeeds {
  days: number
  /** Each deletes one small batch of what is older than a time, and answers how many rows that were; in this order. */
  purges: ((time: number) => Promise<number>)[]
  logger: Logger
}

/** Deletes what is older than the retention, every hour, in small batches with rests, so that nobody waits for it. */
export function startRetention({ days, purges, logger }: RetentionNeeds): { stop: () => void } {
  let stopped = false
  async function purge(): Promise<void> {
    const time = Date.now() - days * DAY_MS
    let deleted = 0
    for (const purgeBatch of purges)
      for (let count = 1; count > 0 && !stopped; deleted += count) {
        count = await purgeBatch(time)
        if (count > 0) await new Promise(resolve => setTimeout(resolve, PAUSE_MS))
      }
    if (deleted > 0) logger.info({ deleted, days }, 'Deleted history older than the retention')
  }
  const run = () => void purge().catch(error => logger.error({ err: error }, 'Deleting old history failed'))
  const timer = setInterval(run, PERIOD_MS)
  run()
  return {
    stop() {
      stopped = true
      clearInterval(timer)
    }
  }
}
