/**
 * How long a quiet hook's events wait and run, alone and beside hooks that have more to do than can be done: ratios of
 * one run, because machines differ and drift. From the event's commit to the end of its run, one event every 20 ms.
 *
 * It does not measure: other runners' memory (bench/neighbours.ts), the network, several nodes. Client, partner,
 * database and Sandhook share this machine's cores.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { installServers } from '../support/packages.ts'
import { eventually, type SandhookProcess, startSandhookProcess } from '../support/sandhook.ts'
import { startDatabase } from './database.ts'
import { makeHook, memoryOf, say, startErp } from './measure.ts'

const BACKLOG = Number(process.env.BENCH_BACKLOG ?? 20_000)
const QUIET = Number(process.env.BENCH_QUIET ?? 300)
const SLOW_MS = 5_000

async function send(sandhook: SandhookProcess, eventKey: string, count: number): Promise<void> {
  for (let from = 0; from < count; from += 1_000) {
    const events = Array.from({ length: Math.min(1_000, count - from) }, (_, i) => ({
      eventKey,
      payload: `${eventKey}-${from + i}`
    }))
    const { status } = await sandhook.call('POST', '/events', events)
    if (status !== 202) throw new Error(`POST /events answered ${status}`)
  }
}

interface Item {
  createdAt: string
  finishedAt: string | null
}

/** Sends the quiet hook's events one by one; answers their latencies in milliseconds, the shortest first. */
async function quietLatencies(sandhook: SandhookProcess, eventKey: string): Promise<number[]> {
  for (let i = 0; i < QUIET; i++) {
    await sandhook.call('POST', '/events', { eventKey, payload: `quiet-${i}` })
    await pause(20)
  }
  const items = await eventually(async () => {
    const all: Item[] = []
    for (let cursor = ''; ; ) {
      const path = `/admin/v1/executions?hook=/custom/bench/${eventKey}&limit=200${cursor}`
      const { body } = await sandhook.call('GET', path)
      all.push(...body.items)
      if (!body.nextCursor) return all.every(({ finishedAt }) => finishedAt !== null) && all
      cursor = `&cursor=${encodeURIComponent(body.nextCursor)}`
    }
  }, 300_000)
  const latencies = items.map(item => Date.parse(item.finishedAt ?? '') - Date.parse(item.createdAt))
  return latencies.sort((a, b) => a - b)
}

const at = (values: number[], share: number): number => values[Math.ceil(share * values.length) - 1] ?? Number.NaN

let quiet = 0
async function measure(sandhook: SandhookProcess, what: string, base?: number[]): Promise<number[]> {
  const key = `QUIET_${++quiet}`
  await makeHook(sandhook, `/custom/bench/${key}`, key, 'return 1')
  const latencies = await quietLatencies(sandhook, key)
  const ratio = base ? `, ratio of p99 ${(at(latencies, 0.99) / at(base, 0.99)).toFixed(2)}` : ''
  const { body } = await sandhook.call('GET', '/admin/v1/stats')
  const { inFlight } = body.live
  say(`  ${what}: p50 ${at(latencies, 0.5)} ms, p99 ${at(latencies, 0.99)} ms, max ${latencies.at(-1)} ms${ratio}`)
  say(`    runs in flight ${inFlight}, memory ${memoryOf(sandhook)} MB, hosts ${JSON.stringify(body.hosts)}`)
  return latencies
}

installServers()
const database = await startDatabase('overload')
const erp = await startErp(SLOW_MS)
const sandhook = await startSandhookProcess({
  ...{ DATABASE_URL: database.url, SANDHOOK_DEMO: 'off', SANDHOOK_HTTP_ALLOW: '127.0.0.1' }
})
try {
  const post = (url: string) => `http.post('${url}/x', { body: {}, timeout: 20000 })`
  await makeHook(sandhook, '/custom/bench/slow', 'SLOW', post(erp.url))
  await makeHook(sandhook, '/custom/bench/slow-too', 'SLOW_TOO', post(erp.url))
  await makeHook(sandhook, '/custom/bench/down', 'DOWN', post('http://127.0.0.1:8'))
  await makeHook(sandhook, '/custom/bench/flood', 'FLOOD', 'return 1')
  say(`a quiet hook's ${QUIET} events, beside backlogs of ${BACKLOG}:`)
  await measure(sandhook, 'warm-up')
  const alone = await measure(sandhook, 'alone')
  await send(sandhook, 'DOWN', BACKLOG)
  await measure(sandhook, 'beside a hook whose ERP is down', alone)
  await send(sandhook, 'SLOW', BACKLOG)
  await measure(sandhook, `beside that and one whose ERP takes ${SLOW_MS / 1000} s`, alone)
  await send(sandhook, 'SLOW_TOO', BACKLOG)
  await measure(sandhook, 'beside those and a second slow one', alone)
  const flooding = send(sandhook, 'FLOOD', BACKLOG)
  await measure(sandhook, 'beside those, while a fast hook has as many to do', alone)
  await flooding
} catch (error) {
  say(sandhook.output().slice(-4000))
  throw error
} finally {
  await sandhook.end('SIGTERM')
  erp.stop()
  await database.stop()
}
