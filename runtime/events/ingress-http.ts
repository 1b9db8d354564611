import { createHash } from 'node:crypto'
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyRequest } from 'fastify'
import { type Static, Type } from 'typebox'
import { RuntimeError } from '../errors.ts'
import type { Json } from '../model.ts'
import { instantOf } from '../store/row.ts'
import type { Scope, Token } from '../store/tokens.ts'
import type { Accept, IncomingEvent } from './accept.ts'

const MAX_EVENTS = 1_000
/** Names are told apart as MySQL does, which knows no lone surrogates and ignores blanks at the end. */
const name = (maxLength: number, description?: string) =>
  Type.String({
    ...{ minLength: 1, maxLength, pattern: '^(?!\\s)[^\\p{Cc}\\p{Cs}]*(?<!\\s)$' },
    ...(description === undefined ? {} : { description })
  })
const MerId = Type.Union([Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }), name(64)])
/** The end of the year 9999: what is later was not meant in milliseconds. */
const LAST_TIME = 253_402_300_799_999

const PlainEvent = Type.Object(
  {
    eventKey: name(100, 'ORDER_PAY_SUCCESS; unknown keys are welcome'),
    payload: Type.Any({ description: 'Usually an order number, as a string; integers beyond 2^53 are refused' }),
    timestamp: Type.Optional(
      Type.Integer({ minimum: 0, maximum: LAST_TIME, description: 'Milliseconds since the epoch; default: now' })
    ),
    id: Type.Optional(name(128, 'An event is accepted once per id')),
    merId: Type.Optional(MerId),
    key: Type.Optional(name(191, 'Ordering key; default: the payload'))
  },
  { additionalProperties: false, title: 'Event' }
)

const CloudEvent = Type.Object(
  {
    specversion: Type.Literal('1.0'),
    id: name(128),
    source: name(2048),
    type: name(100, 'The event key'),
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

/** Who may send events, beside admins; a merchant only its own. */
const SENDERS = ['events:write', 'merchant'] as const satisfies Scope[]

export interface EventRouteNeeds {
  accept: Accept
  authorize: (request: FastifyRequest, ...anyOf: Scope[]) => Promise<Token>
}

/** `POST /events`: answers only after the commit. */
export const eventRoutes =
  ({ accept, authorize }: EventRouteNeeds): FastifyPluginAsyncTypebox =>
  async app => {
    app.post(
      '/events',
      {
        config: { invalid: 'EVENT_INVALID', scopes: SENDERS },
        // Before the body is read: a stranger's megabytes are not worth parsing.
        onRequest: async request => {
          request.token = await authorize(request, ...SENDERS)
        },
        schema: {
          tags: ['Events'],
          summary: 'Send one event, or up to 1 000',
          description: 'Also takes CloudEvents 1.0 in JSON: `type` is the event key, `data` the payload.',
          body: Body,
          response: { 202: Answer }
        }
      },
      async ({ token, body }, reply) => {
        const given = Array.isArray(body) ? body : [body]
        const incoming = given.map(event => ofToken(toIncoming(event), token))
        for (const { payload } of incoming) refuseInexact(payload)
        const events = await accept(incoming, 'http')
        return reply.code(202).send({ events })
      }
    )
  }

type GivenEvent = Static<typeof OneEvent>

function toIncoming(event: GivenEvent): IncomingEvent {
  if (!('specversion' in event)) return event
  const { id, source, type, data, time, merid } = event
  return {
    id: idOf(source, id),
    eventKey: type,
    payload: data,
    ...(time === undefined ? {} : { timestamp: timeOf(time) }),
    ...(merid === undefined ? {} : { merId: merid })
  }
}

/** CloudEvents' ids are unique only together with their source. */
function idOf(source: string, id: string): string {
  const whole = `${source}#${id}`
  return whole.length <= 128 ? whole : createHash('sha256').update(whole).digest('hex')
}

function timeOf(time: string): number {
  const timestamp = instantOf(time)
  if (!Number.isNaN(timestamp)) return timestamp
  throw new RuntimeError('EVENT_INVALID', `The time ${time} is not valid; send it as 2024-01-31T08:00:00Z.`)
}

/** Throws EVENT_INVALID for a number that has become another one when it was read: an order number would be wrong. */
function refuseInexact(payload: Json): void {
  const open = [payload]
  for (let value = open.pop(); value !== undefined; value = open.pop()) {
    if (typeof value === 'object' && value !== null) for (const member of Object.values(value)) open.push(member)
    if (typeof value === 'number' && Math.abs(value) > Number.MAX_SAFE_INTEGER)
      throw new RuntimeError(
        'EVENT_INVALID',
        `A number near ${value} in the payload is beyond 2^53; send it as a string.`
      )
  }
}

/** A merchant's token speaks only of its own merchant's events. */
function ofToken(event: IncomingEvent, { merId }: Token): IncomingEvent {
  if (merId === null) return event
  if (event.merId !== undefined && String(event.merId) !== String(merId))
    throw new RuntimeError('FORBIDDEN', `This token may send events of merchant ${merId} only, not of ${event.merId}.`)
  return { ...event, merId }
}
