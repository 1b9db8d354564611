import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { v7 as uuid } from 'uuid'
import type { Alias } from '../config-files.ts'
import { RuntimeError } from '../errors.ts'
import type { Execution, HookEvent, Json } from '../model.ts'
import type { ExecutionStore } from '../store/executions.ts'
import type { PublishedHook } from '../store/hooks.ts'
import { newExecution } from '../store/queue.ts'
import type { Scope, Token } from '../store/tokens.ts'
import type { AttemptRequest, RunAttempt } from './attempt.ts'
import { createCallPlaces } from './call-places.ts'
import type { Registry, Snapshot } from './registry.ts'
import type { AttemptReport } from './run-record.ts'

export interface CallRouteNeeds {
  registry: Registry
  runAttempt: RunAttempt
  record: ExecutionStore['record']
  authorize: (request: FastifyRequest, ...anyOf: Scope[]) => Promise<Token>
  /** The same for a public hook, whose callers may have an Authorization that is the script's business: null then. */
  recognise: (request: FastifyRequest, ...anyOf: Scope[]) => Promise<Token | null>
  /** Calls that a hook may have under way at once, unless its limits say otherwise. */
  concurrency: number
  /** Fires when the node shuts down. */
  signal: AbortSignal
  /** Further addresses of hooks: those that partners' documents name. */
  aliases: Alias[]
}

/** The hook that a request calls, and the hooks among which it was found. */
interface CallTarget {
  hooks: Snapshot
  found: PublishedHook
  variables: Record<string, string>
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Set on the addresses of hooks. */
    target: CallTarget
  }
}

/** The event key of a call over HTTP in the history; no hook is subscribed to it. */
export const CALL_KEY = 'HTTP_CALL'

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const

/** Longer than any hook may run, waiting for a runner included. */
const CALL_MS = 1_200_000

/** Who may call hooks that are not public, beside admins. */
const CALLERS = ['hooks:call', 'merchant'] as const satisfies Scope[]

const json = { 'application/json': { schema: {} } }
const spoken = { description: 'What the script answers', content: json }
const refused = {
  description: 'What the script answers; or a problem, when there is no such hook, or its run failed',
  content: { ...json, 'application/problem+json': { schema: { $ref: 'Problem#' } } }
}
const ANSWERS = { '2xx': spoken, '3xx': spoken, '4xx': refused, '5xx': refused }

/** `ANY /custom/<path>`: runs that hook now and answers what it answers. */
export const callRoutes = (needs: CallRouteNeeds): FastifyPluginAsyncTypebox => {
  const enter = createCallPlaces(needs.concurrency)
  return async app => {
    app.decorateRequest('target', null as unknown as CallTarget)
    app.addContentTypeParser(
      'application/x-www-form-urlencoded',
      { parseAs: 'string' },
      async (_request: FastifyRequest, body: string | Buffer) => Object.fromEntries(new URLSearchParams(String(body)))
    )
    app.addContentTypeParser(
      '*',
      { parseAs: 'string' },
      async (_request: FastifyRequest, body: string | Buffer) => body
    )
    const route = (url: string, pathOf: (request: FastifyRequest) => string) =>
      app.route({
        method: [...METHODS],
        url,
        schema: {
          tags: ['Hooks'],
          summary: 'Call a hook now',
          description:
            'Needs a token with `hooks:call` unless the hook is public. Answers the script’s return value, what ' +
            '`response.json` was given, or a problem.',
          security: [...['admin', ...CALLERS].map(scope => ({ bearer: [scope] })), {}],
          response: ANSWERS
        },
        handlerTimeout: CALL_MS,
        // Before the body is read: a stranger's megabytes are not worth parsing.
        onRequest: async request => {
          request.target = await targetOf(needs, pathOf(request), request)
        },
        preHandler: async ({ body }) => refuseDeep(body),
        handler: async (request, reply) => {
          const leave = enter(request.target.found.hook)
          return call(needs, pathOf(request), request, reply).finally(leave)
        }
      })
    route('/custom/*', request => `/custom/${(request.params as { '*': string })['*']}`)
    for (const { path, hook } of needs.aliases) route(path, () => hook)
  }
}

const MOST_LEVELS = 1_000

/** Throws REQUEST_INVALID for a body with more levels than can be counted on to fit a stack everywhere on its way. */
function refuseDeep(body: unknown): void {
  let level = [body]
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MOST_LEVELS)
      throw new RuntimeError('REQUEST_INVALID', `The body has more than ${MOST_LEVELS} levels; send it flatter.`)
    level = level.flatMap(value => (typeof value === 'object' && value !== null ? Object.values(value) : []))
  }
}

/** The hook that this caller may call here. */
async function targetOf(needs: CallRouteNeeds, path: string, request: FastifyRequest): Promise<CallTarget> {
  const hooks = await needs.registry.current()
  const open = hooks.byPath(path, null)
  const admit = open?.found.hook.public === true ? needs.recognise : needs.authorize
  const token = await admit(request, ...CALLERS)
  const target = hooks.byPath(path, token?.merId ?? null)
  if (target?.found.hook.enabled) return { hooks, ...target }
  throw new RuntimeError('NOT_FOUND', `No enabled hook answers ${path}; check its path and whether it is enabled.`)
}

async function call(
  needs: CallRouteNeeds,
  path: string,
  request: FastifyRequest,
  reply: FastifyReply
): Promise<unknown> {
  const { hooks, found, variables } = request.target
  const { hook } = found
  const event = toEvent(request, path, variables, hook.merId)
  const execution: Execution = { ...newExecution(event, hook, event.timestamp), status: 'running', runs: 1 }
  const signal = AbortSignal.any([needs.signal, abortedWith(reply)])
  const globals = globalsOf(request, variables)
  const report = await runUntilItEnds(needs.runAttempt, {
    ...{ event, execution, published: found, hooks, signal },
    request: { request: event.payload, globals }
  })
  const { payload: _unstored, ...rest } = event
  await needs.record(
    { ...rest, payload: { method: request.method, path } },
    finishedAs(execution, report),
    report.attempt
  )
  return answer(report, reply)
}

const MAX_RUNS = 3

/** A run whose runner another one has killed is made again, as an event's would be: its caller only waits longer. */
async function runUntilItEnds(runAttempt: RunAttempt, request: AttemptRequest): Promise<AttemptReport> {
  for (let runs = 1, crashes = 0; ; runs++) {
    const report = await runAttempt({ ...request, execution: { ...request.execution, runs, crashes } })
    if (report.error?.code !== 'RUNNER_LOST' || report.blame === 'proven' || runs === MAX_RUNS) return report
    if (report.blame === 'suspected') crashes = 1
  }
}

/** Headers that a script must not see, nor the history. */
const HIDDEN_HEADERS = new Set(['authorization', 'cookie', 'proxy-authorization'])

function toEvent(
  request: FastifyRequest,
  path: string,
  variables: Record<string, string>,
  merId: HookEvent['merId']
): HookEvent {
  const payload = {
    method: request.method,
    path,
    variables,
    query: request.query as Json,
    headers: visibleHeaders(request),
    body: (request.body ?? null) as Json
  }
  return { id: uuid(), eventKey: CALL_KEY, payload, timestamp: Date.now(), merId, key: null, source: 'call', depth: 0 }
}

const visibleHeaders = (request: FastifyRequest): Record<string, string> =>
  Object.fromEntries(
    Object.entries(request.headers)
      .filter(([name]) => !HIDDEN_HEADERS.has(name))
      .map(([name, value]) => [name, String(value)])
  )

/** `path`, `param`, `body`, `header`, as the platform's interface scripts know them. */
function globalsOf(request: FastifyRequest, variables: Record<string, string>): Record<string, Json> {
  const isForm = request.headers['content-type']?.startsWith('application/x-www-form-urlencoded') === true
  const form = isForm ? (request.body as Record<string, string>) : {}
  return {
    path: variables,
    param: { ...(request.query as Record<string, string>), ...form },
    body: (request.body ?? null) as Json,
    header: visibleHeaders(request)
  }
}

/** Fires when the caller hangs up. */
function abortedWith(reply: FastifyReply): AbortSignal {
  const controller = new AbortController()
  reply.raw.once('close', () => controller.abort())
  return controller.signal
}

function finishedAs(execution: Execution, { error, attempt }: AttemptReport): Execution {
  const finishedAt = Date.now()
  return {
    ...execution,
    ...{ status: error ? 'failed' : 'succeeded', attempts: 1, nextAttemptAt: null },
    ...{ startedAt: attempt.startedAt, finishedAt, durationMs: finishedAt - attempt.startedAt },
    ...{ result: attempt.result, error: attempt.error }
  }
}

/** What the script answered; a failure that it did not put in its own words is a problem. */
function answer({ error, result, response }: AttemptReport, reply: FastifyReply): unknown {
  const spoke = error === null || error.code === 'HOOK_FAILED' || error.code === 'HOOK_REJECTED'
  if (!spoke && error.code !== 'HOOK_EXITED') throw error
  if (error?.code === 'HOOK_EXITED') return reply.code(statusOf(error.data?.exitCode)).send(result)
  for (const [name, value] of Object.entries(response?.headers ?? {})) setHeader(reply, name, value)
  const body = response && 'body' in response ? response.body : result
  return reply
    .code(statusOf(response?.status ?? 200))
    .type('application/json; charset=utf-8')
    .send(JSON.stringify(body ?? null))
}

const statusOf = (code: unknown): number =>
  Number.isInteger(code) && Number(code) >= 200 && Number(code) <= 599 ? Number(code) : 500

/** Headers that would change how the answer is framed, whose it is, or how a browser guards it, stay ours. */
const OWN_HEADERS =
  /^(content-(length|type|encoding|security-policy.*)|transfer-encoding|connection|keep-alive|trailer|upgrade|alt-svc|set-cookie|strict-transport-security|x-content-type-options|x-frame-options|referrer-policy|permissions-policy|cross-origin-.*|clear-site-data|service-worker-allowed|ratelimit.*)$/i

function setHeader(reply: FastifyReply, name: string, value: string): void {
  if (!OWN_HEADERS.test(name) && /^[\w-]+$/.test(name) && /^[\t\x20-\x7e\x80-\xff]*$/.test(value))
    reply.header(name, value)
}
