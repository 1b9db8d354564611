import type { FastifyInstance } from 'fastify'
import type { AuditStore } from '../store/audit.ts'
import { AuditEntry, auditRoutes } from './audit.ts'
import type { Auth } from './auth.ts'
import { catalogRoutes } from './catalog.ts'
import { EnvItem, type EnvNeeds, envRoutes } from './env.ts'
import { type EventNeeds, eventReadRoutes } from './events.ts'
import { Attempt, Event, EventDetail, Execution, ExecutionDetail } from './execution-schema.ts'
import { type ExecutionNeeds, executionRoutes } from './executions.ts'
import { type HealthNeeds, healthRoutes } from './health.ts'
import { CatalogEntry, Hook, HookSummary, HookVersion } from './hook-schema.ts'
import { type HookNeeds, hookRoutes } from './hooks.ts'
import { DeadMessage, type MessageNeeds, messageRoutes } from './messages.ts'
import { type MonitorNeeds, monitorRoutes, SentMessage } from './monitor.ts'
import { collectRoutes, serveDocument } from './openapi.ts'
import { type StatsNeeds, statsRoutes } from './stats.ts'
import { MadeToken, Token, type TokenNeeds, tokenRoutes } from './tokens.ts'
import { createTrail } from './trail.ts'
import { versionRoutes } from './versions.ts'

export type AdminNeeds = Pick<Auth, 'authorize'> &
  Omit<HookNeeds & EnvNeeds & TokenNeeds, 'trail'> &
  Omit<ExecutionNeeds & EventNeeds & StatsNeeds & MonitorNeeds & MessageNeeds, 'trail'> &
  HealthNeeds & { audit: AuditStore } & Parameters<typeof catalogRoutes>[0]

const SHARED = [
  ...[Hook, HookSummary, HookVersion, CatalogEntry],
  ...[Event, EventDetail, Execution, ExecutionDetail, Attempt],
  ...[EnvItem, Token, MadeToken, AuditEntry, SentMessage, DeadMessage]
]

/**
 * Mounts the admin API, health and the API's document. Routes registered after this are in the document too; those
 * that are registered before are not.
 */
export async function registerAdmin(app: FastifyInstance, { authorize, audit, ...given }: AdminNeeds): Promise<void> {
  const needs = { ...given, trail: createTrail(audit) }
  for (const schema of SHARED) app.addSchema(schema)
  await collectRoutes(app)
  await serveDocument(app)
  await app.register(healthRoutes(needs))
  await app.register(
    async api => {
      // Before the body is read; a route that names no scopes is for admins.
      api.addHook('onRequest', async request => {
        request.token = await authorize(request, ...(request.routeOptions.config.scopes ?? []))
      })
      await api.register(hookRoutes(needs), { prefix: '/hooks' })
      await api.register(versionRoutes(needs), { prefix: '/hooks' })
      await api.register(eventReadRoutes(needs), { prefix: '/events' })
      await api.register(executionRoutes(needs), { prefix: '/executions' })
      await api.register(envRoutes(needs), { prefix: '/env' })
      await api.register(tokenRoutes(needs), { prefix: '/tokens' })
      await api.register(auditRoutes({ audit }), { prefix: '/audit' })
      await api.register(statsRoutes(needs), { prefix: '/stats' })
      await api.register(catalogRoutes(needs), { prefix: '/catalog' })
      await api.register(monitorRoutes(needs), { prefix: '/monitor' })
      await api.register(messageRoutes(needs), { prefix: '/messages' })
    },
    { prefix: '/admin/v1' }
  )
}
