import { type ErrorCode, errorTable } from '../../runtime/errors.ts'
import { type Operation, operationAt } from './document.ts'
import type { Received, Sent } from './send.ts'

/** A token as the fuzz knows it. */
export interface KnownToken {
  scopes: string[]
  merId: number | string | null
  /** From this moment on it lets nobody in, in milliseconds since the epoch. */
  until: number
}

/** A request and all that is known of it. */
export interface Exchange {
  sent: Sent
  answer: Received
  /** Null: it had none, or one that lets nobody in. */
  token: KnownToken | null
  /** Whether the address says what it means: nothing in it can be read in two ways. */
  clean: boolean
  /** When it was sent, and when its answer was there. */
  at: number
  answeredAt: number
}

export interface JudgeNeeds {
  operations: Operation[]
  /** Values that no answer may have in it. */
  secrets: ReadonlySet<string>
}

const STATUS_OF = new Map<string, number>(errorTable().map(({ code, status }) => [code, status]))
const HEADERS = { 'x-content-type-options': 'nosniff', 'referrer-policy': 'no-referrer', 'cache-control': 'no-store' }
/** What a script has caused, or a partner of its: not ours. */
const OF_SCRIPTS = /^(HOOK|DB|HTTP|LIBRARY|ARGUMENT)_/

/** Throws, with the whole exchange in words, when an answer is not what the document and the rules allow. */
export function judge(exchange: Exchange, { operations, secrets }: JudgeNeeds): void {
  const { sent, answer } = exchange
  const operation = operationAt(operations, sent.method, sent.path.split('?')[0] ?? '')
  const faults = [
    ...faultsOfForm(answer, sent.method === 'HEAD'),
    ...(operation ? faultsOfMeaning(exchange, operation) : faultsOfNowhere(answer)),
    ...leaks(exchange, operation, secrets)
  ]
  if (faults.length > 0) throw new Error(`${faults.join('\n')}\n\n${inWords(exchange)}`)
}

/** Answers that have no body, whatever their headers say. */
const BODILESS = [204, 205, 304]

const typeOf = ({ status, headers }: Received): string =>
  BODILESS.includes(status) ? '' : (String(headers['content-type'] ?? '').split(';')[0] ?? '')

const bodyOf = (answer: Received): unknown => (typeOf(answer).endsWith('json') ? JSON.parse(answer.text) : answer.text)

function faultsOfForm(answer: Received, bodiless: boolean): string[] {
  const missing = Object.entries(HEADERS).filter(([name, value]) => answer.headers[name] !== value)
  const faults = missing.map(([name]) => `the header ${name} is ${answer.headers[name]}`)
  if (!String(answer.headers['content-security-policy']).includes("frame-ancestors 'none'"))
    faults.push('no content security policy')
  if (answer.status === 401 && !answer.headers['www-authenticate'] && typeOf(answer).includes('problem'))
    faults.push('a 401 without WWW-Authenticate')
  if (answer.status === 405 && !answer.headers.allow) faults.push('a 405 without Allow')
  if (Object.keys(answer.headers).some(name => name.startsWith('access-control'))) faults.push('other sites are let in')
  if (bodiless && answer.text !== '') faults.push('HEAD is answered with a body')
  return bodiless || typeOf(answer) !== 'application/problem+json' ? faults : [...faults, ...faultsOfProblem(answer)]
}

function faultsOfProblem(answer: Received): string[] {
  const { code, status } = bodyOf(answer) as { code: ErrorCode; status: number }
  if (!STATUS_OF.has(code)) return [`${code} is not in the table of errors`]
  return status === answer.status && STATUS_OF.get(code) === status
    ? []
    : [`${code} with ${answer.status}, and ${status} in its body`]
}

function faultsOfMeaning(exchange: Exchange, operation: Operation): string[] {
  const { sent, answer } = exchange
  const { status } = answer
  const body = sent.method === 'HEAD' ? null : bodyOf(answer)
  const own =
    operation.scripted &&
    (/^(application\/json)?$/.test(typeOf(answer)) || OF_SCRIPTS.test(String((body as { code?: string } | null)?.code)))
  return [
    ...(status >= 500 && !own && !(sent.method === 'HEAD' && operation.scripted)
      ? [`${status}: a failure of ours`]
      : []),
    ...(operation.declares(status) ? [] : [`${operation.name} does not declare ${status}`]),
    ...(sent.method === 'HEAD' ? [] : [operation.faultOf(status, typeOf(answer), body) ?? []].flat()),
    ...(own ? [] : faultsOfAccess(exchange, operation))
  ]
}

/** What two clocks may differ by, and what it takes from asking for a revocation to its commit. */
const TOLERANCE_MS = 2_000

/** Whether the token may have ended while a request was under way: then it is let in, or not. */
const endsBetween = ({ until }: KnownToken, from: number, to: number): boolean =>
  until > from - TOLERANCE_MS && until < to + TOLERANCE_MS

/** Who gets in is what the document says, whatever else is wrong with a request. */
function faultsOfAccess(
  { token, clean, at, answeredAt, answer: { status } }: Exchange,
  { scopes, scripted }: Operation
): string[] {
  if (scopes === null || scripted || (token && endsBetween(token, at, answeredAt))) return []
  const known = token && token.until > at ? token : null
  const allowed = known?.scopes.some(scope => scopes.includes(scope)) === true
  const expected = known === null ? 401 : allowed ? null : 403
  if (expected !== null && status !== expected && (clean || status < 400)) return [`${status} instead of ${expected}`]
  if (allowed && (status === 401 || (status === 403 && known?.merId === null)))
    return [`${status} for a token that is let in`]
  return []
}

const NOWHERE = [400, 401, 403, 404, 405, 413, 415]

const faultsOfNowhere = ({ status }: Received): string[] =>
  NOWHERE.includes(status) ? [] : [`${status} at an address that the document does not have`]

/** What texts begin with that a merchant's token sends; those of a token that is bound to nobody are not followed. */
export const markOf = (merId: number | string | null | undefined): string =>
  merId === null || merId === undefined ? 'mark-none-' : `mark-${Buffer.from(String(merId)).toString('hex')}-`

function leaks({ sent, answer, token }: Exchange, operation: Operation | null, secrets: ReadonlySet<string>): string[] {
  const whole = answer.text + JSON.stringify(answer.headers)
  const found = (whole.match(/hidden-\d+-x/g) ?? []).filter(value => secrets.has(value))
  const shown = operation?.name === 'POST /admin/v1/tokens' && answer.status === 201
  if (!shown && /shk_[\w-]{20,}|test-admin-token/.test(whole)) found.push('a token')
  // What has no scopes is for everybody: a public hook's answer, the demo's ledger.
  if (token && token.merId !== null && operation?.scopes) {
    const asked = `${sent.path}${sent.body}`
    const foreign = (mark: string) => mark !== markOf(token.merId) && !asked.includes(mark)
    found.push(...(whole.match(/mark-[0-9a-f]+-/g) ?? []).filter(foreign))
  }
  return found.map(value => `the answer gives away ${value}`)
}

const shorten = (text: string, most: number): string =>
  text.length > most ? `${text.slice(0, most)}… (${text.length} characters)` : text

function inWords({ sent, answer, token }: Exchange): string {
  const who = token ? `${token.scopes} of ${token.merId}` : 'nobody'
  const head = Object.entries(sent.headers).map(([name, value]) => `${name}: ${shorten(value, 80)}`)
  const body = sent.body === null ? '' : shorten(JSON.stringify(String(sent.body)), 1_500)
  return [
    ...[`${sent.method} ${shorten(sent.path, 500)}   (${who})`, ...head, body, ''],
    ...[`→ ${answer.status} ${JSON.stringify(answer.headers)}`, shorten(answer.text, 1_500)]
  ].join('\n')
}
