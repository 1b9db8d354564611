import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import type { MerId } from '../model.ts'
import type { ExecutionStore } from '../store/executions.ts'
import { narrowed, READERS, visibleMerId } from './auth.ts'
import { isoOrNull, MaybeTime, MerIdQuery, nullable, problems } from './schemas.ts'

export interface StatsNeeds {
  executions: Pick<ExecutionStore, 'counts' | 'countsByHook' | 'oldestWaiting' | 'newestTimes'>
  /** This node's load: runners, runs in flight. */
  live: () => Record<string, number>
}

/** How many of the newest successes the latencies are taken from. */
const SAMPLE = 200

const Counts = Type.Record(Type.String(), Type.Integer(), { description: 'By status' })
const Spread = Type.Object({ p50: nullable(Type.Number()), p95: nullable(Type.Number()), max: nullable(Type.Number()) })

const GET = {
  config: { scopes: READERS },
  schema: {
    tags: ['Stats'],
    summary: 'How executions stand, how long they take, and how busy this node is',
    querystring: Type.Object({ merId: MerIdQuery }, { additionalProperties: false }),
    response: {
      200: Type.Object({
        executions: Counts,
        hooks: Type.Array(Type.Object({ hook: Type.String(), executions: Counts })),
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

/** Counts and latencies; a merchant's own. */
export const statsRoutes =
  ({ executions, live }: StatsNeeds): FastifyPluginAsyncTypebox =>
  async app => {
    app.get('', GET, async ({ token, query }) => ({
      ...(await numbersOf(executions, narrowed(token, query.merId))),
      // How busy the node is says something about other merchants.
      live: visibleMerId(token) === undefined ? live() : null
    }))
  }

async function numbersOf(executions: StatsNeeds['executions'], merId: MerId | undefined) {
  const [counts, byHook, oldest, times] = await Promise.all([
    executions.counts(merId),
    executions.countsByHook(merId),
    executions.oldestWaiting(merId),
    executions.newestTimes(SAMPLE, merId)
  ])
  const hooks = Object.entries(Object.groupBy(byHook, ({ hook }) => hook)).map(([hook, rows]) => ({
    hook,
    executions: Object.fromEntries((rows ?? []).map(({ status, count }) => [status, count]))
  }))
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
