import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { RuntimeError } from '../errors.ts'
import type { Json } from '../model.ts'
import type { Scope, Token } from '../store/tokens.ts'
import { parseExactly } from './canonical-json.ts'

export interface ReportRouteNeeds {
  report: (topic: string, body: Json) => void
  authorize: (request: FastifyRequest, ...anyOf: Scope[]) => Promise<Token>
  /** Whether reports need no token: the senders of the MQ document have none. */
  open: boolean
  /** Told of reports that were answered and can't be kept. */
  onLost: (count: number, reason: 'unauthenticated') => void
}

const BODY_LIMIT = 256 * 1024

const reportSchema = (open: boolean) => ({
  tags: ['Monitor'],
  summary: 'Say that a message was sent to RabbitMQ',
  description:
    'Answers at once and stores the report afterwards, if it can. As JSON or as a form. A report never becomes an ' +
    'event by itself. Needs a token with `events:write` when `SANDHOOK_MONITOR_OPEN` is off.',
  body: Type.Object({
    topic: Type.String({ minLength: 1, maxLength: 255, description: 'The routing key' }),
    body: Type.Unsafe<Json>({ description: 'The message: its text, or the object itself' })
  }),
  security: [...(open ? [{}] : []), { bearer: ['admin'] }, { bearer: ['events:write'] }] as Record<string, string[]>[],
  response: { 200: Type.Object({ code: Type.Literal(200), message: Type.Literal('ok') }) }
})

/** `POST /erp/order/publishRabbitmqSentEvent`: the MQ document's monitoring interface. */
export const reportRoutes =
  ({ report, authorize, open, onLost }: ReportRouteNeeds): FastifyPluginAsyncTypebox =>
  async app => {
    app.removeContentTypeParser('application/json')
    app.addContentTypeParser(
      'application/json',
      { parseAs: 'string' },
      async (_request: FastifyRequest, body: string) => parsed(body)
    )
    app.addContentTypeParser(
      'application/x-www-form-urlencoded',
      { parseAs: 'string' },
      async (_request: FastifyRequest, body: string) => Object.fromEntries(new URLSearchParams(body))
    )
    const onRequest = async (request: FastifyRequest): Promise<void> => {
      if (!open) await authorize(request, 'events:write')
    }
    app.post(
      '/erp/order/publishRabbitmqSentEvent',
      { bodyLimit: BODY_LIMIT, onRequest, schema: reportSchema(open), errorHandler: forgiving(onLost) },
      async ({ body }) => {
        report(body.topic, body.body)
        return OK
      }
    )
  }

const OK = { code: 200 as const, message: 'ok' as const }

/** JSON whose numbers the report repeats exactly. */
function parsed(text: string): Json {
  try {
    return parseExactly(text)
  } catch (error) {
    throw new RuntimeError('REQUEST_INVALID', `The body is not valid JSON: ${(error as Error).message}.`)
  }
}

/** That our store can't tell who asks is no reason to fail the caller. */
const forgiving =
  (onLost: ReportRouteNeeds['onLost']) => (thrown: unknown, _request: FastifyRequest, reply: FastifyReply) => {
    if (!(thrown instanceof RuntimeError) || thrown.code !== 'STORE_UNAVAILABLE') throw thrown
    onLost(1, 'unauthenticated')
    return reply.code(200).send(OK)
  }
