/**
 * What Sandhook is held against: the same job in plain Node, mysql2 and undici. Takes `{ orders, concurrency }` by
 * message, answers `{ seconds }`.
 */
import { orderSyncByHand } from './order-sync-by-hand.ts'

const [, , databaseUrl = '', erpUrl = ''] = process.argv
const sync = orderSyncByHand(databaseUrl, erpUrl)

process.on('message', async ({ orders, concurrency }: { orders: string[]; concurrency: number }) => {
  const started = performance.now()
  const waiting = [...orders]
  const worker = async () => {
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) await sync(next)
  }
  await Promise.all(Array.from({ length: concurrency }, worker))
  process.send?.({ seconds: (performance.now() - started) / 1000 })
})
