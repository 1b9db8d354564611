import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { type Static, Type } from 'typebox'
import { RuntimeError } from '../errors.ts'
import type { EnvStore, EnvItem as Item } from '../store/env.ts'
import type { Token } from '../store/tokens.ts'
import { narrowed, ownerFor, READERS, WRITERS } from './auth.ts'
import { pageAnswer, pageRequest } from './page.ts'
import {
  EnvKey,
  GivenOwner,
  Gone,
  iso,
  listQuery,
  MerIdQuery,
  named,
  nullable,
  Owner,
  pageOf,
  problems,
  Time
} from './schemas.ts'
import { changeOf, type Trail } from './trail.ts'

export interface EnvNeeds {
  env: Pick<EnvStore, 'list' | 'put' | 'remove'>
  trail: Trail
}

const MAX_VALUE_BYTES = 64 * 1024
const HOST = '^([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?$'

export const EnvItem = Type.Object(
  {
    key: Type.String(),
    value: nullable(Type.String({ description: 'null when it is a secret: that is never sent back' })),
    secret: Type.Boolean(),
    hosts: nullable(
      Type.Array(Type.String(), { description: 'The only hosts that scripts can send it to; null: any' })
    ),
    merId: Owner,
    updatedAt: Time
  },
  { $id: 'EnvItem' }
)

const tags = ['Env']
const params = Type.Object({ key: EnvKey })
const LIST = {
  config: { scopes: READERS },
  schema: {
    tags,
    summary: 'The values that scripts read by env.get, by key',
    querystring: listQuery({ merId: MerIdQuery }),
    response: { 200: pageOf(named(EnvItem)), ...problems }
  }
}
const PUT = {
  config: { scopes: WRITERS },
  schema: {
    tags,
    summary: 'Set a value',
    params,
    body: Type.Object(
      {
        value: Type.String({ description: 'Up to 64 KB' }),
        secret: Type.Optional(
          Type.Boolean({ description: 'Kept encrypted and never shown; default: as the value that is replaced, or no' })
        ),
        hosts: Type.Optional(
          nullable(
            Type.Array(Type.String({ pattern: HOST, maxLength: 260 }), {
              maxItems: 50,
              description:
                'The only hosts (erp.example.com, erp.example.com:8443) that `http` sends the value to; null: any; ' +
                'default: as the value that is replaced'
            })
          )
        ),
        merId: Type.Optional(GivenOwner)
      },
      { additionalProperties: false }
    ),
    response: { 200: named(EnvItem), ...problems }
  }
}
const REMOVE = {
  config: { scopes: WRITERS },
  schema: {
    tags,
    summary: 'Remove a value',
    params,
    querystring: Type.Object({ merId: MerIdQuery }, { additionalProperties: false }),
    response: { 204: Gone, ...problems }
  }
}

/** Settings for scripts: a merchant has to do with its own only. */
export const envRoutes =
  ({ env, trail }: EnvNeeds): FastifyPluginAsyncTypebox =>
  async app => {
    app.get('', LIST, async ({ token, query }) => {
      const merId = narrowed(token, query.merId)
      const owners = merId === undefined ? undefined : [merId]
      return pageAnswer(await env.list(owners, pageRequest(query, 'pair')), shown)
    })
    app.put('/:key', PUT, ({ token, params, body }) => put({ env, trail }, token, params.key, body))
    app.delete('/:key', REMOVE, async ({ token, params, query }, reply) => {
      const merId = ownerFor(token, query.merId)
      await env.remove(merId, params.key, trail(token, 'env.delete', changed))
      return reply.code(204).send(null)
    })
  }

async function put({ env, trail }: EnvNeeds, token: Token, key: string, body: Static<typeof PUT.schema.body>) {
  const bytes = Buffer.byteLength(body.value)
  if (bytes > MAX_VALUE_BYTES)
    throw new RuntimeError(
      'REQUEST_INVALID',
      `The value of ${key} has ${bytes} bytes; at most ${MAX_VALUE_BYTES} fit.`,
      {
        fields: [{ path: '/value', message: `must be at most ${MAX_VALUE_BYTES} bytes` }]
      }
    )
  const { merId: owner, ...given } = body
  const merId = ownerFor(token, owner)
  return shown(await env.put(merId, key, given, trail(token, 'env.put', changed)))
}

const changed = changeOf((item: Item) => ({ subject: item.key, merId: item.merId, state: item }))

const shown = (item: Item): Static<typeof EnvItem> => ({ ...item, updatedAt: iso(item.updatedAt) })
