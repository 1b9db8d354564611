import { createHash } from 'node:crypto'
import { asRuntimeError, RuntimeError } from '../errors.ts'
import type { Limits } from '../model.ts'
import type { CallEnd, Caller } from './breakers.ts'
import type { HttpClient, IncomingAnswer } from './http-client.ts'
import { type Hop, type OutgoingRequest, urlOf } from './outgoing-request.ts'
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
  hook: Caller
  /** Idempotency keys are made of this and the call's number. */
  executionId: string
  journal: Journal
  targets: Targets
  /** Refuses what must not leave (secret-hosts.ts). */
  permit: (hop: Hop) => void
  signal: AbortSignal
}

const DEFAULT_TIMEOUT_MS = 10_000
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS'])
/** A call that was broken off with its run after so long, in milliseconds, was waiting for a host that is too slow. */
const SLOW_MS = 5_000

/** `http` for one run: each call that can change something has a number, an idempotency key and a journal entry. */
export function createHttpHost(needs: HttpNeeds) {
  const { client, limits, hook, executionId, journal, targets, permit, signal } = needs
  let changing = 0
  let out: Promise<unknown> = Promise.resolve()

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
    const options = { maxSentBytes: limits.httpSentBytes, maxReceivedBytes: limits.httpReceivedBytes, signal, permit }
    const url = urlOf(outgoing)
    const { timeoutMs } = outgoing
    const leave = await targets.enter({ url, hook, executionId, timeoutMs, whenFull: request.whenFull })
    const begun = performance.now()
    let end: CallEnd = 'unsaid'
    try {
      const answer = await client.send(outgoing, options)
      end = answer.status < 500 ? 'well' : 'badly'
      return toScript(answer, url.host, request)
    } catch (error) {
      end = endOf(asRuntimeError(error), performance.now() - begun)
      throw error
    } finally {
      await leave(end)
    }
  }

  return {
    send(request: ScriptRequest) {
      const sent = send(request)
      out = sent.catch(() => {})
      return sent
    },
    /** Resolves when the call that is out has its answer, kept in the journal, or has failed. */
    idle: () => out
  }
}

/** What a failed call says of its host: nothing when the request was refused here, or the run was broken off. */
function endOf({ code, data, cause }: RuntimeError, afterMs: number): CallEnd {
  if (code === 'HTTP_TIMEOUT' || (code === 'HTTP_ERROR' && data?.reason !== undefined)) return 'badly'
  return code === 'HTTP_ERROR' && cause !== undefined && afterMs >= SLOW_MS ? 'badly' : 'unsaid'
}

function toScript(answer: IncomingAnswer, origin: string, request: ScriptRequest): ScriptAnswer {
  const { status, headers } = answer
  return { status, headers, text: textOf(answer, request.responseType), origin }
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
