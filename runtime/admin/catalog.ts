import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { CatalogEntry as Entry } from '../config-files.ts'
import { READERS } from './auth.ts'
import { CatalogEntry } from './hook-schema.ts'
import { named, pageOf, problems } from './schemas.ts'

const LIST = {
  config: { scopes: READERS },
  schema: {
    tags: ['Catalog'],
    summary: 'The events that are known by name, all on one page',
    response: { 200: pageOf(named(CatalogEntry)), ...problems }
  }
}

/** The event catalog. */
export const catalogRoutes =
  ({ catalog }: { catalog: Entry[] }): FastifyPluginAsyncTypebox =>
  async app => {
    app.get('', LIST, async () => ({ items: catalog, nextCursor: null }))
  }
