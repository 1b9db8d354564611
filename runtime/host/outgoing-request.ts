import { RuntimeError } from '../errors.ts'

/** A request as a script asks for it; the body is text already. */
export interface OutgoingRequest {
  method: string
  url: string
  headers: Record<string, string>
  body: string | null
  /** Milliseconds from the start to the last byte of the answer, redirects included. At least 1. */
  timeoutMs: number
}

/** One request on its way: what was asked for, checked, or what a redirect made of it. */
export interface Hop {
  method: Method
  url: URL
  /** Names in lower case. */
  headers: Map<string, string>
  body: Buffer | null
}

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const
type Method = (typeof METHODS)[number]

const MAX_URL_LENGTH = 8192
const MAX_HEADER_BYTES = 32_768

/** They frame the message or steer the connection: the client's own, or a way to smuggle a second request. */
const RESERVED_HEADER =
  /^(host|content-length|transfer-encoding|connection|keep-alive|upgrade|te|trailer|expect|proxy-.*)$/

/** Headers that prove who is asking, or must mean something to one server only. Rather one too many than one too few. */
const CREDENTIAL_HEADER = /auth|cookie|token|secret|passw|credential|session|sign|key/

/** What describes a body and goes with it. */
const BODY_HEADERS = ['content-type', 'content-encoding', 'content-language', 'content-location']

/** How messages call a request: method and host, never the path, query, headers or body, which may hold secrets. */
export const labelOf = (hop: { method: string; url: URL }): string => `${hop.method} ${hop.url.host}`

/** A request's address. Throws ARGUMENT_INVALID. */
export function urlOf({ method, url }: OutgoingRequest): URL {
  const parsed = URL.parse(url)
  if (parsed) return parsed
  const remedy = 'write it whole, as in https://erp.example.com/orders'
  throw new RuntimeError('ARGUMENT_INVALID', `http ${method.slice(0, 10)}: the address is no valid URL; ${remedy}`)
}

/**
 * Checks a script's request. Throws ARGUMENT_INVALID for what is malformed or too large for any server, HTTP_DENIED
 * for what scripts may not do, HOOK_HTTP_LIMIT for a body above `maxSentBytes`. Which hosts may be reached is not
 * decided here.
 */
export function checkRequest(request: OutgoingRequest, maxSentBytes: number): Hop {
  const method = METHODS.find(known => known === request.method.toUpperCase())
  if (!method)
    throw new RuntimeError('HTTP_DENIED', `http: the method is not allowed; use one of ${METHODS.join(', ')}`)
  const url = urlOf(request)
  checkUrl(method, url)
  const label = labelOf({ method, url })
  const headers = checkHeaders(label, request.headers)
  const body = request.body === null ? null : Buffer.from(request.body)
  if (body && body.length > maxSentBytes) {
    const message = `${label}: the body has ${body.length} bytes, above the limit of ${maxSentBytes}; send less at a time`
    throw new RuntimeError('HOOK_HTTP_LIMIT', message)
  }
  return { method, url, headers, body }
}

/**
 * What follows an answer that redirects, or null when it does not. As the Fetch standard has it: 303, and a POST's 301
 * or 302, become a GET without a body; 307, 308 and other methods are repeated as they are. What looks like a
 * credential stays behind when the origin changes. Throws HTTP_DENIED for a target that scripts may not name and for
 * a step from https to http, HTTP_ERROR for a target that is no address.
 */
export function redirectOf(hop: Hop, status: number, location: string | undefined): Hop | null {
  if (![301, 302, 303, 307, 308].includes(status) || location === undefined) return null
  const url = URL.parse(location, hop.url)
  if (!url) throw new RuntimeError('HTTP_ERROR', `${labelOf(hop)}: redirects to something that is no address`)
  checkUrl(hop.method, url)
  if (hop.url.protocol === 'https:' && url.protocol === 'http:') {
    throw new RuntimeError('HTTP_DENIED', `${labelOf(hop)}: redirects from https to http, which is not followed`)
  }
  const headers = new Map(hop.headers)
  if (url.origin !== hop.url.origin) {
    for (const name of hop.headers.keys()) if (CREDENTIAL_HEADER.test(name)) headers.delete(name)
  }
  const read = hop.method === 'GET' || hop.method === 'HEAD'
  if (status === 303 ? read : status > 303 || hop.method !== 'POST') return { ...hop, url, headers }
  for (const name of BODY_HEADERS) headers.delete(name)
  return { method: 'GET', url, headers, body: null }
}

function checkUrl(method: string, url: URL): void {
  if (url.href.length > MAX_URL_LENGTH) {
    const message = `http ${method}: the address has ${url.href.length} characters; at most ${MAX_URL_LENGTH} are allowed`
    throw new RuntimeError('ARGUMENT_INVALID', message)
  }
  const denied = (why: string) => new RuntimeError('HTTP_DENIED', `${method} ${url.host || 'address'}: ${why}`)
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw denied(`${url.protocol} is not allowed; use https:`)
  if (url.username || url.password) {
    throw denied('user and password in the address are not allowed; send an Authorization header')
  }
  if (url.port === '0') throw denied('port 0 is none; use 1 to 65535')
}

function checkHeaders(label: string, given: Record<string, string>): Map<string, string> {
  const invalid = (why: string) => new RuntimeError('ARGUMENT_INVALID', `${label}: ${why}`)
  const headers = new Map<string, string>()
  let bytes = 0
  for (const [spelled, value] of Object.entries(given)) {
    const shown = JSON.stringify(spelled.slice(0, 60))
    const name = spelled.toLowerCase()
    if (!/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name)) throw invalid(`${shown} is no header name`)
    if (RESERVED_HEADER.test(name)) {
      throw new RuntimeError('HTTP_DENIED', `${label}: the header ${shown} is set by the runtime; leave it out`)
    }
    if (headers.has(name)) throw invalid(`the header ${shown} is given twice, in different spellings`)
    if (!/^[\t\x20-\x7e\x80-\xff]*$/.test(value)) {
      throw invalid(`the header ${shown} holds a character that headers cannot carry; use encodeURIComponent`)
    }
    bytes += name.length + value.length
    if (bytes > MAX_HEADER_BYTES) throw invalid(`the headers have more than ${MAX_HEADER_BYTES} bytes`)
    headers.set(name, value)
  }
  return headers
}
