import { readFileSync } from 'node:fs'
import swagger, { type SwaggerTransform } from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import type { FastifyInstance } from 'fastify'
import { Type } from 'typebox'
import type { Scope } from '../store/tokens.ts'
import { problems } from './schemas.ts'

const TAGS = {
  Events: 'What happened: sent here, and looked up',
  Hooks: 'Scripts, their versions, and calling them now',
  Executions: 'What became of events; dead letters; again',
  Env: 'Settings and secrets for scripts',
  Tokens: 'Who may do what',
  Audit: 'Who changed what',
  Stats: 'Counts and latencies',
  Catalog: 'The events that are known by name',
  Monitor: 'What was sent and never came',
  Messages: 'Messages of RabbitMQ that became no event',
  Health: 'Liveness, readiness, metrics, this document',
  Demo: 'Stand-ins for partners, while the demo is on'
}

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string
}

/** Begins to collect the routes that are registered from now on, for the API's document. */
export async function collectRoutes(app: FastifyInstance): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Sandhook',
        version,
        description:
          'Runs merchants’ scripts on order events. Errors are `application/problem+json` with a stable `code`. ' +
          'Lists take `limit` and `cursor` and answer `{ items, nextCursor }`.'
      },
      tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
      components: {
        securitySchemes: {
          bearer: {
            type: 'http',
            scheme: 'bearer',
            description: 'A token of `/admin/v1/tokens`. The names at each address are scopes, any of which is enough.'
          }
        }
      }
    },
    transform: withRefusals,
    refResolver: { buildLocalReference: (json, _base, _fragment, i) => String(json.$id ?? `def-${i}`) }
  })
}

const OPEN = { additionalProperties: true, description: 'OpenAPI 3.1' }

/** Serves the collected document, and a page to read it and try it; nothing on that page comes from elsewhere. */
export async function serveDocument(app: FastifyInstance): Promise<void> {
  const schema = { tags: ['Health'], summary: 'This document', response: { 200: Type.Object({}, OPEN) } }
  app.get('/openapi.json', { schema }, async () => app.swagger())
  await app.register(swaggerUi, {
    routePrefix: '/docs',
    theme: { title: 'Sandhook API' },
    uiConfig: { deepLinking: true, docExpansion: 'none' }
  })
}

/** The scopes that guard a route are also what its documentation says; and any route may refuse. */
const withRefusals: SwaggerTransform = ({ schema, url, route }) => {
  const scopes = (route.config as { scopes?: readonly Scope[] } | undefined)?.scopes
  return {
    url,
    schema: {
      ...schema,
      response: { ...problems, ...(schema?.response as object | undefined) },
      ...(scopes && { security: ['admin', ...scopes].map(scope => ({ bearer: [scope] })) })
    }
  }
}
