import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import { type Static, Type } from 'typebox'
import { RuntimeError } from '../errors.ts'
import type { Scope, Token } from '../store/tokens.ts'
import type { Accept, IncomingEvent } from './accept.ts'

const MAX_EVENTS = 1_000
const MerId = Type.Union([Type.Integer({ minimum: 0 }), Type.String({ minLength: 1, maxLength: 64 })])

const PlainEvent = Type.Object(
  {
    eventKey: Type.String({ minLength: 1, maxLength: 100, description: 'ORDER_PAY_SUCCESS; unknown keys are welcome' }),
    payload: Type.Any({ description: 'Usually an order number, as a string' }),
    timestamp: Type.Optional(Type.Integer({ minimum: 0, description: 'Milliseconds since the epoch; default: now' })),
    id: Type.Optional(Type.String({ minLength: 1, maxLength: 128, description: 'An event is accepted once per id' })),
    merId: Type.Optional(MerId),
    key: Type.Optional(Type.String({ minLength: 1, maxLength: 191, description: 'Ordering key; default: the payload' }))
  },
  { additionalProperties: false, title: 'Event' }
)

const CloudEvent = Type.Object(
  {
    specversion: Type.Literal('1.0'),
    id: Type.String({ minLength: 1, maxLength: 128 }),
    source: Type.String({ minLength: 1, maxLength: 2048 }),
    type: Type.String({ minLength: 1, maxLength: 100, description: 'The event key' }),
    data: Type.Any({ description: 'The payload' }),
    time: Type.Optional(Type.String({ format: 'date-time' })),
    datacontenttype: Type.Optional(Type.String()),
    subject: Type.Optional(Type.String()),
    merid: Type.Optional(MerId)
  },
  { title: 'CloudEvent' }
)

const OneEvent = Type.Union([PlainEvent, CloudEvent])
const Body = Type.Union([OneEvent, Type.Array(OneEvent, { minItems: 1, maxItems: MAX_EVENTS })])

const Answer = Type.Object({
  events: Type.Array(
    Type.Object({
      id: Type.String(),
      duplicate: Type.Boolean({ description: 'It was accepted before; nothing happens twice' }),
      executions: Type.Array(Type.String(), { description: 'Ids of the executions that it caused' })
    })
  )
})

export interface EventRouteNeeds {
  accept: Accept
  authorize: (request: FastifyRequest, ...anyOf: Scope[]) => Promise<Token>
}

/** `POST /events`: answers only after the commit. */
export const eventRoutes =
  ({ accept, authorize }: EventRouteNeeds): FastifyPluginAsyncTypebox =>
  async app => {
    app.addContentTypeParser(/^application\/cloudevents(-batch)?\+json/, { parseAs: 'string' }, (request, body, done) =>
      app.getDefaultJsonParser('error', 'error')(request, body as string, done)
    )
    app.post(
      '/events',
      {
        config: { invalid: 'EVENT_INVALID' },
        schema: {
          tags: ['Events'],
          summary: 'Send one event, or up to 1 000',
          description: 'Also takes CloudEvents 1.0 in JSON: `type` is the event key, `data` the payload.',
          security: [{ bearer: [] }],
          body: Body,
          response: { 202: Answer }
        }
      },
      async (request, reply) => {
        const token = await authorize(request, 'events:write', 'merchant')
        const given = Array.isArray(request.body) ? request.body : [request.body]
        const events = await accept(
          given.map(event => ofToken(toIncoming(event), token)),
          'http'
        )
        return reply.code(202).send({ events })
      }
    )
  }

type GivenEvent = Static<typeof OneEvent>

/** CloudEvents' ids are unique only together with their source. */
function toIncoming(event: GivenEvent): IncomingEvent {
  if (!('specversion' in event)) return event
  const { id, source, type, data, time, merid } = event
  return {
    id: `${source}#${id}`.slice(-128),
    eventKey: type,
    payload: data,
    ...(time === undefined ? {} : { timestamp: Date.parse(time) }),
    ...(merid === undefined ? {} : { merId: merid })
  }
}

/** A merchant's token speaks only of its own merchant's events. */
function ofToken(event: IncomingEvent, { merId }: Token): IncomingEvent {
  if (merId === null) return event
  if (event.merId !== undefined && String(event.merId) !== String(merId))
    throw new RuntimeError('FORBIDDEN', `This token may send events of merchant ${merId} only, not of ${event.merId}.`)
  return { ...event, merId }
}
