import type { FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { Registry } from 'prom-client'
import { createAuth } from '../../runtime/admin/auth.ts'
import { createCounts } from '../../runtime/admin/rates.ts'
import { type AdminNeeds, registerAdmin } from '../../runtime/admin/routes.ts'
import { createServer } from '../../runtime/admin/server.ts'
import { readConfig } from '../../runtime/config.ts'
import { RuntimeError } from '../../runtime/errors.ts'
import { keyMatches } from '../../runtime/events/router.ts'
import type { Execution, HookEvent, MerId } from '../../runtime/model.ts'
import { createFleet, type Fleet } from '../../runtime/runner/fleet.ts'
import { createAuditStore } from '../../runtime/store/audit.ts'
import { createCipher } from '../../runtime/store/cipher.ts'
import { type Database, migrate, openDatabase } from '../../runtime/store/database.ts'
import { createEnvStore } from '../../runtime/store/env.ts'
import { createEventStore, insertEvents } from '../../runtime/store/events.ts'
import { createExecutionStore } from '../../runtime/store/executions.ts'
import { createHookStore } from '../../runtime/store/hooks.ts'
import { insertExecutions, newExecution } from '../../runtime/store/queue.ts'
import { createSentMessageStore } from '../../runtime/store/sent-messages.ts'
import { createStateStore } from '../../runtime/store/state.ts'
import { createTokenStore, type Scope } from '../../runtime/store/tokens.ts'

const logger = pino({ level: 'silent' })
export const config = readConfig({})

/** A real runner that compiles scripts; to be closed. */
export const openFleet = (): Fleet => createFleet({ runners: 1, concurrency: 4, logger })

// biome-ignore lint/suspicious/noExplicitAny: tests look into whatever an answer is
export type Body = any

export interface Answer {
  status: number
  body: Body
  text: string
  headers: Record<string, unknown>
}

/** The admin API over a real database, with a client for it. */
export interface Admin {
  app: FastifyInstance
  db: Database
  /** How often the dispatcher was told that there is work. */
  nudges: () => number
  /** A fresh token's secret. */
  token: (scopes: Scope[], merId?: MerId | null, expiresAt?: number | null) => Promise<string>
  call: (secret: string | null, method: string, url: string, body?: unknown) => Promise<Answer>
  /** Every answer's text since the start. */
  answers: string[]
  /** Accepts an event with one execution, and says how that stands. */
  seed: (
    fields: Partial<HookEvent>,
    execution?: Partial<Execution>
  ) => Promise<{ event: HookEvent; execution: Execution }>
  close: () => Promise<void>
}

let seeded = 0

/** Builds it all on the database at `url`. */
export async function openAdmin(
  url: string,
  { check }: Pick<Fleet, 'check'>,
  checks: Record<string, () => Promise<void>> = {},
  log = logger
): Promise<Admin> {
  const db = openDatabase(url)
  await migrate(db)
  const tokens = createTokenStore(db)
  const state = createStateStore(db)
  let nudges = 0
  const watch = openWatch(db)
  const { callers } = config.limits
  const app = await createServer({ logger: log, callers, trustProxy: null })
  await registerAdmin(app, {
    hooks: createHookStore(db),
    events: createEventStore(db),
    executions: createExecutionStore(db),
    env: createEnvStore(db, createCipher(Buffer.alloc(32, 7))),
    tokens,
    audit: createAuditStore(db),
    ...createAuth({ tokens, counts: createCounts(app, callers.rates) }),
    catalog: config.catalog,
    knowsEvent: pattern => config.catalog.some(entry => keyMatches(pattern, entry.key)),
    matches: keyMatches,
    live: () => ({ inFlight: 0, runnersUp: 1 }),
    outside: { breakers: () => [], report: async () => [] },
    ...watch,
    nudge: () => void nudges++,
    metrics: new Registry(),
    checks: { database: () => state.ping(), ...checks },
    ...{ config, check }
  })
  addFaults(app)
  const answers: string[] = []
  return {
    ...{ app, db, answers, nudges: () => nudges },
    async token(scopes, merId = null, expiresAt = null) {
      const { secret } = await tokens.create({ name: `test ${scopes.join('+')}`, scopes, merId, expiresAt })
      return secret
    },
    async call(secret, method, url, body) {
      const headers = secret === null ? {} : { authorization: `Bearer ${secret}` }
      const payload = body === undefined ? {} : { payload: body as object }
      const answer = await app.inject({ method: method as 'GET', url, headers, ...payload })
      answers.push(answer.body)
      const isJson = /json/.test(String(answer.headers['content-type']))
      const parsed = isJson && answer.body !== '' ? JSON.parse(answer.body) : null
      return { status: answer.statusCode, body: parsed, text: answer.body, headers: answer.headers }
    },
    async seed(fields, execution = {}) {
      const event: HookEvent = {
        ...{ id: `event-${++seeded}`, eventKey: 'ORDER_PAY_SUCCESS', payload: `WX${seeded}`, timestamp: Date.now() },
        ...{ merId: null, key: `WX${seeded}`, source: 'http' as const, depth: 0 },
        ...fields
      }
      const made = { ...newExecution(event, { id: 'hook-1', path: '/custom/test' }, Date.now()), ...execution }
      await db.transaction(async trx => {
        await insertEvents(trx, [event], Date.now())
        await insertExecutions(trx, [{ execution: made, lane: null }])
      })
      return { event, execution: made }
    },
    async close() {
      await app.close()
      await db.destroy()
    }
  }
}

/** The monitor, for which nothing ever came. */
function openWatch(db: Database): Pick<AdminNeeds, 'monitor' | 'missingEvents' | 'deadMessages'> {
  const sent = createSentMessageStore(db)
  const nothing = async () => {
    throw new RuntimeError('NOT_FOUND', 'Nobody has reported a message with this id.')
  }
  return {
    monitor: {
      missing: (topic, page) => sent.missing(Date.now(), topic, page),
      countMissing: () => sent.countMissing(Date.now()),
      ...{ get: nothing, inject: nothing }
    },
    missingEvents: { compare: async () => [], raise: async () => ({ events: [], left: 0 }) },
    deadMessages: {
      list: async () => ({ items: [], nextCursor: null }),
      refeed: async () => ({ refed: 0, left: 0 })
    }
  }
}

/** Routes that fail in ways that the API itself does not. */
function addFaults(app: FastifyInstance): void {
  app.get('/test/bug', async () => {
    throw new Error('select from secret_table failed')
  })
  app.get('/test/busy', async () => {
    throw new RuntimeError('RATE_LIMITED', 'Too many calls; wait.', { retryAfterMs: 1_500 })
  })
}

/** A finished execution's members. */
export const ended = (status: Execution['status'], createdAt = Date.now()): Partial<Execution> => ({
  ...{ status, createdAt, attempts: 8, runs: 8, startedAt: createdAt + 5, finishedAt: createdAt + 50, durationMs: 45 },
  ...{
    nextAttemptAt: null,
    error: status === 'dead' ? { code: 'HOOK_THREW', message: 'Error: no', line: 3, column: 7 } : null
  }
})

/** A hook's body that is accepted. */
export const hookBody = (path: string, more: object = {}) => ({
  ...{ path, script: 'return payload.event.id', events: ['ORDER_PAY_SUCCESS'] },
  ...more
})
