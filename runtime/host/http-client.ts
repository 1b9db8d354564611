import { lookup as lookupName } from 'node:dns/promises'
import { once } from 'node:events'
import { isIP, type LookupFunction } from 'node:net'
import { pipeline, type Readable, type Transform } from 'node:stream'
import { createBrotliDecompress, createGunzip, createInflate, createInflateRaw } from 'node:zlib'
import { Agent, Pool } from 'undici'
import { RuntimeError } from '../errors.ts'
import { type AddressGuard, isServicePort } from './address-guard.ts'
import { checkRequest, type Hop, labelOf, type OutgoingRequest, redirectOf } from './outgoing-request.ts'

/** What a server answered. Header names are in lower case; the body is decompressed, the headers are as they came. */
export interface IncomingAnswer {
  status: number
  headers: Record<string, string>
  body: Buffer
}

/** Bounds of one request, in bytes, and what breaks it off. */
export interface SendOptions {
  maxSentBytes: number
  /** Counted after decompression. */
  maxReceivedBytes: number
  signal: AbortSignal
  /** Looks at each request before it goes out, redirected ones too; what it throws ends the call. */
  permit?: (hop: Hop) => void
}

/** The client behind `http` in scripts. */
export interface HttpClient {
  /**
   * Sends a request and reads the whole answer, whatever its status; at most five redirects are followed.
   * Throws ARGUMENT_INVALID, HTTP_DENIED, HTTP_TIMEOUT, HTTP_ERROR, HOOK_HTTP_LIMIT, or SHUTTING_DOWN after `close`;
   * when `signal` aborts, its reason if that is a RuntimeError. `data.reason` is the cause's code where there is one.
   */
  send(request: OutgoingRequest, options: SendOptions): Promise<IncomingAnswer>
  /** Ends every request and connection. */
  close(): Promise<void>
}

/** Every address of a host name. */
export type Resolve = (hostname: string) => Promise<{ address: string; family: number }[]>

interface Needs {
  guard: AddressGuard
  /** Default: the machine's own resolver, hosts file included. */
  resolve?: Resolve
  /** How long a server may say nothing, before its answer and within it; default: a minute. */
  silenceMs?: number
}

/** To one origin: as many runs may wait for one slow partner. config/targets.json is what spares a partner. */
const MAX_CONNECTIONS = 1_024
const MAX_REDIRECTS = 5
const CONNECT_TIMEOUT_MS = 10_000
const MAX_ANSWER_HEADER_BYTES = 16_384
const MAX_SILENCE_MS = 60_000

/** More than an incompressible answer grows by, so that a stream that decodes to nothing ends as well. */
const COMPRESSION_SLACK_BYTES = 65_536

const DEFAULT_HEADERS = { 'accept-encoding': 'gzip, deflate, br' }

/** Marks an address that the guard refused; each request waiting for the connection words its own error. */
class AddressRefused extends Error {}

/**
 * Builds the client. Connections are pooled per origin and every pool resolves its host itself: the addresses that the
 * guard has seen are the ones that the socket gets, so no second look-up can slip another one in. An open connection
 * stays with the address that was checked, whatever its name resolves to later; it is not checked again.
 */
export function createHttpClient({ guard, resolve = resolveHere, silenceMs = MAX_SILENCE_MS }: Needs): HttpClient {
  const agent = poolsFor(guard, resolve, silenceMs)

  const exchange = async (hop: Hop, options: SendOptions, signal: AbortSignal): Promise<IncomingAnswer | Hop> => {
    options.permit?.(hop)
    // Sockets do not look up an address that is written as one.
    const { address, port } = endpointOf(hop.url)
    if (isIP(address) !== 0 && !guard.allows(address, port, address)) throw new AddressRefused()
    const answer = await agent.request({
      origin: hop.url.origin,
      path: hop.url.pathname + hop.url.search,
      method: hop.method,
      headers: { ...DEFAULT_HEADERS, ...Object.fromEntries(hop.headers) },
      body: hop.body,
      signal
    })
    const headers = flatten(answer.headers)
    const next = redirectOf(hop, answer.statusCode, headers.location)
    if (next) {
      await answer.body.dump({ limit: 16_384, signal })
      return next
    }
    return {
      status: answer.statusCode,
      headers,
      body: await readBody(answer.body, headers, options.maxReceivedBytes, hop)
    }
  }

  const follow = async (first: Hop, options: SendOptions, signal: AbortSignal): Promise<IncomingAnswer> => {
    let hop = first
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
      signal.throwIfAborted()
      const outcome = await exchange(hop, options, signal).catch(error => {
        throw agent.destroyed ? shuttingDown(hop) : failureOf(hop, error)
      })
      if ('status' in outcome) return outcome
      hop = outcome
    }
    throw new RuntimeError('HTTP_ERROR', `${labelOf(first)}: more than ${MAX_REDIRECTS} redirects`)
  }

  return {
    async send(request, options) {
      const hop = checkRequest(request, options.maxSentBytes)
      return within(hop, request.timeoutMs, options.signal, stopped => follow(hop, options, stopped))
    },
    close: () => agent.destroy()
  }
}

const poolsFor = (guard: AddressGuard, resolve: Resolve, silenceMs: number): Agent =>
  new Agent({
    factory: (origin, options) =>
      new Pool(origin, { ...options, connect: guardedConnect(new URL(origin), guard, resolve) }),
    connections: MAX_CONNECTIONS,
    allowH2: false,
    maxHeaderSize: MAX_ANSWER_HEADER_BYTES,
    // The request's own timer, in `within`, covers everything and is usually shorter.
    headersTimeout: silenceMs,
    bodyTimeout: silenceMs,
    keepAliveMaxTimeout: 30_000
  })

const resolveHere: Resolve = hostname => lookupName(hostname, { all: true })

function endpointOf(url: URL): { address: string; port: number } {
  const port = url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port)
  return { address: url.hostname.replace(/^\[|\]$/g, ''), port }
}

/** How sockets to one origin are made: one look-up, and a single refused address among the answers refuses them all. */
function guardedConnect(origin: URL, guard: AddressGuard, resolve: Resolve): Pool.Options['connect'] {
  const { port } = endpointOf(origin)
  const lookup: LookupFunction = (hostname, _options, callback) => {
    resolve(hostname).then(
      addresses => {
        const refused = addresses.some(({ address }) => !guard.allows(hostname, port, address))
        callback(refused ? new AddressRefused() : null, addresses)
      },
      error => callback(error, [])
    )
  }
  // `autoSelectFamily` makes sockets ask for, and try, all addresses; `rejectUnauthorized` beats the environment's switch.
  return { lookup, autoSelectFamily: true, rejectUnauthorized: true, timeout: CONNECT_TIMEOUT_MS }
}

/** Runs `work` until it ends, the time is over or `signal` aborts: whichever is first, even if `work` does not notice. */
async function within<T>(hop: Hop, timeoutMs: number, signal: AbortSignal, work: (stopped: AbortSignal) => Promise<T>) {
  const stop = new AbortController()
  const { promise: ended, reject } = Promise.withResolvers<never>()
  const late = () => reject(new RuntimeError('HTTP_TIMEOUT', `${labelOf(hop)}: no answer within ${timeoutMs} ms`))
  const brokenOff = () => {
    const { reason } = signal
    const error = new RuntimeError('HTTP_ERROR', `${labelOf(hop)}: broken off`, { cause: reason })
    reject(reason instanceof RuntimeError ? reason : error)
  }
  const timer = setTimeout(late, timeoutMs)
  signal.addEventListener('abort', brokenOff)
  if (signal.aborted) brokenOff()
  try {
    return await Promise.race([ended, work(stop.signal)])
  } catch (error) {
    // Closes the connection of an answer that nobody reads on. A request that still waits for one is dropped unsent.
    stop.abort(error)
    throw error
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', brokenOff)
  }
}

function flatten(headers: Record<string, string | string[] | undefined>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value].flat().join(', ')]))
}

async function readBody(body: Readable, headers: Record<string, string>, limit: number, hop: Hop): Promise<Buffer> {
  const tooLarge = () =>
    new RuntimeError(
      'HOOK_HTTP_LIMIT',
      `${labelOf(hop)}: the answer has more than ${limit} bytes; ask for less at a time`
    )
  const coding = (headers['content-encoding'] ?? '').trim().toLowerCase()
  const chunks: Buffer[] = []
  for await (const chunk of atMost(limit, tooLarge, await decoded(body, coding, limit, tooLarge, hop)))
    chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** Passes on chunks up to `limit` bytes in all; with the first byte too many it throws, which destroys the source. */
async function* atMost(limit: number, tooLarge: () => Error, source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let size = 0
  for await (const chunk of source) {
    size += chunk.length
    if (size > limit) throw tooLarge()
    yield chunk
  }
}

async function decoded(
  body: Readable,
  coding: string,
  limit: number,
  tooLarge: () => Error,
  hop: Hop
): Promise<Readable> {
  if (coding === '' || coding === 'identity') return body
  await once(body, 'readable')
  const head: Buffer | null = body.read()
  if (head === null) return body
  body.unshift(head)
  const decoder = decoderOf(coding, head)
  if (!decoder) {
    const message = `${labelOf(hop)}: the answer's content-encoding is not one of gzip, deflate, br (one of them, once)`
    throw new RuntimeError('HTTP_ERROR', message)
  }
  const bounded = (source: AsyncIterable<Buffer>) => atMost(limit + COMPRESSION_SLACK_BYTES, tooLarge, source)
  // Whoever reads the decoder sees every failure, so the callback has nothing to add.
  return pipeline(body, bounded, decoder, () => {})
}

function decoderOf(coding: string, head: Buffer): Transform | null {
  if (coding === 'gzip' || coding === 'x-gzip') return createGunzip()
  if (coding === 'br') return createBrotliDecompress()
  if (coding !== 'deflate') return null
  // Some servers send raw deflate data where the standard wants a zlib header around it: its first byte tells.
  return ((head[0] ?? 0) & 0x0f) === 8 ? createInflate() : createInflateRaw()
}

/** What went wrong, by the error's code; the first row that matches says it. */
const FAILURES: [RegExp, string][] = [
  [/^(ENOTFOUND|EAI_.*|ENODATA)$/, 'its name cannot be resolved'],
  [/^ECONNREFUSED$/, 'the connection was refused'],
  [
    /^(ECONNRESET|EPIPE|UND_ERR_SOCKET)$/,
    'the connection was lost before the answer was complete; whether it took effect is unknown'
  ],
  [/^(EHOSTUNREACH|ENETUNREACH|EADDRNOTAVAIL)$/, 'there is no way to its address'],
  [/CERT|^UNABLE_TO_/, 'its certificate is not trusted; an operator adds a private authority with NODE_EXTRA_CA_CERTS'],
  [/^(ERR_SSL_.*|ERR_TLS_.*|EPROTO)$/, 'no TLS connection could be agreed on'],
  [/^UND_ERR_HEADERS_OVERFLOW$/, `the answer's headers have more than ${MAX_ANSWER_HEADER_BYTES} bytes`],
  [/^(Z_|ERR__ERROR_)/, "the answer's compressed data is damaged"],
  [/^(HTTPParserError|HPE_.*|UND_ERR_RES_.*)$/, 'the answer is no valid HTTP']
]

function failureOf(hop: Hop, error: unknown): RuntimeError {
  if (error instanceof RuntimeError) return error
  const label = labelOf(hop)
  if (error instanceof AddressRefused) {
    const { port } = endpointOf(hop.url)
    const why = isServicePort(port) ? `port ${port} is not one for HTTP` : 'its address is not on the public internet'
    return new RuntimeError('HTTP_DENIED', `${label}: ${why}; an operator can open it with SANDHOOK_HTTP_ALLOW`)
  }
  const { name, message, code = name } = error as Error & { code?: string }
  // Only the message: a parser's error also carries the bytes of the answer, which may hold secrets.
  const details = { cause: message, data: { reason: code } }
  if (code === 'UND_ERR_CONNECT_TIMEOUT' || code === 'ETIMEDOUT') {
    return new RuntimeError('HTTP_TIMEOUT', `${label}: no connection within ${CONNECT_TIMEOUT_MS} ms`, details)
  }
  if (code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT') {
    return new RuntimeError('HTTP_TIMEOUT', `${label}: the server was silent for too long`, details)
  }
  const why = FAILURES.find(([pattern]) => pattern.test(code))?.[1] ?? 'the request failed'
  return new RuntimeError('HTTP_ERROR', `${label}: ${why} (${code})`, details)
}

const shuttingDown = (hop: Hop): RuntimeError =>
  new RuntimeError('SHUTTING_DOWN', `${labelOf(hop)}: broken off because the runtime is stopping`)
