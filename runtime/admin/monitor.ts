import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { type Static, Type } from 'typebox'
import { RuntimeError } from '../errors.ts'
import type { MerId } from '../model.ts'
import type { Also } from '../store/database.ts'
import type { Page, PageRequest } from '../store/row.ts'
import type { SentMessage as Sent } from '../store/sent-messages.ts'
import type { Token } from '../store/tokens.ts'
import { ADMINS, visibleMerId } from './auth.ts'
import { pageAnswer, pageRequest } from './page.ts'
import { Id, iso, isoOrNull, listQuery, MaybeTime, named, nullable, Owner, pageOf, problems, Time } from './schemas.ts'
import type { Trail } from './trail.ts'

/** What accepting an event came to. */
interface Raised {
  id: string
  duplicate: boolean
  executions: string[]
}

export interface MonitorNeeds {
  monitor: {
    missing: (topic: string | undefined, page: PageRequest) => Promise<Page<Sent>>
    countMissing: () => Promise<{ topic: string; count: number }[]>
    get: (fingerprint: string) => Promise<Sent>
    inject: (fingerprint: string, also: Also<Raised[]>) => Promise<Raised[]>
  }
  missingEvents: {
    compare: (eventKey?: string) => Promise<
      {
        eventKey: string
        from: number
        expected: number
        missing: { payload: string | number; merId: MerId | null }[]
      }[]
    >
    raise: (
      eventKey: string,
      payloads: (string | number)[] | undefined,
      also: Also<Raised[]>
    ) => Promise<{ events: Raised[]; left: number }>
  }
  trail: Trail
}

/** Bodies hold what customers wrote; a list shows so much of each. */
const SHOWN_CHARACTERS = 2_000

export const SentMessage = Type.Object(
  {
    id: Type.String({ description: 'Fingerprint of topic and body: copies of one message have the same' }),
    topic: Type.String(),
    body: Type.String({ description: `As it was reported; in a list its first ${SHOWN_CHARACTERS} characters` }),
    reportedAt: Time,
    receivedAt: MaybeTime,
    missingSince: MaybeTime,
    eventIds: nullable(Type.Array(Type.String(), { description: 'Events made of it here; null: none were' }))
  },
  { $id: 'SentMessage' }
)

const tags = ['Monitor']
const READ = { scopes: ['viewer'] as const }
const Events = Type.Array(
  Type.Object({ id: Type.String(), duplicate: Type.Boolean(), executions: Type.Array(Type.String()) })
)
const EventKey = Type.String({ minLength: 1, maxLength: 100 })
const MISSING = {
  config: READ,
  schema: {
    tags,
    summary: 'Messages reported as sent that have not come, the longest missing first',
    querystring: listQuery({ topic: Type.Optional(Type.String({ maxLength: 255 })) }),
    response: {
      200: Type.Object({
        ...pageOf(named(SentMessage)).properties,
        topics: Type.Array(Type.Object({ topic: Type.String(), missing: Type.Integer() }), {
          description: 'How many of each topic, on all pages; the topics with the most'
        })
      }),
      ...problems
    }
  }
}
const GET = {
  config: READ,
  schema: {
    tags,
    summary: 'A reported message, missing or not, with its whole body',
    params: Id,
    response: { 200: named(SentMessage), ...problems }
  }
}
const INJECT = {
  config: { scopes: ADMINS },
  schema: {
    tags,
    summary: 'Make events of a missing message, as if it had come',
    description: 'Whoever can reach the reporting address could have reported it: look at its body first.',
    params: Id,
    response: { 200: Type.Object({ events: Events }), ...problems }
  }
}
const MISSING_EVENTS = {
  config: READ,
  schema: {
    tags,
    summary: 'What happened in the shop and never came as an event, by the queries of config/monitor.json',
    querystring: listQuery({ eventKey: Type.Optional(EventKey) }),
    response: {
      200: Type.Object({
        ...pageOf(
          Type.Object({
            eventKey: Type.String(),
            payload: Type.Unsafe<string | number>({ type: ['string', 'number'] }),
            merId: Owner
          })
        ).properties,
        checks: Type.Array(
          Type.Object({ eventKey: Type.String(), from: Time, expected: Type.Integer(), missing: Type.Integer() }),
          { description: 'What was compared: how many events there should be since when, and how many are not there' }
        )
      }),
      ...problems
    }
  }
}
const RAISE = {
  config: { scopes: ADMINS },
  schema: {
    tags,
    summary: 'Raise events that never came; at most 1 000 in one call, and none twice',
    body: Type.Object(
      {
        eventKey: EventKey,
        payloads: Type.Optional(
          Type.Array(Type.Unsafe<string | number>({ type: ['string', 'number'] }), {
            maxItems: 1_000,
            description: 'Only these of the missing ones; default: all'
          })
        )
      },
      { additionalProperties: false }
    ),
    response: {
      200: Type.Object({ events: Events, left: Type.Integer({ description: 'Still missing' }) }),
      ...problems
    }
  }
}

/** Messages and events that should have come; bodies are of all merchants, so a merchant's token sees none. */
export const monitorRoutes =
  ({ monitor, missingEvents, trail }: MonitorNeeds): FastifyPluginAsyncTypebox =>
  async app => {
    app.addHook('onRequest', async ({ token }) => refuseMerchants(token))
    app.get('/missing', MISSING, async ({ query }) => {
      const page = await monitor.missing(query.topic, pageRequest(query, 'pair'))
      const topics = (await monitor.countMissing()).map(({ topic, count }) => ({ topic, missing: count }))
      return { ...pageAnswer(page, message => messageOf(message, SHOWN_CHARACTERS)), topics }
    })
    app.get('/missing/:id', GET, async ({ params }) => messageOf(await monitor.get(params.id)))
    app.post('/missing/:id/inject', INJECT, async ({ token, params: { id } }) => ({
      events: await monitor.inject(id, trail(token, 'monitor.inject', raisedOf(id)))
    }))
    app.get('/missing-events', MISSING_EVENTS, async ({ query }) =>
      missingPage(await missingEvents.compare(query.eventKey), pageRequest(query, 'number'))
    )
    app.post('/missing-events/raise', RAISE, ({ token, body: { eventKey, payloads } }) =>
      missingEvents.raise(eventKey, payloads, trail(token, 'monitor.raise', raisedOf(eventKey)))
    )
  }

/** Who raises as many as there may be is told how many; their ids are in the events. */
const MOST_TOLD = 100

const raisedOf = (subject: string) => (events: Raised[]) => ({
  ...{ subject, merId: null },
  after: { raised: events.length, events: events.slice(0, MOST_TOLD).map(({ id }) => id) }
})

function refuseMerchants(token: Token): void {
  if (visibleMerId(token) !== undefined)
    throw new RuntimeError(
      'FORBIDDEN',
      'This needs a token that is bound to no merchant, with the scope admin or viewer.'
    )
}

const messageOf = (
  { fingerprint, body, reportedAt, receivedAt, missingSince, ...message }: Sent,
  characters = Number.POSITIVE_INFINITY
): Static<typeof SentMessage> => ({
  id: fingerprint,
  ...message,
  body: body.slice(0, characters),
  reportedAt: iso(reportedAt),
  receivedAt: isoOrNull(receivedAt),
  missingSince: isoOrNull(missingSince)
})

type Comparisons = Awaited<ReturnType<MonitorNeeds['missingEvents']['compare']>>

/** Compared anew for each page: the cursor is a place in the list as it is now. */
function missingPage(comparisons: Comparisons, { limit, cursor }: PageRequest) {
  const all = comparisons.flatMap(({ eventKey, missing }) =>
    missing.map(({ payload, merId }) => ({ eventKey, payload, merId }))
  )
  const from = Number(cursor ?? 0)
  const end = from + limit
  const page = { items: all.slice(from, end), nextCursor: end < all.length ? String(end) : null }
  const checks = comparisons.map(({ missing, from, ...check }) => ({
    ...check,
    from: iso(from),
    missing: missing.length
  }))
  return { ...pageAnswer(page, item => item), checks }
}
