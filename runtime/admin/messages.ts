import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { type Static, Type } from 'typebox'
import type { Also } from '../store/database.ts'
import type { DeadMessage as Dead } from '../store/messages.ts'
import type { Page, PageRequest } from '../store/row.ts'
import { ADMINS } from './auth.ts'
import { pageAnswer, pageRequest } from './page.ts'
import { iso, isoOrNull, listQuery, MaybeTime, named, pageOf, problems, Time } from './schemas.ts'
import type { Trail } from './trail.ts'

export interface MessageNeeds {
  deadMessages: {
    list: (topic: string | undefined, page: PageRequest) => Promise<Page<Dead>>
    /** `also` is told how many messages were read again so far, whenever any of them comes to something. */
    refeed: (topic: string | undefined, limit: number, also: Also<number>) => Promise<{ refed: number; left: number }>
  }
  trail: Trail
}

const MAX_REFED = 10_000

export const DeadMessage = Type.Object(
  {
    id: Type.String({ description: 'What the ids of its events begin with' }),
    topic: Type.String(),
    reason: Type.String({ description: 'Why it became no event, or not all of its events' }),
    body: Type.String({ description: 'As it came' }),
    sentAt: MaybeTime,
    receivedAt: Time
  },
  { $id: 'DeadMessage' }
)

const tags = ['Messages']
const Topic = Type.Optional(Type.String({ maxLength: 255, description: 'Only those of this topic' }))
const LIST = {
  config: { scopes: ADMINS },
  schema: {
    tags,
    summary: 'Messages of RabbitMQ that could not be read or that no row of config/topics.json fits, the newest first',
    querystring: listQuery({ topic: Topic }),
    response: { 200: pageOf(named(DeadMessage)), ...problems }
  }
}
const REFEED = {
  config: { scopes: ADMINS },
  schema: {
    tags,
    summary: 'Feed them through config/topics.json again, the oldest first',
    description:
      'After the table was corrected and Sandhook started again. Those that become events now leave the list; what a ' +
      'message had become before does not happen twice.',
    body: Type.Object(
      {
        topic: Topic,
        limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_REFED, description: `Default: ${MAX_REFED}` }))
      },
      { additionalProperties: false }
    ),
    response: {
      200: Type.Object({ refed: Type.Integer(), left: Type.Integer({ description: 'Still on the list' }) }),
      ...problems
    }
  }
}

/** For admins only: bodies are of all merchants. */
export const messageRoutes =
  ({ deadMessages, trail }: MessageNeeds): FastifyPluginAsyncTypebox =>
  async app => {
    app.get('/dead', LIST, async ({ query }) =>
      pageAnswer(await deadMessages.list(query.topic, pageRequest(query, 'pair')), messageOf)
    )
    app.post('/dead/refeed', REFEED, ({ token, body: { topic, limit = MAX_REFED } }) => {
      const entryOf = (read: number) => ({ subject: topic ?? 'all topics', merId: null, after: { read } })
      return deadMessages.refeed(topic, limit, trail(token, 'message.refeed', entryOf))
    })
  }

const messageOf = ({ sentAt, receivedAt, ...message }: Dead): Static<typeof DeadMessage> => ({
  ...message,
  sentAt: isoOrNull(sentAt),
  receivedAt: iso(receivedAt)
})
