import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { pino } from 'pino'
import { v7 as uuid } from 'uuid'
import { afterAll, onTestFinished } from 'vitest'
import { readConfig } from '../../runtime/config.ts'
import { installDemoShop } from '../../runtime/demo/install.ts'
import { createRunAttempt } from '../../runtime/events/attempt.ts'
import { createRegistry } from '../../runtime/events/registry.ts'
import type { AttemptReport } from '../../runtime/events/run-record.ts'
import { createAddressGuard } from '../../runtime/host/address-guard.ts'
import { ensureEffectsTable } from '../../runtime/host/effects.ts'
import { createHttpClient, type HttpClient } from '../../runtime/host/http-client.ts'
import { openMysqlShop } from '../../runtime/host/mysql/shop.ts'
import type { ShopDatabase } from '../../runtime/host/shop.ts'
import { createAccess } from '../../runtime/host/sql/access.ts'
import { createTables } from '../../runtime/host/sql/tables.ts'
import { openSqliteShop } from '../../runtime/host/sqlite/shop.ts'
import type { Announcement, Hook, HostCall, Json, LogLine } from '../../runtime/model.ts'
import { createFleet, type Fleet } from '../../runtime/runner/fleet.ts'
import { type Database, openDatabase } from '../../runtime/store/database.ts'
import type { PublishedHook } from '../../runtime/store/hooks.ts'
import { newExecution } from '../../runtime/store/queue.ts'
import type { engines } from './databases.ts'

/** A shop's database with the demo shop in it, as the runtime opens it and as a test looks into it. */
export interface TestShop {
  engine: 'sqlite' | 'mysql'
  database: ShopDatabase
  /** Any SQL, for set-up and checks. */
  sql: <Row = Record<string, Json>>(text: string, params?: Json[]) => Promise<Row[]>
  close: () => Promise<void>
}

export async function openTestShop(entry: (typeof engines)[number]): Promise<TestShop> {
  const { url, drop } = await entry.make()
  const db = openDatabase(url)
  await ensureEffectsTable(db)
  await installDemoShop(db)
  const database = url.startsWith('sqlite:') ? openSqliteShop(url.slice(7)) : openMysqlShop(url, { connections: 16 })
  return {
    engine: entry.engine,
    database,
    sql: (text, params = []) => rowsOf(db, text, params),
    async close() {
      await database.close()
      await db.destroy()
      await drop()
    }
  }
}

async function rowsOf<Row>(db: Database, text: string, params: Json[]): Promise<Row[]> {
  const answer = (await db.raw(text, params as never)) as unknown
  if (!Array.isArray(answer)) return []
  return (Array.isArray(answer[0]) ? answer[0] : answer) as Row[]
}

export interface PartnerRequest {
  method: string
  /** With its query. */
  path: string
  headers: IncomingHttpHeaders
  body: Json
}

export interface Partner {
  url: string
  requests: PartnerRequest[]
  close: () => Promise<void>
}

/** A partner's system: a real HTTP server that keeps what it receives and answers what `answer` says. */
export async function startPartner(
  answer: (request: PartnerRequest) => { status?: number; body: unknown } | Promise<{ status?: number; body: unknown }>
): Promise<Partner> {
  const requests: PartnerRequest[] = []
  const server = createServer(async (incoming, outgoing) => {
    const chunks: Buffer[] = []
    for await (const chunk of incoming) chunks.push(chunk)
    const text = Buffer.concat(chunks).toString('utf8')
    const { method = '', url: path = '', headers } = incoming
    const request = { method, path, headers, body: parse(text) }
    requests.push(request)
    const { status = 200, body } = await answer(request)
    outgoing.writeHead(status, { 'content-type': typeof body === 'string' ? 'text/plain' : 'application/json' })
    outgoing.end(typeof body === 'string' ? body : JSON.stringify(body))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    }
  }
}

/** The address of a partner that takes so long over every answer, until the running test ends. */
export async function slowPartner(ms: number): Promise<string> {
  const partner = await startPartner(async () => {
    await new Promise(resolve => setTimeout(resolve, ms))
    return { body: {} }
  })
  onTestFinished(partner.close)
  return partner.url
}

/** A partner that answers nobody until it is released, or the running test ends. */
export async function holdingPartner(): Promise<Partner & { release: () => void }> {
  const { promise: released, resolve: release } = Promise.withResolvers<void>()
  const partner = await startPartner(() => released.then(() => ({ body: {} })))
  onTestFinished(partner.close)
  return { ...partner, release }
}

function parse(text: string): Json {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

export interface HookRun {
  shop: TestShop
  /** A file of `hooks/`, or `script` instead. */
  file?: string
  script?: string
  event?: { eventKey: string; payload: Json; merId?: number }
  env?: Record<string, string>
  secrets?: string[]
  /** Values of `env` that may be sent to some hosts only. */
  bound?: { key: string; value: string; hosts: string[] }[]
  /** Default: one that reaches this machine. It is closed when the run is over. */
  http?: HttpClient
  executionId?: string
  /** As the queue counts them; above 1 an earlier run may have left a marker or a journal. */
  runs?: number
  hook?: Partial<Hook>
  libraries?: Record<string, string>
  request?: { request: Json; globals: Record<string, Json> }
  targets?: Parameters<typeof createRunAttempt>[0]['targets']
  journal?: Parameters<typeof createRunAttempt>[0]['journal']
  /** Whether the execution is still this node's; default: always. */
  holds?: () => boolean
}

export interface HookRunResult {
  result: Json
  /** Null when it went well. */
  error: AttemptReport['attempt']['error']
  logs: Pick<LogLine, 'level' | 'message'>[]
  calls: HostCall[]
  /** Events and messages that were told after the commit. */
  announced: Announcement[]
  /** Whether the run left its marker in the shop. */
  committed: boolean
  report: AttemptReport
}

let shared: Fleet | null = null

/** One fleet for all runs of a test file, gone when the file is done. */
export function testFleet(): Fleet {
  if (shared) return shared
  shared = createFleet({ runners: 1, concurrency: 16, logger: pino({ level: 'silent' }) })
  afterAll(() => {
    shared?.close()
    shared = null
  })
  return shared
}

const HOOKS = new URL('../../hooks/', import.meta.url)

/** Runs a hook once in a real runner with the real host, as the dispatcher would. */
export async function runHook(options: HookRun): Promise<HookRunResult> {
  const { shop, event = { eventKey: 'TEST', payload: '1' }, env = {} } = options
  const script = options.script ?? (await readFile(new URL(options.file ?? '', HOOKS), 'utf8'))
  const announced: Announcement[] = []
  const http = options.http ?? createHttpClient({ guard: createAddressGuard(['127.0.0.0/8']) })
  const runAttempt = createRunAttempt({
    fleet: testFleet(),
    shop: shop.database,
    access: createAccess(createTables(readConfig({}).tables)),
    http,
    targets: options.targets ?? { enter: async () => async () => {} },
    env: { granted: async () => ({ values: env, secrets: options.secrets ?? [], bound: options.bound ?? [] }) },
    announce: async announcements => void announced.push(...announcements),
    journal: options.journal ?? { journal: async () => {}, journaled: async () => [] },
    limits: { ...readConfig({}).limits.defaults, concurrency: 16 }
  })
  const published = publish(`/custom/${options.file ?? 'test'}`, script, options.hook)
  const hooks = await createRegistry({
    revision: async () => '1',
    published: async () => ({ revision: '1', hooks: [published, ...(await librariesOf(options))] })
  }).current()
  const full = {
    id: uuid(),
    timestamp: 1704067200000,
    merId: null,
    key: null,
    source: 'http' as const,
    depth: 0,
    ...event
  }
  const execution = newExecution(full, published.hook, Date.now())
  execution.id = options.executionId ?? execution.id
  execution.runs = options.runs ?? (options.executionId ? 2 : 1)
  const signal = new AbortController().signal
  const { request } = options
  try {
    const report = await runAttempt({
      event: full,
      execution,
      published,
      hooks,
      signal,
      ...(options.holds ? { holds: options.holds } : {}),
      ...(request ? { request } : {})
    })
    const { attempt } = report
    const marked = await shop.sql('SELECT 1 FROM hook_effects WHERE execution_id = ?', [execution.id])
    return {
      result: report.result,
      error: attempt.error,
      logs: attempt.logs.map(({ level, message }) => ({ level, message })),
      calls: attempt.calls,
      announced,
      committed: marked.length > 0,
      report
    }
  } finally {
    await http.close()
  }
}

async function librariesOf({ libraries }: HookRun): Promise<PublishedHook[]> {
  const given = Object.entries(libraries ?? {}).map(([path, script]) => publish(path, script))
  const shipped = readConfig({}).builtinHooks.filter(({ path }) => path.startsWith('/lib/'))
  const read = async (file: string) => readFile(new URL(file, HOOKS), 'utf8')
  return [...given, ...(await Promise.all(shipped.map(async ({ path, file }) => publish(path, await read(file)))))]
}

function publish(path: string, script: string, more: Partial<Hook> = {}): PublishedHook {
  const hook: Hook = {
    ...{ id: uuid(), path, name: path, description: '', events: ['*'], enabled: true, merId: null, builtin: false },
    ...{ public: false, version: 1, limits: {}, retry: {}, transaction: 'run' as const, env: null },
    ...{ createdAt: 0, updatedAt: 0 },
    ...more
  }
  return { hook, version: { hookId: hook.id, version: 1, script, compiled: null, createdBy: 'test', createdAt: 0 } }
}
