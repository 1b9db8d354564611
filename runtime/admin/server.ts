import { isUtf8 } from 'node:buffer'
import { randomUUID } from 'node:crypto'
import { type IncomingMessage, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { finished } from 'node:stream/promises'
import fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify'
import type { Logger } from 'pino'
import { type ErrorCode, RuntimeError } from '../errors.ts'
import type { Scope, Token } from '../store/tokens.ts'
import { allowedMethods, type KnownRoute } from './methods.ts'
import { answerProblem, PROBLEM_TYPE, Problem } from './problem.ts'
import { buildValidator } from './validation.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The code that answers a body which does not fit its schema; default REQUEST_INVALID. */
    invalid?: ErrorCode
    /** Any of these lets a token in, beside `admin`. */
    scopes?: readonly Scope[]
  }
  interface FastifyRequest {
    /** Who asks; set on all addresses of the admin API. */
    token: Token
  }
}

const BODY_LIMIT = 5 * 1024 * 1024
/** For a client to send its whole request. */
const REQUEST_MS = 30_000
const KEEP_ALIVE_MS = 65_000
/** For a client to finish a body that is refused. */
const REST_MS = 5_000
/** After this long a close no longer waits for answers in flight. */
const CLOSE_MS = 9_000

const HEADERS = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
  'content-security-policy':
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'none'; " +
    "form-action 'self'; frame-ancestors 'none'"
}

/**
 * The HTTP server without any route: JSON up to 5 MB, strict validation, every refusal a problem. Its `close` lets
 * answers in flight be finished for nine seconds; requests that come meanwhile get SHUTTING_DOWN.
 */
export function createServer({ logger }: { logger: Logger }): FastifyInstance {
  const app = fastify({
    loggerInstance: logger as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: () => randomUUID(),
    bodyLimit: BODY_LIMIT,
    requestTimeout: REQUEST_MS,
    keepAliveTimeout: KEEP_ALIVE_MS,
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    trustProxy: false,
    // Ids of events have up to 128 characters, each up to twelve when percent-encoded.
    routerOptions: { maxParamLength: 1_600 },
    schemaController: { compilersFactory: { buildValidator } },
    frameworkErrors: (error, request, reply) => answerProblem(error, request, reply.headers(HEADERS)),
    clientErrorHandler: answerSocket
  })
  app.decorateRequest('token', null as unknown as Token)
  app.addSchema(Problem)
  parseJson(app)
  guardClose(app)
  app.addHook('onRequest', async (_request, reply) => void reply.headers(HEADERS))
  app.addHook('onResponse', async (request, reply) => {
    const [path] = request.url.split('?')
    request.log.debug({ method: request.method, path, status: reply.statusCode, ms: Math.round(reply.elapsedTime) })
  })
  app.setErrorHandler(async (error, request, reply) => {
    await readRest(request.raw)
    return answerProblem(error, request, reply)
  })
  refuseUnknown(app)
  return app
}

/** CloudEvents have a type of their own, as others do. */
const JSON_TYPE = /^application\/([\w.-]+\+)?json\b/i

/** JSON is the only kind of body, and a malformed one is told where. An empty one is none. */
function parseJson(app: FastifyInstance): void {
  const parse = app.getDefaultJsonParser('error', 'error')
  app.removeContentTypeParser(['text/plain', 'application/json'])
  app.addContentTypeParser(JSON_TYPE, { parseAs: 'buffer' }, (request, body, done) => {
    const bytes = body as Buffer
    if (bytes.length === 0) return done(null, undefined)
    if (!isUtf8(bytes)) return done(new RuntimeError('REQUEST_INVALID', 'The body is not UTF-8; send JSON as UTF-8.'))
    const text = bytes.toString()
    parse(request, text, (error, value) => done(error && notJson(text), value))
  })
}

function notJson(body: string): RuntimeError {
  try {
    JSON.parse(body)
  } catch (error) {
    return new RuntimeError('REQUEST_INVALID', `The body is not valid JSON: ${(error as Error).message}.`)
  }
  return new RuntimeError(
    'REQUEST_INVALID',
    'The body has a member named __proto__ or constructor.prototype; leave it out.'
  )
}

/**
 * Lets a client finish what it is sending before it is refused: one that is hung up on in the middle of a large body
 * sees a broken connection instead of the reason.
 */
async function readRest(request: IncomingMessage): Promise<void> {
  if (request.readableEnded || request.destroyed) return
  await finished(request.resume(), { signal: AbortSignal.timeout(REST_MS) }).catch(() => {})
}

function guardClose(app: FastifyInstance): void {
  let closing = false
  app.addHook('preClose', async () => {
    closing = true
    setTimeout(() => app.server.closeAllConnections(), CLOSE_MS).unref()
  })
  app.addHook('onRequest', async () => {
    if (!closing) return
    throw new RuntimeError('SHUTTING_DOWN', 'This node is stopping; send the request again.', { retryAfterMs: 2_000 })
  })
}

function refuseUnknown(app: FastifyInstance): void {
  const routes: KnownRoute[] = []
  app.addHook('onRoute', ({ url, method }) => void routes.push({ url, methods: [method].flat() }))
  app.setNotFoundHandler(async (request, reply) => {
    const path = request.url.split('?')[0] ?? '/'
    const allowed = allowedMethods(routes, path)
    if (allowed.length === 0)
      throw new RuntimeError('NOT_FOUND', `There is nothing at ${path}; /docs lists every address.`)
    reply.header('allow', allowed.join(', '))
    throw new RuntimeError('METHOD_NOT_ALLOWED', `${path} does not take ${request.method}, only ${allowed.join(', ')}.`)
  })
}

/** What is no HTTP request at all has no route: it is answered on the bare socket. */
function answerSocket(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy()
  const status = error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? 408 : error.code === 'HPE_HEADER_OVERFLOW' ? 431 : 400
  const title = STATUS_CODES[status]
  const detail = 'This is no HTTP request that can be read here.'
  const body = JSON.stringify({ type: 'about:blank', title, status, detail, code: 'REQUEST_INVALID' })
  const head = `HTTP/1.1 ${status} ${title}\r\nContent-Length: ${body.length}\r\nContent-Type: ${PROBLEM_TYPE}\r\n`
  socket.end(`${head}Connection: close\r\n\r\n${body}`)
}
