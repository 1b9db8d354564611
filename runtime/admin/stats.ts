import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import type { BreakerReport } from '../host/breakers.ts'
import type { TargetReport } from '../host/targets.ts'
import type { MerId } from '../model.ts'
import type { ExecutionStore } from '../store/executions.ts'
import { narrowed, READERS, visibleMerId } from './auth.ts'
import { isoOrNull, MaybeTime, MerIdQuery, nullable, problems } from './schemas.ts'

export interface StatsNeeds {
  executions: Pick<ExecutionStore, 'counts' | 'countsByHook' | 'backlog' | 'newestTimes'>
  /** This node's load: runners, runs in flight. */
  live: () => Record<string, number>
  /** How the hosts stand that scripts call. */
  outside: { breakers: () => BreakerReport[]; report: () => Promise<TargetReport[]> }
}

/** How many of the newest successes the latencies are taken from. */
const SAMPLE = 200

const Counts = Type.Record(Type.String(), Type.Integer(), { description: 'By status' })
const Spread = Type.Object({ p50: nullable(Type.Number()), p95: nullable(Type.Number()), max: nullable(Type.Number()) })

const Host = Type.Object(
  {
    host: Type.String(),
    hook: nullable(Type.String({ description: "Whose calls they are; null: everybody's (config/targets.json)" })),
    state: Type.Enum(['closed', 'open', 'half-open']),
    failures: Type.Integer({ description: 'In a row' }),
    until: nullable(Type.String({ format: 'date-time', description: 'While it is open: no calls before this' })),
    waiting: nullable(Type.Integer({ description: 'Runs that were promised a time; null: see the queue of the hook' }))
  },
  { description: 'A host that has lately failed a hook on this node, or one with limits that all nodes keep together' }
)

const GET = {
  config: { scopes: READERS },
  schema: {
    tags: ['Stats'],
    summary: 'How executions stand, how long they take, and how busy this node is',
    querystring: Type.Object({ merId: MerIdQuery }, { additionalProperties: false }),
    response: {
      200: Type.Object({
        executions: Counts,
        hooks: Type.Array(
          Type.Object({
            hook: Type.String(),
            executions: Counts,
            waiting: Type.Integer({ description: 'Executions that wait for a run' }),
            oldestWaitingAt: MaybeTime
          })
        ),
        hosts: Type.Array(Host),
        oldestWaitingAt: MaybeTime,
        latency: Type.Object(
          { sample: Type.Integer(), waitMs: Spread, durationMs: Spread },
          { description: `Of the newest successes, ${SAMPLE} at most: until the first run began, and of the last run` }
        ),
        live: nullable(
          Type.Object({}, { additionalProperties: Type.Number(), description: "This node's; null for a merchant" })
        )
      }),
      ...problems
    }
  }
}

/** Counts and latencies, hosts that are down; a merchant's own. */
export const statsRoutes =
  ({ executions, live, outside }: StatsNeeds): FastifyPluginAsyncTypebox =>
  async app => {
    app.get('', GET, async ({ token, query }) => {
      const merId = narrowed(token, query.merId)
      return {
        ...(await numbersOf(executions, merId)),
        hosts: await hostsOf(outside, merId),
        // How busy the node is says something about other merchants.
        live: visibleMerId(token) === undefined ? live() : null
      }
    })
  }

/** Those with shared limits are the platform's business: how they stand says something about other merchants. */
async function hostsOf({ breakers, report }: StatsNeeds['outside'], merId: MerId | undefined) {
  const shared = merId === undefined ? await report() : []
  const own = breakers().filter(({ hook }) => merId === undefined || String(hook.merId) === String(merId))
  return [
    ...shared.map(target => ({ ...target, hook: null, until: isoOrNull(target.until) })),
    ...own.map(({ hook, ...breaker }) => ({
      ...breaker,
      ...{ hook: hook.hookPath, until: isoOrNull(breaker.until), waiting: null }
    }))
  ]
}

async function numbersOf(executions: StatsNeeds['executions'], merId: MerId | undefined) {
  const [counts, byHook, backlog, times] = await Promise.all([
    executions.counts(merId),
    executions.countsByHook(merId),
    executions.backlog(merId),
    executions.newestTimes(SAMPLE, merId)
  ])
  const hooks = Object.entries(Object.groupBy(byHook, ({ hook }) => hook)).map(([hook, rows]) => {
    const queue = backlog.find(one => one.hook === hook)
    return {
      hook,
      executions: Object.fromEntries((rows ?? []).map(({ status, count }) => [status, count])),
      waiting: queue?.waiting ?? 0,
      oldestWaitingAt: isoOrNull(queue?.oldest ?? null)
    }
  })
  const oldest = backlog.length === 0 ? null : Math.min(...backlog.map(one => one.oldest))
  const latency = {
    sample: times.length,
    waitMs: spreadOf(times.map(({ createdAt, startedAt }) => startedAt - createdAt)),
    durationMs: spreadOf(times.map(({ durationMs }) => durationMs))
  }
  return { executions: counts, hooks, oldestWaitingAt: isoOrNull(oldest), latency }
}

function spreadOf(values: number[]) {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (share: number) => sorted[Math.ceil(share * sorted.length) - 1] ?? null
  return { p50: at(0.5), p95: at(0.95), max: at(1) }
}
