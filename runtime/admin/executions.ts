import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { type Static, Type } from 'typebox'
import { RuntimeError } from '../errors.ts'
import type { Execution as Noun } from '../model.ts'
import type { ExecutionFilter, ExecutionStore } from '../store/executions.ts'
import { instantOf } from '../store/row.ts'
import type { Token } from '../store/tokens.ts'
import { narrowed, READERS, sees, WRITERS } from './auth.ts'
import { attemptOf, Execution, ExecutionDetail, executionOf, STATUSES } from './execution-schema.ts'
import { pageAnswer, pageRequest } from './page.ts'
import { GivenOwner, Id, listQuery, MerIdQuery, named, pageOf, problems } from './schemas.ts'
import { changeOf, type Trail } from './trail.ts'

export interface ExecutionNeeds {
  executions: Pick<ExecutionStore, 'list' | 'get' | 'replay' | 'replayMany' | 'discard'>
  /** Told that there is work. */
  nudge: () => void
  trail: Trail
}

const BATCH = 500
const MAX_REPLAYED = 10_000

const instant = (description: string) => Type.Optional(Type.String({ format: 'date-time', description }))
const FILTER = {
  status: Type.Optional(Type.Enum(STATUSES)),
  hook: Type.Optional(Type.String({ maxLength: 191, description: "A hook's path or id" })),
  eventId: Type.Optional(Type.String({ maxLength: 128 })),
  from: instant('Made at this time or later'),
  to: instant('Made before this time')
}

const tags = ['Executions']
const LIST = {
  config: { scopes: READERS },
  schema: {
    tags,
    summary: 'Executions, the newest first',
    querystring: listQuery({ ...FILTER, merId: MerIdQuery }),
    response: { 200: pageOf(named(Execution)), ...problems }
  }
}
const GET = {
  config: { scopes: READERS },
  schema: {
    tags,
    summary: 'An execution with all its runs: logs, calls, errors',
    params: Id,
    response: { 200: named(ExecutionDetail), ...problems }
  }
}
const one = (summary: string) => ({
  config: { scopes: WRITERS },
  schema: { tags, summary, params: Id, response: { 200: named(Execution), ...problems } }
})
const REPLAY = one('Run it again with the published version; what had succeeded is run as a further execution')
const DISCARD = one('Take a dead letter off the list for good; its history stays')
const Many = Type.Object(
  {
    ...FILTER,
    merId: Type.Optional(GivenOwner),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_REPLAYED, description: `Default: ${MAX_REPLAYED}` }))
  },
  { additionalProperties: false }
)
const REPLAY_MANY = {
  config: { scopes: WRITERS },
  schema: {
    tags,
    summary: 'Run again all finished executions that match, the oldest first',
    body: Many,
    response: { 200: Type.Object({ replayed: Type.Integer() }), ...problems }
  }
}

/** What became of events, and again; a merchant has to do with its own. */
export const executionRoutes =
  (needs: ExecutionNeeds): FastifyPluginAsyncTypebox =>
  async app => {
    const { executions, nudge, trail } = needs
    app.get('', LIST, async ({ token, query }) => {
      const filter = { ...filterOf(query), merId: narrowed(token, query.merId) }
      return pageAnswer(await executions.list(filter, pageRequest(query, 'id')), executionOf)
    })
    app.get('/:id', GET, async ({ token, params }) => {
      const { execution, history } = await own(executions, token, params.id)
      return { ...executionOf(execution), history: history.map(attemptOf) }
    })
    app.post('/:id/replay', REPLAY, async ({ token, params }) => {
      const { execution } = await own(executions, token, params.id)
      const again = await executions.replay(execution.id, trail(token, 'execution.replay', changed))
      nudge()
      return executionOf(again)
    })
    app.post('/:id/discard', DISCARD, async ({ token, params }) => {
      const { execution } = await own(executions, token, params.id)
      return executionOf(await executions.discard(execution.id, trail(token, 'execution.discard', changed)))
    })
    app.post('/replay', REPLAY_MANY, ({ token, body }) => replayMany(needs, token, body))
  }

async function own(executions: ExecutionNeeds['executions'], token: Token, id: string) {
  const found = await executions.get(id)
  if (sees(token, found.execution.merId)) return found
  throw new RuntimeError('NOT_FOUND', `There is no execution with the id ${id}.`)
}

const changed = changeOf(({ id, merId, hookPath, status }: Noun) => ({
  ...{ subject: id, merId },
  state: { id, hook: hookPath, status }
}))

/**
 * In batches, each a transaction of its own that brings the entry of them all up to date. What is replayed meanwhile, and finished, is not met again: the walk goes
 * by rising ids and ends at what existed when it began.
 */
async function replayMany({ executions, nudge, trail }: ExecutionNeeds, token: Token, body: Static<typeof Many>) {
  const { limit = MAX_REPLAYED, merId, ...given } = body
  const now = Date.now()
  const asked = filterOf(given)
  const owner = narrowed(token, merId === null ? '' : merId)
  const filter = { ...asked, to: Math.min(asked.to ?? now, now), merId: owner }
  let replayed = 0
  const also = trail(token, 'execution.replay', (count: number) => ({
    ...{ subject: 'many', merId: owner || null },
    after: { filter: given, replayed: replayed + count }
  }))
  let after: string | null = ''
  while (after !== null && replayed < limit) {
    const batch = await executions.replayMany(filter, Math.min(BATCH, limit - replayed), after, also)
    replayed += batch.replayed
    after = batch.last
    nudge()
  }
  return { replayed }
}

const filterOf = ({
  from,
  to,
  status,
  hook,
  eventId
}: Omit<Static<typeof Many>, 'limit' | 'merId'>): ExecutionFilter => ({
  ...{ status, hook, eventId },
  ...(from !== undefined && { from: instantOf(from) }),
  ...(to !== undefined && { to: instantOf(to) })
})
