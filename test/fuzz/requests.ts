import type { Json } from '../../runtime/model.ts'
import type { Operation } from './document.ts'
import { type Exchange, markOf } from './judge.ts'
import { HIDDEN, MARK } from './members.ts'
import { kindOf, type Memory } from './memory.ts'
import type { Piece, Plan, Who } from './plans.ts'
import type { Sent } from './send.ts'

/** A plan with the names of things that are there at this moment. */
export function requestOf(plan: Plan, memory: Memory): Pick<Exchange, 'sent' | 'token' | 'clean'> {
  const { operation, params, query, method = operation.method } = plan
  const path = operation.path.replaceAll(/\{([^}]+)\}/g, (_, name) =>
    inPath(params[name] ?? { text: 'x' }, operation, name, memory)
  )
  const search = query.map(([name, value]) => `${encoded(name)}=${inQuery(value, operation, name, memory)}`)
  const { authorization, token } = tokenOf(plan.who, memory)
  const { body, type } = bodyOf(plan, token?.merId)
  const pieces = Object.values(params)
  const headers = {
    ...plan.headers,
    ...{ 'x-forwarded-for': `${plan.headers['x-forwarded-for'] ?? 'nobody'}, ${newAddress()}` },
    ...(authorization === null ? {} : { authorization }),
    ...(body !== null && type !== '' ? { 'content-type': type } : {})
  }
  return {
    sent: { method, path: search.length > 0 ? `${path}?${search.join('&')}` : path, headers, body },
    token,
    clean:
      pieces.every(piece => !('raw' in piece)) && path.length < 1_500 && !path.endsWith('/') && !path.includes('//')
  }
}

let callers = 0

/** Each request comes from somewhere else: what one address may ask is another test's business. */
function newAddress(): string {
  callers += 1
  return `10.${(callers >> 16) % 256}.${(callers >> 8) % 256}.${callers % 256}`
}

const encoded = (text: string): string => encodeURIComponent(text.toWellFormed())

function textOf(piece: Exclude<Piece, { raw: string }>, kind: string, memory: Memory): string {
  if ('text' in piece) return piece.text
  return 'known' in piece ? memory.known(kind, piece.known) : memory.gone(kind, piece.gone)
}

function inPath(piece: Piece, operation: Operation, name: string, memory: Memory): string {
  if ('raw' in piece) return piece.raw
  if (name === 'n' && 'known' in piece) return String(1 + (piece.known % 4))
  const kind = name === '*' ? 'calls' : kindOf(operation)
  const text = textOf(piece, kind, memory)
  return name === '*' ? text.split('/').map(encoded).join('/') : encoded(text)
}

const KINDS: Record<string, string> = { hook: 'hooks', eventId: 'events', path: 'calls', key: 'events' }
const MERCHANTS = ['101', 'shop-b', '', '999']

/** Cursors as no list gives them, though they look like its own. */
const CURSORS = [
  '[1e999,"x"]',
  '[-1e999,""]',
  '["a","b"]',
  '[1.5,"\\u0000"]',
  '[null,"x"]',
  '[-1,"\\ud800"]',
  '{"0":1,"1":"x"}'
]
  .concat(['999999999', '0', '-1', '00000', 'x', `["${'x'.repeat(600)}","y"]`, '[9007199254740993,"x"]', '[1,"x",2]'])
  .map(cursor => Buffer.from(cursor).toString('base64url'))

function inQuery(piece: Piece, operation: Operation, name: string, memory: Memory): string {
  if (name === 'cursor' && 'gone' in piece) return CURSORS[piece.gone % CURSORS.length] ?? ''
  if ('raw' in piece) return piece.raw.replaceAll('#', '')
  if (name === 'merId' && 'known' in piece) return MERCHANTS[piece.known % MERCHANTS.length] ?? ''
  const own = 'known' in piece && piece.known % 4 > 0 ? `cursor ${operation.path}` : 'cursor'
  return encoded(textOf(piece, name === 'cursor' ? own : (KINDS[name] ?? 'hooks'), memory))
}

function tokenOf(who: Who, memory: Memory): { authorization: string | null; token: Exchange['token'] } {
  if ('header' in who) return { authorization: who.header || null, token: null }
  const held = 'role' in who ? memory.planted(who.role) : memory.made(who.made)
  return held ? { authorization: `Bearer ${held.secret}`, token: held.token } : { authorization: null, token: null }
}

/** An admin may give a hook to another merchant, its history included: what that one sees is no leak. */
function staying(name: string, json: Json, merId: unknown): Json {
  if (name !== 'PATCH /admin/v1/hooks/{id}' || merId || typeof json !== 'object' || json === null) return json
  const { merId: _moved, ...rest } = json as Record<string, Json>
  return Array.isArray(json) ? json : rest
}

let hidden = 1_000

function bodyOf(
  { body, operation }: Plan,
  merId: number | string | null | undefined
): { body: Sent['body']; type: string } {
  if (body === null) return { body: null, type: '' }
  const { json, rent, type } = body
  const text = JSON.stringify(staying(operation.name, json, merId))
    .replaceAll(MARK, markOf(merId))
    .replaceAll(HIDDEN, () => `hidden-${hidden++}-`)
  if (rent === null) return { body: text, type }
  if ('cut' in rent) return { body: text.slice(0, rent.cut % (text.length + 1)), type }
  if ('bytes' in rent)
    return {
      body: Buffer.concat([Buffer.from(text.slice(0, 9)), Buffer.from(rent.bytes), Buffer.from(text.slice(9))]),
      type
    }
  if ('megabytes' in rent)
    return { body: text.replace(/"[^"]*"(?=[,}\]])/, `"${'x'.repeat(rent.megabytes * 2 ** 20)}"`), type }
  const at = rent.at % (text.length + 1)
  return { body: text.slice(0, at) + rent.insert + text.slice(at), type }
}
