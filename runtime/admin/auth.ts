import { createHash } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { LRUCache } from 'lru-cache'
import { RuntimeError } from '../errors.ts'
import type { MerId } from '../model.ts'
import { merIdOf, ownerOf } from '../store/row.ts'
import type { Scope, Token, TokenStore } from '../store/tokens.ts'
import { addressOf, type Count, refuseExceeded } from './rates.ts'

/** Who may read, beside admins; a merchant only its own. */
export const READERS = ['viewer', 'merchant'] as const satisfies Scope[]
/** Who may change things, beside admins; a merchant only its own. */
export const WRITERS = ['merchant'] as const satisfies Scope[]
/** Nobody beside admins. */
export const ADMINS = [] as const satisfies Scope[]

/** Decides who may do what. */
export interface Auth {
  /**
   * The token of a request that has any of these scopes; `admin` includes them all. Asks the store each time, so that
   * a revoked token is refused at once. Throws UNAUTHENTICATED, FORBIDDEN, RATE_LIMITED, STORE_UNAVAILABLE.
   */
  authorize: (request: FastifyRequest, ...anyOf: readonly Scope[]) => Promise<Token>
  /**
   * The same for an address that needs no token, and whose callers may have an Authorization of their own: null when
   * there is no token of ours with such a scope. Throws RATE_LIMITED, STORE_UNAVAILABLE.
   */
  recognise: (request: FastifyRequest, ...anyOf: readonly Scope[]) => Promise<Token | null>
}

export interface AuthNeeds {
  tokens: Pick<TokenStore, 'find'>
  /** Of requests by token, and of unknown tokens by address. */
  counts: { token: Count; failure: Count }
}

/** Callers that are let through although somebody at their address guesses tokens; and for how long after a request. */
const KNOWN = { max: 10_000, ttl: 600_000 }

/**
 * Bearer tokens, looked up in the store. An address from which too many unknown ones come is refused before the store
 * is asked; but for tokens that held from there a while ago: one caller's mistake does not shut its neighbours out.
 */
export function createAuth({ tokens, counts }: AuthNeeds): Auth {
  const known = new LRUCache<string, true>(KNOWN)

  /** Null: there is none, or it does not hold. Throws RATE_LIMITED when the address has tried too many. */
  async function find(request: FastifyRequest, secret: string): Promise<Token | null> {
    const caller = `${addressOf(request)} ${createHash('sha256').update(secret).digest('base64')}`
    if (!known.has(caller)) refuseGuessing(await counts.failure(request, false))
    const token = await tokens.find(secret)
    if (token) {
      known.set(caller, true)
      return token
    }
    known.delete(caller)
    await counts.failure(request)
    return null
  }

  /** Takes the request for its token's; from here on that is what its rate is counted by. */
  async function admit(request: FastifyRequest, token: Token): Promise<void> {
    request.token = token
    request.standing = await counts.token(request)
    refuseExceeded(request.standing, 'requests with this token')
  }

  return {
    async authorize(request, ...anyOf) {
      const secret = bearerOf(request)
      const token = secret === undefined ? null : await find(request, secret)
      if (!token) throw unauthenticated(secret)
      await admit(request, token)
      if (suffices(token, anyOf)) return token
      throw new RuntimeError(
        'FORBIDDEN',
        `This needs a token with the scope ${['admin', ...anyOf].join(' or ')}; yours has ${token.scopes.join(', ')}.`
      )
    },
    async recognise(request, ...anyOf) {
      const secret = bearerOf(request)
      if (secret === undefined) return null
      const token = await find(request, secret).catch(ignoreGuessing)
      if (!token || !suffices(token, anyOf)) return null
      await admit(request, token)
      return token
    }
  }
}

const bearerOf = ({ headers }: FastifyRequest): string | undefined =>
  /^Bearer +([\x21-\x7e]+)$/i.exec(headers.authorization ?? '')?.[1]

const suffices = ({ scopes }: Token, anyOf: readonly Scope[]): boolean =>
  scopes.some(scope => scope === 'admin' || anyOf.includes(scope))

const refuseGuessing = (standing: Awaited<ReturnType<Count>>): void =>
  refuseExceeded(standing, 'unknown tokens from this address')

function ignoreGuessing(error: unknown): null {
  if (error instanceof RuntimeError && error.code === 'RATE_LIMITED') return null
  throw error
}

const unauthenticated = (secret: string | undefined): RuntimeError =>
  new RuntimeError(
    'UNAUTHENTICATED',
    secret === undefined
      ? 'This needs a token: send the header “Authorization: Bearer <token>”.'
      : 'This token is unknown, revoked or expired; ask an admin for a new one.'
  )

/** The one merchant whose things this token sees; undefined: everybody's. */
export const visibleMerId = ({ scopes, merId }: Token): MerId | undefined =>
  scopes.includes('admin') || merId === null ? undefined : merId

/** Whether the token sees what belongs to this owner (null: the platform). */
export function sees(token: Token, owner: MerId | null): boolean {
  const visible = visibleMerId(token)
  return visible === undefined || ownerOf(visible) === ownerOf(owner)
}

/** The merchant that a list is narrowed to, when the caller asked for `asked`. Throws FORBIDDEN for another's. */
export function narrowed(token: Token, asked: MerId | undefined): MerId | undefined {
  if (asked !== undefined) refuseForeign(token, asked)
  return asked ?? visibleMerId(token)
}

/** The owner of something that this token makes or changes: what it asked for, or its own. Throws FORBIDDEN. */
export function ownerFor(token: Token, asked: MerId | null | undefined): MerId | null {
  if (asked === undefined) return visibleMerId(token) ?? null
  refuseForeign(token, asked)
  return merIdOf(ownerOf(asked))
}

function refuseForeign(token: Token, owner: MerId | null): void {
  if (!sees(token, owner))
    throw new RuntimeError('FORBIDDEN', `This token is bound to merchant ${token.merId}; leave merId out.`)
}
