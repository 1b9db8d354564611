import { isUtf8 } from 'node:buffer'
import { randomUUID } from 'node:crypto'
import { type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { finished } from 'node:stream/promises'
import fastify, { type FastifyBaseLogger, type FastifyInstance, LogController } from 'fastify'
import type { Logger } from 'pino'
import type { Config } from '../config.ts'
import { type ErrorCode, RuntimeError } from '../errors.ts'
import { isDeeper } from '../json.ts'
import type { Scope, Token } from '../store/tokens.ts'
import { allowedMethods, type KnownRoute } from './methods.ts'
import { answerProblem, PROBLEM_TYPE, Problem } from './problem.ts'
import { addressOf, createCount, refuseExceeded, tellRates } from './rates.ts'
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
/** For a handler: no request is kept for ever, whatever it waits for. Routes that may need longer say so. */
const HANDLER_MS = 120_000
/** How often slow clients are looked for. */
const LOOK_MS = 1_000
/** For a client to finish a body that is refused. */
const REST_MS = 5_000
/** After this long a close no longer waits for answers in flight. */
const CLOSE_MS = 9_000

const HEADERS = {
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
  'x-frame-options': 'DENY',
  'cross-origin-resource-policy': 'same-origin',
  'cross-origin-opener-policy': 'same-origin',
  'content-security-policy':
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'none'; " +
    "form-action 'self'; frame-ancestors 'none'"
}

export interface ServerNeeds {
  logger: Logger
  callers: Config['limits']['callers']
  /** Proxies whose word for the caller's address counts. */
  trustProxy: Config['trustProxy']
}

/**
 * The HTTP server without any route: JSON up to 5 MB, strict validation, every refusal a problem, callers within their
 * rates, and slow ones cut. Its `close` lets answers in flight be finished for nine seconds; requests that come meanwhile
 * get SHUTTING_DOWN.
 */
export async function createServer({ logger, callers, trustProxy }: ServerNeeds): Promise<FastifyInstance> {
  const app = fastify({
    loggerInstance: logger as FastifyBaseLogger,
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: () => randomUUID(),
    bodyLimit: BODY_LIMIT,
    http: { headersTimeout: callers.headMs, connectionsCheckingInterval: LOOK_MS },
    requestTimeout: callers.requestMs,
    keepAliveTimeout: callers.idleMs,
    handlerTimeout: HANDLER_MS,
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    trustProxy: trustProxy ?? false,
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
  await tellRates(app)
  countAddresses(app, callers)
  app.addHook('onSend', async (_request, reply) => cutWhenNotTaken(reply.raw, callers.answerMs))
  limitConnections(app.server, callers.connections, trustProxy !== null)
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
    if (isDeeper(text, MAX_DEPTH)) return done(tooDeep())
    parse(request, text, (error, value) => done(error && notJson(text), value))
  })
}

/** Deeper than anybody writes, and less than what overflows a stack. */
const MAX_DEPTH = 12_000
const tooDeep = () =>
  new RuntimeError('REQUEST_INVALID', `The body is nested more than ${MAX_DEPTH} levels deep; flatten it.`)

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

/** Addresses that load balancers and monitoring ask, and that go on answering them when somebody else asks too much. */
const HEALTH = /^\/(healthz|readyz|metrics)\b/

/** First of all that is done for a request: whoever asks too much is not worth a look into the store. */
function countAddresses(app: FastifyInstance, { rates }: ServerNeeds['callers']): void {
  const count = createCount(app, rates.address, request => addressOf(request) + (HEALTH.exec(request.url)?.[0] ?? ''))
  app.addHook('onRequest', async request => {
    request.standing = await count(request)
    refuseExceeded(request.standing, 'requests from this address')
  })
}

/** Counts from when it is this answer's turn on its connection. */
function cutWhenNotTaken(answer: ServerResponse, ms: number): void {
  const begin = () => {
    const cut = setTimeout(() => answer.destroy(), ms).unref()
    answer.once('close', () => clearTimeout(cut))
  }
  if (answer.socket) begin()
  else answer.once('socket', begin)
}

/** A connection too many is closed at once. All of a proxy's come from one address, and are its own business. */
function limitConnections(server: Server, most: ServerNeeds['callers']['connections'], behindProxy: boolean): void {
  server.maxConnections = most.all
  if (behindProxy) return
  const open = new Map<string, number>()
  server.on('connection', socket => {
    const address = addressOf({ ip: socket.remoteAddress ?? '' })
    const count = (open.get(address) ?? 0) + 1
    open.set(address, count)
    socket.once('close', () => {
      const left = (open.get(address) ?? 0) - 1
      if (left > 0) open.set(address, left)
      else open.delete(address)
    })
    if (count > most.address) socket.destroy()
  })
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
  const headers = { 'content-length': body.length, 'content-type': PROBLEM_TYPE, connection: 'close', ...HEADERS }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.end(`HTTP/1.1 ${status} ${title}\r\n${lines.join('')}\r\n${body}`)
}
