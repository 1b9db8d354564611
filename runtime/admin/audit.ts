import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import type { AuditStore } from '../store/audit.ts'
import { narrowed, READERS } from './auth.ts'
import { pageAnswer, pageRequest } from './page.ts'
import { iso, listQuery, MerIdQuery, named, Owner, pageOf, problems, Time } from './schemas.ts'

const State = Type.Unsafe<object | null>({ type: ['object', 'null'], additionalProperties: true })

export const AuditEntry = Type.Object(
  {
    id: Type.String(),
    at: Time,
    actor: Type.String({ description: "The token's name and id" }),
    merId: Owner,
    action: Type.String(),
    subject: Type.String(),
    before: State,
    after: State
  },
  { $id: 'AuditEntry' }
)

const LIST = {
  config: { scopes: READERS },
  schema: {
    tags: ['Audit'],
    summary: 'Who changed what, the newest first',
    querystring: listQuery({ merId: MerIdQuery }),
    response: { 200: pageOf(named(AuditEntry)), ...problems }
  }
}

/** The log of changes; a merchant sees those of its own things. */
export const auditRoutes =
  ({ audit }: { audit: Pick<AuditStore, 'list'> }): FastifyPluginAsyncTypebox =>
  async app => {
    app.get('', LIST, async ({ token, query }) => {
      const page = await audit.list(narrowed(token, query.merId), pageRequest(query, 'id'))
      return pageAnswer(page, entry => ({ ...entry, at: iso(entry.at) }))
    })
  }
