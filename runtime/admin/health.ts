import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Registry } from 'prom-client'
import { Type } from 'typebox'
import { RuntimeError } from '../errors.ts'

export interface HealthNeeds {
  /** What must work for this node to be of use; each one throws when it does not. */
  checks: Record<string, () => Promise<void>>
  metrics: Registry
}

const CHECK_MS = 2_000

const tags = ['Health']
const ALIVE = {
  schema: { tags, summary: 'Is the process up?', response: { 200: Type.Object({ status: Type.Literal('ok') }) } }
}
const Readiness = Type.Object({
  status: Type.Enum(['ok', 'unavailable']),
  checks: Type.Record(Type.String(), Type.Object({ ok: Type.Boolean(), detail: Type.Optional(Type.String()) }))
})
const READY = {
  schema: {
    tags,
    summary: 'Can it do its work? Database, broker, runners',
    response: { 200: Readiness, 503: Readiness }
  }
}
const METRICS = {
  schema: {
    tags,
    summary: 'Counters and gauges in the text format of Prometheus; no token needed',
    response: { 200: { description: 'Metrics', content: { 'text/plain': { schema: Type.String() } } } }
  }
}

/** For load balancers and monitoring: no token, and nothing that a stranger should not read. */
export const healthRoutes =
  ({ checks, metrics }: HealthNeeds): FastifyPluginAsyncTypebox =>
  async app => {
    app.get('/healthz', ALIVE, async () => ({ status: 'ok' as const }))
    app.get('/readyz', READY, async (request, reply) => {
      const results = await Promise.all(
        Object.entries(checks).map(async ([name, check]) => {
          const failure = await failureOf(check)
          if (failure) request.log.warn({ err: failure }, `Not ready: ${name}`)
          return [name, failure ? { ok: false, detail: detailOf(failure) } : { ok: true }] as const
        })
      )
      const ok = results.every(([, result]) => result.ok)
      const answer = { status: ok ? ('ok' as const) : ('unavailable' as const), checks: Object.fromEntries(results) }
      return reply.code(ok ? 200 : 503).send(answer)
    })
    app.get('/metrics', METRICS, async (_request, reply) =>
      reply.type(metrics.contentType).send(await metrics.metrics())
    )
  }

/** Null when the check passes within its time. */
async function failureOf(check: () => Promise<void>): Promise<Error | null> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new TimeoutError(`no answer within ${CHECK_MS / 1000} s`)), CHECK_MS)
  })
  try {
    await Promise.race([check(), late])
    return null
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error))
  } finally {
    clearTimeout(timer)
  }
}

class TimeoutError extends Error {}

/** Drivers' messages name hosts and accounts: they are in the log only. */
function detailOf(failure: Error): string {
  if (failure instanceof TimeoutError) return failure.message
  return failure instanceof RuntimeError ? failure.code : 'failed; the log has the reason'
}
