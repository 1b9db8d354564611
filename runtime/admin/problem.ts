import { STATUS_CODES } from 'node:http'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { type Static, Type } from 'typebox'
import { RuntimeError, statusOf } from '../errors.ts'
import { wrongFields } from './validation.ts'

/** What every refusal answers, as RFC 9457 has it; `code` is stable, `detail` is for people. */
export const Problem = Type.Object(
  {
    type: Type.String(),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String(),
    code: Type.String({ description: 'A name of the table of errors; it never changes its meaning' }),
    errors: Type.Optional(
      Type.Array(Type.Object({ path: Type.String({ description: 'JSON pointer' }), message: Type.String() }), {
        description: 'Every field that is wrong'
      })
    ),
    line: Type.Optional(Type.Integer({ description: 'Of the script, from 1' })),
    column: Type.Optional(Type.Integer({ description: 'Of the script, from 1' })),
    excerpt: Type.Optional(Type.String({ description: "The script's line with a caret under the column" })),
    retryAfterMs: Type.Optional(Type.Integer({ description: 'When to come again, in milliseconds' }))
  },
  { $id: 'Problem' }
)
export type Problem = Static<typeof Problem>

export const PROBLEM_TYPE = 'application/problem+json'

/** A failure as its problem; what has no name of its own says nothing but the request's id. */
export function problemOf(error: RuntimeError, requestId?: string): Problem {
  const status = statusOf(error.code)
  const hidden = error.code === 'INTERNAL'
  return {
    type: 'about:blank',
    title: STATUS_CODES[status] ?? 'Error',
    status,
    detail: hidden ? `Something went wrong here; the log has it as request ${requestId}.` : error.message,
    code: error.code,
    ...(error.fields && { errors: error.fields }),
    ...error.position,
    ...(error.retryAfterMs !== undefined && { retryAfterMs: error.retryAfterMs })
  }
}

/** Answers anything thrown as a problem. An `INTERNAL` one is logged, once, with its cause. */
export function answerProblem(thrown: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const error = named(thrown, request)
  if (error.code === 'INTERNAL') request.log.error({ err: error.cause ?? error }, 'A request failed')
  if (error.code === 'UNAUTHENTICATED') reply.header('www-authenticate', 'Bearer')
  if (error.retryAfterMs !== undefined) reply.header('retry-after', Math.ceil(error.retryAfterMs / 1000))
  return reply
    .code(statusOf(error.code))
    .type(PROBLEM_TYPE)
    .send(JSON.stringify(problemOf(error, request.id)))
}

/** The framework's own refusals under the names of our table. */
function named(thrown: unknown, request: FastifyRequest): RuntimeError {
  if (thrown instanceof RuntimeError) return thrown
  const error = thrown as FastifyError
  if (error.validation) return invalid(error, request)
  if (error.code === 'FST_ERR_CTP_BODY_TOO_LARGE')
    return new RuntimeError(
      'BODY_TOO_LARGE',
      `The body is larger than ${request.routeOptions.bodyLimit} bytes; send less, or in several requests.`
    )
  if (error.code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE')
    return new RuntimeError(
      'MEDIA_TYPE_UNSUPPORTED',
      `${request.headers['content-type'] || 'A body without a content type'} can't be read here; send application/json.`
    )
  if (error.code === 'FST_ERR_HANDLER_TIMEOUT')
    return new RuntimeError('STORE_UNAVAILABLE', 'What this needs did not answer in time; try again.', {
      retryAfterMs: 10_000
    })
  if (error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500)
    return new RuntimeError('REQUEST_INVALID', error.message)
  return new RuntimeError('INTERNAL', 'A request failed', { cause: thrown })
}

function invalid({ validation, validationContext }: FastifyError, request: FastifyRequest): RuntimeError {
  const fields = wrongFields(validation ?? [])
  const place = validationContext === 'body' ? 'body' : validationContext === 'params' ? 'path' : 'query string'
  const code = place === 'body' ? (request.routeOptions.config.invalid ?? 'REQUEST_INVALID') : 'REQUEST_INVALID'
  const [first] = fields
  const what = first ? `${first.path || `the ${place}`} ${first.message}` : 'it does not fit its schema'
  const others = fields.length > 1 ? ` (and ${fields.length - 1} more, see \`errors\`)` : ''
  return new RuntimeError(code, `The ${place} is not valid: ${what}${others}.`, { fields })
}
