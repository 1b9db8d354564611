import rateLimit, { normalizeIP } from '@fastify/rate-limit'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Config } from '../config.ts'
import { RuntimeError } from '../errors.ts'

/** How many requests callers may make, and in how many seconds. */
export type Rates = Config['limits']['callers']['rates']

/** How a caller stands in the window of a rate. */
export interface Standing {
  limit: number
  left: number
  /** How long the window lasts yet. */
  resetMs: number
  exceeded: boolean
}

/** Counts a request for its caller; with `false`, only tells how that one stands. */
export type Count = (request: FastifyRequest, counted?: boolean) => Promise<Standing>

declare module 'fastify' {
  interface FastifyRequest {
    /** How its caller stands in what was counted last: its address, then its token. */
    standing: Standing | null
  }
}

/** Callers that a count remembers at once; whoever was quiet longest is forgotten first. */
const MOST_CALLERS = 10_000

/** Prepares `app` for counting: every answer says how its caller stands. */
export async function tellRates(app: FastifyInstance): Promise<void> {
  await app.register(rateLimit, { global: false })
  app.decorateRequest('standing', null)
  app.addHook('onSend', async ({ standing }, reply) => {
    if (standing) tell(reply, standing)
  })
}

/** A count of its own for callers, which `keyOf` tells apart, on an `app` that `tellRates` has prepared. */
export function createCount(
  app: FastifyInstance,
  { requests, seconds }: Rates['address'],
  keyOf: (request: FastifyRequest) => string
): Count {
  const options = { max: requests, timeWindow: seconds * 1000, keyGenerator: keyOf, cache: MOST_CALLERS }
  const ask = app.createRateLimit(options)
  return async (request, counted = true) => {
    const state = await ask(request, { increment: counted })
    if (state.isAllowed) return { limit: requests, left: requests, resetMs: 0, exceeded: false }
    return { limit: state.max, left: state.remaining, resetMs: state.ttl, exceeded: state.isExceeded }
  }
}

/** What requests are counted by once their token is looked at. */
export const createCounts = (app: FastifyInstance, rates: Rates): { token: Count; failure: Count } => ({
  token: createCount(app, rates.token, ({ token }) => token.id),
  failure: createCount(app, rates.failures, addressOf)
})

/** Throws RATE_LIMITED for a caller that has used up its rate. */
export function refuseExceeded({ exceeded, limit, resetMs }: Standing, what: string): void {
  if (!exceeded) return
  const seconds = Math.ceil(resetMs / 1000)
  throw new RuntimeError('RATE_LIMITED', `There are more than ${limit} ${what}; come again in ${seconds} s.`, {
    retryAfterMs: resetMs
  })
}

/** Who asks, as far as its address tells: of IPv6 the network, since a host there has as many addresses as it likes. */
export const addressOf = ({ ip }: Pick<FastifyRequest, 'ip'>): string => normalizeIP(ip)

const tell = (reply: FastifyReply, { limit, left, resetMs }: Standing): unknown =>
  reply.headers({
    'ratelimit-limit': limit,
    'ratelimit-remaining': left,
    'ratelimit-reset': Math.ceil(resetMs / 1000)
  })
