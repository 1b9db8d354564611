import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import { RuntimeError } from '../errors.ts'
import type { EventStore } from '../store/events.ts'
import type { ExecutionStore } from '../store/executions.ts'
import { narrowed, READERS, sees } from './auth.ts'
import { Event, EventDetail, eventOf, executionOf } from './execution-schema.ts'
import { pageAnswer, pageRequest } from './page.ts'
import { Id, listQuery, MerIdQuery, named, pageOf, problems } from './schemas.ts'

export interface EventNeeds {
  events: Pick<EventStore, 'get' | 'list'>
  executions: Pick<ExecutionStore, 'ofEvents'>
}

const tags = ['Events']
const LIST = {
  config: { scopes: READERS },
  schema: {
    tags,
    summary: 'Accepted events, the newest first',
    querystring: listQuery({
      eventKey: Type.Optional(Type.String({ maxLength: 100 })),
      key: Type.Optional(Type.String({ maxLength: 191, description: 'Ordering key: usually the order number' })),
      merId: MerIdQuery
    }),
    response: { 200: pageOf(named(Event)), ...problems }
  }
}
const GET = {
  config: { scopes: READERS },
  schema: {
    tags,
    summary: 'An event with its executions',
    params: Id,
    response: { 200: named(EventDetail), ...problems }
  }
}

/** What was accepted; a merchant sees its own. */
export const eventReadRoutes =
  ({ events, executions }: EventNeeds): FastifyPluginAsyncTypebox =>
  async app => {
    app.get('', LIST, async ({ token, query }) => {
      const { eventKey, key } = query
      const filter = { eventKey, key, merId: narrowed(token, query.merId) }
      return pageAnswer(await events.list(filter, pageRequest(query, 'pair')), eventOf)
    })
    app.get('/:id', GET, async ({ token, params }) => {
      const event = await events.get(params.id)
      if (!event || !sees(token, event.merId))
        throw new RuntimeError('NOT_FOUND', `There is no event with the id ${params.id}.`)
      return { ...eventOf(event), executions: (await executions.ofEvents([event.id])).map(executionOf) }
    })
  }
