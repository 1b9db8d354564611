import { createHash } from 'node:crypto'
import { RuntimeError } from '../errors.ts'
import type { Limits } from '../model.ts'
import type { HttpClient, IncomingAnswer } from './http-client.ts'
import type { OutgoingRequest } from './outgoing-request.ts'
import type { Targets } from './targets.ts'

/** A request as the facade hands it over. */
export interface ScriptRequest {
  method: string
  url: string
  headers: Record<string, string>
  body: string | null
  /** Milliseconds; at most what the run's wall clock allows. */
  timeout?: number
  responseType?: string
  /** What to do when the target takes no more calls now; default: as config/targets.json says. */
  whenFull?: 'queue' | 'throw'
}

/** What the facade makes the script's answer from. */
export interface ScriptAnswer {
  status: number
  headers: Record<string, string>
  text: string
  /** Method's host, for messages. */
  origin: string
}

/** Completed calls of an attempt, kept so that a run that the runtime broke off need not repeat them. */
export interface Journal {
  /** The answer that an earlier run got to the same request at the same place; null: none. */
  find: (callNo: number, fingerprint: string) => ScriptAnswer | null
  /** Keeps an answer durably. */
  keep: (callNo: number, fingerprint: string, answer: ScriptAnswer) => Promise<void>
}

export interface HttpNeeds {
  client: HttpClient
  limits: Limits
  /** Idempotency keys are made of this and the call's number. */
  executionId: string
  journal: Journal
  targets: Targets
  signal: AbortSignal
}

const DEFAULT_TIMEOUT_MS = 10_000
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS'])

/** `http` for one run: each call that can change something has a number, an idempotency key and a journal entry. */
export function createHttpHost({ client, limits, executionId, journal, targets, signal }: HttpNeeds) {
  let changing = 0

  async function send(request: ScriptRequest): Promise<{ answer: ScriptAnswer; replayed: boolean }> {
    const outgoing = toOutgoing(request, limits)
    if (SAFE.has(outgoing.method)) return { answer: await perform(outgoing, request), replayed: false }
    const callNo = ++changing
    outgoing.headers['idempotency-key'] ??= `${executionId}:${callNo}`
    const fingerprint = fingerprintOf(outgoing)
    const known = journal.find(callNo, fingerprint)
    if (known) return { answer: known, replayed: true }
    const answer = await perform(outgoing, request)
    await journal.keep(callNo, fingerprint, answer)
    return { answer, replayed: false }
  }

  async function perform(outgoing: OutgoingRequest, request: ScriptRequest): Promise<ScriptAnswer> {
    const options = { maxSentBytes: limits.httpSentBytes, maxReceivedBytes: limits.httpReceivedBytes, signal }
    const { timeoutMs } = outgoing
    const call = { url: new URL(outgoing.url), executionId, timeoutMs, whenFull: request.whenFull }
    const leave = await targets.enter(call)
    let ok = false
    try {
      const answer = await client.send(outgoing, options)
      ok = answer.status < 500
      return toScript(answer, outgoing, request)
    } finally {
      await leave(ok)
    }
  }

  return { send }
}

function toScript(answer: IncomingAnswer, outgoing: OutgoingRequest, request: ScriptRequest): ScriptAnswer {
  const { status, headers } = answer
  return { status, headers, text: textOf(answer, request.responseType), origin: new URL(outgoing.url).host }
}

/** Checks what the facade promised: a script may have made the frame itself. */
function toOutgoing(request: ScriptRequest, limits: Limits): OutgoingRequest {
  const { method, url, headers, body, timeout = DEFAULT_TIMEOUT_MS } = request
  const wellFormed =
    typeof method === 'string' &&
    typeof url === 'string' &&
    (body === null || typeof body === 'string') &&
    Object.values(headers ?? {}).every(value => typeof value === 'string')
  if (!wellFormed) throw new RuntimeError('ARGUMENT_INVALID', 'http: method, url, headers and body must be texts.')
  if (typeof timeout !== 'number' || !(timeout >= 1))
    throw new RuntimeError('ARGUMENT_INVALID', 'http: timeout must be a number of milliseconds, 1 or more.')
  const timeoutMs = Math.ceil(Math.min(timeout, limits.wallMs))
  return { method: method.toUpperCase(), url, headers: { 'user-agent': 'Sandhook', ...headers }, body, timeoutMs }
}

const fingerprintOf = ({ method, url, body }: OutgoingRequest): string =>
  createHash('sha256')
    .update(`${method} ${url}\n${body ?? ''}`)
    .digest('hex')

const textOf = ({ body }: IncomingAnswer, responseType: string | undefined): string =>
  responseType === 'base64' ? body.toString('base64') : body.toString('utf8')
