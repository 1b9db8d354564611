import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import { Type } from 'typebox'
import type { HookState } from '../store/hooks.ts'
import type { Token } from '../store/tokens.ts'
import { READERS, WRITERS } from './auth.ts'
import { Hook, HookVersion, versionOf } from './hook-schema.ts'
import { compiledBy } from './hook-script.ts'
import { type HookNeeds, ownHook, shown } from './hooks.ts'
import { pageAnswer, pageRequest } from './page.ts'
import { Id, listQuery, named, pageOf, problems } from './schemas.ts'
import { changeOf } from './trail.ts'

export type VersionNeeds = Pick<HookNeeds, 'hooks' | 'check' | 'knowsEvent' | 'trail'>

const tags = ['Hooks']
const Numbered = Type.Object({
  ...Id.properties,
  n: Type.Integer({ minimum: 1, maximum: 2_000_000_000, description: "The version's number" })
})
const LIST = {
  config: { scopes: READERS },
  schema: {
    tags,
    summary: "A hook's versions, the newest first, with their scripts",
    params: Id,
    querystring: listQuery({}),
    response: { 200: pageOf(named(HookVersion)), ...problems }
  }
}
const GET = {
  config: { scopes: READERS },
  schema: { tags, summary: 'A version', params: Numbered, response: { 200: named(HookVersion), ...problems } }
}
const PUBLISH = {
  config: { scopes: WRITERS },
  schema: {
    tags,
    summary: 'Publish a version: forward or back',
    params: Numbered,
    response: { 200: named(Hook), ...problems }
  }
}

/** A hook's history; publishing an earlier version rolls it back. */
export const versionRoutes =
  (needs: VersionNeeds): FastifyPluginAsyncTypebox =>
  async app => {
    const { hooks } = needs
    app.get('/:id/versions', LIST, async ({ token, params, query }) => {
      const hook = await ownHook(hooks, token, params.id)
      const page = await hooks.versions(hook.id, pageRequest(query, 'number'))
      return pageAnswer(page, version => versionOf(hook, version))
    })
    app.get('/:id/versions/:n', GET, async ({ token, params }) => {
      const hook = await ownHook(hooks, token, params.id)
      return versionOf(hook, await hooks.version(hook.id, params.n))
    })
    app.post('/:id/versions/:n/publish', PUBLISH, ({ token, params }) => publish(needs, token, params))
  }

const published = changeOf(({ hook }: HookState) => ({
  ...{ subject: hook.path, merId: hook.merId },
  state: { version: hook.version }
}))

/** The text is compiled again: what an older release accepted may be refused by this one. */
async function publish(needs: VersionNeeds, token: Token, { id, n }: { id: string; n: number }) {
  await ownHook(needs.hooks, token, id)
  const { script } = await needs.hooks.version(id, n)
  await compiledBy(needs.check, script)
  return shown(needs, await needs.hooks.publish(id, n, needs.trail(token, 'hook.publish', published)))
}
