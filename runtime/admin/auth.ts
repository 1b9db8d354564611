import type { FastifyRequest } from 'fastify'
import { RuntimeError } from '../errors.ts'
import type { MerId } from '../model.ts'
import { merIdOf, ownerOf } from '../store/row.ts'
import type { Scope, Token, TokenStore } from '../store/tokens.ts'

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
   * a revoked token is refused at once. Throws UNAUTHENTICATED, FORBIDDEN, STORE_UNAVAILABLE.
   */
  authorize: (request: FastifyRequest, ...anyOf: readonly Scope[]) => Promise<Token>
}

/** Bearer tokens, looked up in the store. */
export function createAuth({ tokens }: { tokens: Pick<TokenStore, 'find'> }): Auth {
  return {
    async authorize({ headers }, ...anyOf) {
      const secret = /^Bearer +([\x21-\x7e]+)$/i.exec(headers.authorization ?? '')?.[1]
      const token = secret === undefined ? null : await tokens.find(secret)
      if (!token)
        throw new RuntimeError(
          'UNAUTHENTICATED',
          secret === undefined
            ? 'This needs a token: send the header “Authorization: Bearer <token>”.'
            : 'This token is unknown, revoked or expired; ask an admin for a new one.'
        )
      const needed = ['admin' as const, ...anyOf]
      if (needed.some(scope => token.scopes.includes(scope))) return token
      throw new RuntimeError(
        'FORBIDDEN',
        `This needs a token with the scope ${needed.join(' or ')}; yours has ${token.scopes.join(', ')}.`
      )
    }
  }
}

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
