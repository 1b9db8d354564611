import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { type Static, Type } from 'typebox'
import type { Config } from '../config.ts'
import { RuntimeError } from '../errors.ts'
import type { Hook as HookNoun } from '../model.ts'
import type { HookFilter, HookState, HookStore } from '../store/hooks.ts'
import type { Page, PageRequest } from '../store/row.ts'
import type { Token } from '../store/tokens.ts'
import { narrowed, READERS, sees, WRITERS } from './auth.ts'
import { allowedFields, completed } from './hook-rules.ts'
import { Hook, HookPatch, HookSummary, NewHook, summaryOf } from './hook-schema.ts'
import { type Check, compiledBy, warningsOf } from './hook-script.ts'
import { pageAnswer, pageRequest } from './page.ts'
import { Gone, Id, listQuery, MerIdQuery, named, pageOf, problems } from './schemas.ts'
import { actorOf, changeOf, digestOf, type Trail } from './trail.ts'

export interface HookNeeds {
  hooks: HookStore
  config: Pick<Config, 'limits'>
  check: Check
  /** Whether an event key fits a subscription. */
  matches: (pattern: string, eventKey: string) => boolean
  /** Whether a key or pattern fits any event of the catalog. */
  knowsEvent: (pattern: string) => boolean
  trail: Trail
}

const tags = ['Hooks']
const LIST = {
  config: { scopes: READERS },
  schema: {
    tags,
    summary: 'All hooks, by path; without their scripts',
    querystring: listQuery({
      path: Type.Optional(Type.String({ maxLength: 191 })),
      event: Type.Optional(Type.String({ maxLength: 100, description: 'Only those that run for this event key' })),
      merId: MerIdQuery
    }),
    response: { 200: pageOf(named(HookSummary)), ...problems }
  }
}
const GET = {
  config: { scopes: READERS },
  schema: { tags, summary: 'A hook with its published script', params: Id, response: { 200: named(Hook), ...problems } }
}
const CREATE = {
  config: { scopes: WRITERS, invalid: 'HOOK_INVALID' as const },
  schema: {
    tags,
    summary: 'Make a hook; its script is published at once',
    body: NewHook,
    response: { 201: named(Hook), ...problems }
  }
}
const CHANGE = {
  config: { scopes: WRITERS, invalid: 'HOOK_INVALID' as const },
  schema: {
    tags,
    summary: 'Change a hook; a script becomes its next version, published at once',
    params: Id,
    body: HookPatch,
    response: { 200: named(Hook), ...problems }
  }
}
const REMOVE = {
  config: { scopes: WRITERS },
  schema: {
    tags,
    summary: 'Remove a hook and its versions; what it has done stays in the history',
    params: Id,
    response: { 204: Gone, ...problems }
  }
}

/** Hooks: a merchant has to do with its own only. */
export const hookRoutes =
  (needs: HookNeeds): FastifyPluginAsyncTypebox =>
  async app => {
    app.get('', LIST, ({ token, query }) => list(needs, token, query))
    app.get('/:id', GET, async ({ token, params }) => shown(needs, await ownHook(needs.hooks, token, params.id)))
    app.post('', CREATE, async ({ token, body }, reply) => reply.code(201).send(await create(needs, token, body)))
    app.patch('/:id', CHANGE, ({ token, params, body }) => change(needs, token, params.id, body))
    app.delete('/:id', REMOVE, async ({ token, params }, reply) => {
      await remove(needs, token, params.id)
      return reply.code(204).send(null)
    })
  }

/** A hook that this token sees. Throws NOT_FOUND, for another's as for none at all. */
export async function ownHook(hooks: HookStore, token: Token, id: string): Promise<HookNoun> {
  const hook = await hooks.get(id)
  if (sees(token, hook.merId)) return hook
  throw new RuntimeError('NOT_FOUND', `There is no hook with the id ${id}.`)
}

/** A hook as a single answer has it: with its published script, and what is suspicious about it. */
export async function shown({ hooks, knowsEvent }: Pick<HookNeeds, 'hooks' | 'knowsEvent'>, hook: HookNoun) {
  const script = hook.version === null ? null : (await hooks.version(hook.id, hook.version)).script
  return { ...summaryOf(hook), script, warnings: warningsOf(hook, script ?? '', knowsEvent) }
}

const changed = changeOf(({ hook, script }: HookState) => ({
  ...{ subject: hook.path, merId: hook.merId },
  state: { ...hook, script: script === null ? null : digestOf(script) }
}))

async function list(needs: HookNeeds, token: Token, query: Static<typeof LIST.schema.querystring>) {
  const filter = { path: query.path, merId: narrowed(token, query.merId) }
  const page = pageRequest(query, 'pair')
  const { event } = query
  if (event === undefined) return pageAnswer(await needs.hooks.list(filter, page), summaryOf)
  const runs = ({ path, enabled, version, events }: HookNoun) =>
    enabled && version !== null && path.startsWith('/custom/') && events.some(key => needs.matches(key, event))
  return pageAnswer(await sifted(needs.hooks, filter, page, runs), summaryOf)
}

/** The next page that has anything of what is wanted; it may be shorter than asked for. */
async function sifted(
  hooks: HookStore,
  filter: HookFilter,
  page: PageRequest,
  wanted: (hook: HookNoun) => boolean
): Promise<Page<HookNoun>> {
  const { items, nextCursor } = await hooks.list(filter, page)
  const kept = items.filter(wanted)
  if (kept.length > 0 || nextCursor === null) return { items: kept, nextCursor }
  return sifted(hooks, filter, { ...page, cursor: nextCursor }, wanted)
}

async function create(needs: HookNeeds, token: Token, body: Static<typeof NewHook>) {
  const fields = completed(body.path, allowedFields(token, body, null, needs.config.limits))
  const script = await compiledBy(needs.check, body.script)
  const hook = await needs.hooks.create(fields, script, actorOf(token), needs.trail(token, 'hook.create', changed))
  return shown(needs, hook)
}

async function change(needs: HookNeeds, token: Token, id: string, body: HookPatch) {
  const held = await ownHook(needs.hooks, token, id)
  const fields = allowedFields(token, body, held, needs.config.limits)
  const script = body.script === undefined ? null : await compiledBy(needs.check, body.script)
  const also = needs.trail(token, 'hook.update', changed)
  return shown(needs, await needs.hooks.update(id, fields, script, actorOf(token), also))
}

async function remove({ hooks, trail }: HookNeeds, token: Token, id: string): Promise<void> {
  await ownHook(hooks, token, id)
  await hooks.remove(id, trail(token, 'hook.delete', changed))
}
