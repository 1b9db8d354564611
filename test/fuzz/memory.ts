import { type Operation, operationAt } from './document.ts'
import type { Exchange, KnownToken } from './judge.ts'
import type { Role } from './plans.ts'

/** A token with its secret. */
export interface HeldToken {
  id: string
  secret: string
  token: KnownToken
}

/** What the server has, as far as its answers have told. */
export interface Memory {
  /** Values that no answer may show. */
  secrets: Set<string>
  plant: (role: Role, held: HeldToken) => void
  planted: (role: Role) => HeldToken
  /** One of the tokens that the fuzz has made, revoked ones too; null: none yet. */
  made: (n: number) => HeldToken | null
  add: (kind: string, id: string) => void
  /** The name of something that there is; of something that there was. */
  known: (kind: string, n: number) => string
  gone: (kind: string, n: number) => string
  /** Takes from an answer what later requests can use. Answers a hook that is one too many, to be removed; or null. */
  learn: (exchange: Exchange, operations: Operation[]) => string | null
}

const KEPT = 40
/** More hooks would make every event more runs than this machine has time for. */
const MOST_HOOKS = 40

export function createMemory(): Memory {
  const roles = new Map<Role, HeldToken>()
  const tokens: HeldToken[] = []
  const there = new Map<string, string[]>()
  const past = new Map<string, string[]>()
  const hooks: string[] = []

  const keep = (map: Map<string, string[]>, kind: string, id: string) => {
    const ids = map.get(kind) ?? []
    if (!ids.includes(id)) ids.push(id)
    map.set(kind, ids.slice(-KEPT))
  }
  const pick = (map: Map<string, string[]>, kind: string, n: number) => {
    const ids = map.get(kind) ?? []
    return ids[n % ids.length] ?? 'none'
  }
  const add = (kind: string, id: string) => keep(there, kind, id)

  function drop(kind: string, id: string, at: number): void {
    keep(past, kind, id)
    there.set(
      kind,
      (there.get(kind) ?? []).filter(other => other !== id)
    )
    const revoked = kind === 'tokens' ? tokens.find(held => held.id === id) : undefined
    if (revoked) revoked.token.until = at
  }

  function learnToken(body: Record<string, never>): void {
    const until = body.expiresAt === null ? Number.POSITIVE_INFINITY : Date.parse(body.expiresAt ?? '')
    tokens.push({
      id: body.id ?? '',
      secret: body.token ?? '',
      token: { scopes: body.scopes ?? [], merId: body.merId ?? null, until }
    })
    if (tokens.length > KEPT) tokens.shift()
  }

  return {
    secrets: new Set(),
    plant: (role, held) => void roles.set(role, held),
    planted: role => roles.get(role) as HeldToken,
    made: n => tokens[n % tokens.length] ?? null,
    add,
    known: (kind, n) => pick(there, kind, n),
    gone: (kind, n) => pick(past, kind, n),
    learn({ sent, answer, at }, operations) {
      const operation = operationAt(operations, sent.method, sent.path.split('?')[0] ?? '')
      if (operation === null || answer.status >= 300 || sent.method === 'HEAD') return null
      const kind = kindOf(operation)
      if (sent.method === 'DELETE') drop(kind, decodeURIComponent(sent.path.split('?')[0]?.split('/')[4] ?? ''), at)
      if (!/^application\/json/.test(String(answer.headers['content-type'])) || operation.scripted) return null
      const body = JSON.parse(answer.text)
      if (operation.name === 'POST /admin/v1/tokens') learnToken(body)
      for (const { kind, id } of idsIn(body, operation.path, kindOf(operation)))
        if (kind !== 'tokens' || sent.method === 'POST') add(kind, id)
      if (operation.name === 'PUT /admin/v1/env/{key}' && body.secret)
        this.secrets.add(JSON.parse(String(sent.body)).value)
      if (operation.name !== 'POST /admin/v1/hooks') return null
      hooks.push(body.id)
      return hooks.length > MOST_HOOKS ? (hooks.shift() ?? null) : null
    }
  }
}

/** `hooks` for `/admin/v1/hooks/{id}`. */
export const kindOf = ({ path }: Operation): string =>
  path.startsWith('/admin/') ? (path.split('/')[3] ?? '') : 'events'

// biome-ignore lint/suspicious/noExplicitAny: answers of every route
function idsIn(body: any, path: string, kind: string): { kind: string; id: string }[] {
  const items = [
    body,
    ...(Array.isArray(body.items) ? body.items.slice(0, 5) : []),
    ...(Array.isArray(body.events) ? body.events : [])
  ]
  const found = items.flatMap(item => [
    ...[item.id, item.key].filter(id => typeof id === 'string' && kind !== 'catalog').map(id => ({ kind, id })),
    ...(typeof item.path === 'string'
      ? [{ kind: 'calls', id: item.path.replace(/^\/custom\//, '').replaceAll(/\{\w+\}/g, '7') }]
      : []),
    ...(Array.isArray(item.executions) ? item.executions : [])
      .filter((id: unknown) => typeof id === 'string')
      .map((id: string) => ({ kind: 'executions', id }))
  ])
  return typeof body.nextCursor === 'string'
    ? [...found, { kind: 'cursor', id: body.nextCursor }, { kind: `cursor ${path}`, id: body.nextCursor }]
    : found
}
