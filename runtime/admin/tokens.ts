import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { type Static, Type } from 'typebox'
import { RuntimeError } from '../errors.ts'
import { instantOf, merIdOf, ownerOf } from '../store/row.ts'
import { type Token as Noun, SCOPES, type TokenStore } from '../store/tokens.ts'
import { ADMINS } from './auth.ts'
import { pageAnswer, pageRequest } from './page.ts'
import {
  GivenOwner,
  Gone,
  Id,
  iso,
  isoOrNull,
  listQuery,
  MaybeTime,
  named,
  Owner,
  pageOf,
  problems,
  Time
} from './schemas.ts'
import { changeOf, type Trail } from './trail.ts'

export interface TokenNeeds {
  tokens: Pick<TokenStore, 'list' | 'create' | 'remove'>
  trail: Trail
}

const SHOWN = {
  id: Type.String(),
  name: Type.String(),
  scopes: Type.Array(Type.Enum(SCOPES)),
  merId: Owner,
  createdAt: Time,
  expiresAt: MaybeTime
}
export const Token = Type.Object(SHOWN, { $id: 'Token' })
export const MadeToken = Type.Object(
  { ...SHOWN, token: Type.String({ description: 'The secret: in this answer, and never again' }) },
  { $id: 'MadeToken' }
)

const NewToken = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 100 }),
    scopes: Type.Array(Type.Enum(SCOPES), { minItems: 1, maxItems: SCOPES.length, uniqueItems: true }),
    merId: Type.Optional(GivenOwner),
    expiresAt: Type.Optional(MaybeTime)
  },
  { additionalProperties: false }
)

const tags = ['Tokens']
const config = { scopes: ADMINS }
const LIST = {
  config,
  schema: {
    tags,
    summary: 'All tokens, the newest first; never their secrets',
    querystring: listQuery({}),
    response: { 200: pageOf(named(Token)), ...problems }
  }
}
const CREATE = {
  config,
  schema: { tags, summary: 'Make a token', body: NewToken, response: { 201: named(MadeToken), ...problems } }
}
const REMOVE = {
  config,
  schema: { tags, summary: 'Revoke a token, at once', params: Id, response: { 204: Gone, ...problems } }
}

/** Access tokens; for admins only. */
export const tokenRoutes =
  ({ tokens, trail }: TokenNeeds): FastifyPluginAsyncTypebox =>
  async app => {
    app.get('', LIST, async ({ query }) => pageAnswer(await tokens.list(pageRequest(query, 'id')), shown))
    app.post('', CREATE, async (request, reply) => {
      const also = trail(request.token, 'token.create', changed)
      const { token, secret } = await tokens.create(fieldsOf(request.body), also)
      return reply.code(201).send({ ...shown(token), token: secret })
    })
    app.delete('/:id', REMOVE, async (request, reply) => {
      await tokens.remove(request.params.id, trail(request.token, 'token.delete', changed))
      return reply.code(204).send(null)
    })
  }

const changed = changeOf((token: Noun) => ({ subject: token.name, merId: token.merId, state: token }))

/** From then on a time is written as no format for times has it. */
const YEAR_10000 = Date.UTC(10_000, 0)

/** A merchant's token is bound to its merchant, and an admin's to none. */
function fieldsOf({
  name,
  scopes,
  merId = null,
  expiresAt = null
}: Static<typeof NewToken>): Omit<Noun, 'id' | 'createdAt'> {
  const until = expiresAt === null ? null : instantOf(expiresAt)
  const wrong = [
    ...(scopes.includes('merchant') && merId === null
      ? [field('merId', 'is missing: the scope merchant needs it')]
      : []),
    ...(scopes.includes('admin') && merId !== null
      ? [field('merId', 'must be left out: admin is bound to nobody')]
      : []),
    ...(until === null || (until > Date.now() && until < YEAR_10000)
      ? []
      : [field('expiresAt', 'must lie in the future')])
  ]
  const [first] = wrong
  if (first) throw new RuntimeError('REQUEST_INVALID', `${first.path} ${first.message}.`, { fields: wrong })
  return { name, scopes, merId: merIdOf(ownerOf(merId)), expiresAt: until }
}

const field = (name: string, message: string) => ({ path: `/${name}`, message })

const shown = (token: Noun): Static<typeof Token> => ({
  ...token,
  createdAt: iso(token.createdAt),
  expiresAt: isoOrNull(token.expiresAt)
})
