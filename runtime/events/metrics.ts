import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import type { BreakerReport } from '../host/breakers.ts'
import type { TargetReport } from '../host/targets.ts'
import type { Backlog } from '../store/executions.ts'
import type { Settlement } from '../store/queue.ts'

export interface MetricNeeds {
  registry: Registry
  /** This node's load, asked at each scrape. */
  load: () => { running: number; unsettled: number; runnersUp: number; runnersWanted: number }
  /** Messages that were reported as sent and have not come: all nodes know the same number. */
  missing: () => number
  backlog: () => Promise<Backlog[]>
  breakers: () => BreakerReport[]
  targets: () => Promise<TargetReport[]>
}

export interface Metrics {
  accepted: (source: string, events: number, duplicates: number) => void
  settled: (batch: Settlement[]) => void
  /** What came and could not be kept. */
  lost: (what: 'redis' | 'report', count: number, reason: string) => void
  /** What became of messages from RabbitMQ: events (or rightly none), or dead letters. */
  read: (outcome: 'taken' | 'dead', count: number) => void
}

const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

/** What this node counts, in Prometheus' terms. */
export function createMetrics(needs: MetricNeeds): Metrics {
  const { registry, load, missing } = needs
  const registers = [registry]
  const events = new Counter({
    name: 'sandhook_events_total',
    help: 'Events accepted, by source; duplicates apart',
    labelNames: ['source', 'duplicate'],
    registers
  })
  const runs = new Counter({
    name: 'sandhook_runs_total',
    help: 'Runs by hook and by the status that they led to',
    labelNames: ['hook', 'status', 'code'],
    registers
  })
  const lost = new Counter({
    name: 'sandhook_lost_total',
    help: 'Messages of the Redis channel and reports of sent messages that could not be kept, by reason',
    labelNames: ['what', 'reason'],
    registers
  })
  const messages = new Counter({
    name: 'sandhook_messages_total',
    help: 'Messages read from RabbitMQ: taken, or put to the dead letters',
    labelNames: ['outcome'],
    registers
  })
  const duration = new Histogram({
    name: 'sandhook_run_seconds',
    help: 'Wall clock of a run, by hook',
    labelNames: ['hook'],
    buckets: SECONDS,
    registers
  })
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read())
      }
    })
  gauge('sandhook_running', 'Executions that this node runs', () => load().running)
  gauge('sandhook_unsettled', 'Outcomes that wait to be written', () => load().unsettled)
  gauge('sandhook_runners_up', 'Runner processes that are up', () => load().runnersUp)
  gauge('sandhook_runners_wanted', 'Runner processes that there should be', () => load().runnersWanted)
  gauge('sandhook_missing_messages', 'Messages reported as sent that have not come; the same on all nodes', missing)
  gaugeQueue(needs)
  gaugeHosts(needs)

  return {
    lost: (what, count, reason) => lost.inc({ what, reason }, count),
    read: (outcome, count) => messages.inc({ outcome }, count),
    accepted(source, count, duplicates) {
      events.inc({ source, duplicate: 'false' }, count - duplicates)
      if (duplicates > 0) events.inc({ source, duplicate: 'true' }, duplicates)
    },
    settled(batch) {
      for (const { execution, attempt } of batch) {
        const hook = execution.hookPath
        runs.inc({ hook, status: execution.status, code: execution.error?.code ?? '' })
        if (attempt) duration.observe({ hook }, attempt.durationMs / 1000)
      }
    }
  }
}

/** One question for all who ask at the same time. The database may be away: the other numbers are shown all the same. */
function asking<T>(read: () => Promise<T[]>): () => Promise<T[]> {
  let asked: Promise<T[]> | null = null
  return () => {
    asked ??= read()
      .catch(() => [])
      .finally(() => {
        asked = null
      })
    return asked
  }
}

function gaugeQueue({ registry, backlog }: MetricNeeds): void {
  const ask = asking(backlog)
  const gauge = (name: string, help: string, numberOf: (row: Backlog) => number) =>
    new Gauge({
      name,
      help: `${help}, by hook; the same on all nodes`,
      labelNames: ['hook'],
      registers: [registry],
      async collect() {
        const rows = await ask()
        this.reset()
        for (const row of rows) this.set({ hook: row.hook }, numberOf(row))
      }
    })
  gauge('sandhook_waiting', 'Executions that wait for a run', ({ waiting }) => waiting)
  gauge(
    'sandhook_oldest_waiting_seconds',
    'Age of the oldest execution that waits for a run',
    ({ oldest }) => (Date.now() - oldest) / 1000
  )
}

/** Metrics need no token: only the hosts of config/targets.json are named. */
function gaugeHosts({ registry, breakers, targets }: MetricNeeds): void {
  const ask = asking(targets)
  new Gauge({
    name: 'sandhook_hosts_resting',
    help: "Hosts that a hook's calls leave alone because they failed, by hook",
    labelNames: ['hook'],
    registers: [registry],
    collect() {
      this.reset()
      for (const { hook, state } of breakers()) if (state !== 'closed') this.inc({ hook: hook.hookPath })
    }
  })
  new Gauge({
    name: 'sandhook_target_open',
    help: 'Whether a host of config/targets.json is left alone because it failed (1); the same on all nodes',
    labelNames: ['host'],
    registers: [registry],
    async collect() {
      const rows = await ask()
      this.reset()
      for (const { host, state } of rows) if (state !== 'closed') this.set({ host }, 1)
    }
  })
}
