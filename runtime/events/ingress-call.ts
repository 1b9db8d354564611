import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { v7 as uuid } from 'uuid'
import type { Alias } from '../config-files.ts'
import { RuntimeError } from '../errors.ts'
import type { Execution, HookEvent, Json } from '../model.ts'
import type { ExecutionStore } from '../store/executions.ts'
import { newExecution } from '../store/queue.ts'
import type { Scope, Token } from '../store/tokens.ts'
import type { AttemptReport, RunAttempt } from './attempt.ts'
import type { Registry } from './registry.ts'

export interface CallRouteNeeds {
  registry: Registry
  runAttempt: RunAttempt
  record: ExecutionStore['record']
  authorize: (request: FastifyRequest, ...anyOf: Scope[]) => Promise<Token>
  /** Fires when the node shuts down. */
  signal: AbortSignal
  /** Further addresses of hooks: those that partners' documents name. */
  aliases: Alias[]
}

/** The event key of a call over HTTP in the history; no hook is subscribed to it. */
export const CALL_KEY = 'HTTP_CALL'

const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const

/** `ANY /custom/<path>`: runs that hook now and answers what it answers. */
export const callRoutes = (needs: CallRouteNeeds): FastifyPluginAsyncTypebox => {
  return async app => {
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
          security: [{ bearer: [] }, {}]
        },
        handler: (request, reply) => call(needs, pathOf(request), request, reply)
      })
    route('/custom/*', request => `/custom/${(request.params as { '*': string })['*']}`)
    for (const { path, hook } of needs.aliases) route(path, () => hook)
  }
}

async function call(
  needs: CallRouteNeeds,
  path: string,
  request: FastifyRequest,
  reply: FastifyReply
): Promise<unknown> {
  const hooks = await needs.registry.current()
  const open = hooks.byPath(path, null)
  const token = await needs.authorize(request, 'hooks:call', 'merchant').catch(error => {
    // A public hook's callers may have an Authorization of their own, which is the script's business.
    if (open?.found.hook.public === true) return null
    throw error
  })
  const target = hooks.byPath(path, token?.merId ?? null)
  if (!target?.found.hook.enabled)
    throw new RuntimeError('NOT_FOUND', `No enabled hook answers ${path}; check its path and whether it is enabled.`)

  const { hook } = target.found
  const event = toEvent(request, path, target.variables, hook.merId)
  const execution: Execution = { ...newExecution(event, hook, event.timestamp), status: 'running', runs: 1 }
  const signal = AbortSignal.any([needs.signal, abortedWith(reply)])
  const globals = globalsOf(request, target.variables)
  const report = await needs.runAttempt({
    ...{ event, execution, published: target.found, hooks, signal },
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

/** Headers that would change how the answer is framed, or whose it is, stay ours. */
const OWN_HEADERS = /^(content-length|transfer-encoding|connection|set-cookie|strict-transport-security|content-type)$/i

function setHeader(reply: FastifyReply, name: string, value: string): void {
  if (!OWN_HEADERS.test(name) && /^[\w-]+$/.test(name) && !/[\r\n\0]/.test(value)) reply.header(name, value)
}
