import { v7 as uuid } from 'uuid'
import { afterAll, beforeAll, beforeEach, describe } from 'vitest'
import type { Attempt, Execution, HookEvent } from '../../runtime/model.ts'
import { type Database, migrate, openDatabase, transact } from '../../runtime/store/database.ts'
import { insertEvents } from '../../runtime/store/events.ts'
import type { ExecutionRow } from '../../runtime/store/execution-row.ts'
import type { HookFields } from '../../runtime/store/hooks.ts'
import {
  type Claim,
  type ClaimRequest,
  insertExecutions,
  laneOf,
  newExecution,
  type Queue,
  type Settlement
} from '../../runtime/store/queue.ts'
import { engines, type TestDatabase } from '../support/databases.ts'

export type Engine = (typeof engines)[number]

/** The runtime's tables in a database of one suite's own. */
export interface TestStore {
  readonly db: Database
  readonly url: string
  /** The same database by another pool, as another node has it; closed with the suite. */
  connect: () => Database
}

const TABLES = ['hooks', 'versions', 'events', 'executions', 'attempts', 'journal', 'env', 'tokens', 'audit', 'state']

type Suite = (store: TestStore, engine: Engine) => void

/** The same suite on every engine that this machine has, each with a store of its own. */
export const onEachEngine = (name: string, suite: Suite): void => engines.forEach(on(name, suite))

/** For what only several nodes on one MySQL can show. */
export const onMysql = (name: string, suite: Suite): void =>
  engines.filter(({ engine }) => engine === 'mysql').forEach(on(name, suite))

const on = (name: string, suite: Suite) => (engine: Engine) =>
  describe.skipIf(engine.missing)(`${name} on ${engine.name}`, () => suite(useStore(engine), engine))

/** Call it in a `describe`: makes the tables once, and empties them before each test. */
function useStore({ make }: Engine): TestStore {
  const pools: Database[] = []
  let made: TestDatabase | null = null
  const connect = () => {
    const db = openDatabase((made as TestDatabase).url)
    pools.push(db)
    return db
  }
  beforeAll(async () => {
    made = await make()
    await migrate(connect())
  })
  beforeEach(async () => {
    await transact(pools[0] as Database, async trx => {
      for (const table of TABLES) await trx(`sandhook_${table}`).delete()
    })
  })
  afterAll(async () => {
    for (const pool of pools) await pool.destroy()
    await made?.drop()
  })
  return {
    get db() {
      return pools[0] as Database
    },
    get url() {
      return (made as TestDatabase).url
    },
    connect
  }
}

export const eventOf = (fields: Partial<HookEvent> = {}): HookEvent => ({
  id: uuid(),
  eventKey: 'ORDER_PAY_SUCCESS',
  payload: '202401010001',
  timestamp: 1704067200000,
  merId: null,
  key: null,
  source: 'http',
  depth: 0,
  ...fields
})

export const hookFields = (fields: Partial<HookFields> = {}): HookFields => ({
  path: '/custom/test',
  name: 'Test',
  description: '',
  events: ['ORDER_*'],
  enabled: true,
  merId: null,
  builtin: false,
  public: false,
  limits: {},
  retry: {},
  transaction: 'run',
  env: null,
  ...fields
})

/** An execution to be put into the table, with its event. */
export interface Job {
  hook?: string
  /** The ordering key. */
  key?: string | null
  event?: Partial<HookEvent>
  execution?: Partial<Execution>
}

/** What a job comes to, not yet in the table: its id is from now. */
export function jobOf({ hook = 'a', key = null, event = {}, execution = {} }: Job = {}) {
  const about = eventOf({ key, ...event })
  const fresh = newExecution(about, { id: hook, path: `/custom/${hook}` }, Date.now())
  return { event: about, execution: { ...fresh, ...execution }, lane: laneOf(hook, key) }
}

export async function insertJobs(db: Database, jobs: ReturnType<typeof jobOf>[]): Promise<void> {
  await transact(db, async trx => {
    const events = new Map(jobs.map(({ event }) => [event.id, event]))
    await insertEvents(trx, [...events.values()], Date.now())
    await insertExecutions(trx, jobs)
  })
}

/** Puts jobs into the table in one transaction; answers their ids in the same order. */
export async function enqueue(db: Database, ...jobs: Job[]): Promise<string[]> {
  const made = jobs.map(jobOf)
  await insertJobs(db, made)
  return made.map(({ execution }) => execution.id)
}

export const enqueueOne = async (db: Database, job: Job = {}): Promise<string> => (await enqueue(db, job))[0] as string

export async function rowOf({ db }: TestStore, id: string | undefined): Promise<ExecutionRow> {
  const row: ExecutionRow | undefined = await db('sandhook_executions').where({ id }).first()
  if (!row) throw new Error(`no execution ${id}`)
  return row
}

/** Claims whatever can be claimed. */
export async function claimAll(queue: Queue, request: Partial<ClaimRequest> = {}): Promise<Claim[]> {
  const { claims } = await queue.claim({ count: 1_000, room: () => true, fullHooks: [], ...request })
  return claims
}

/** Claims the one execution that can be claimed. */
export async function claimOne(queue: Queue, request: Partial<ClaimRequest> = {}): Promise<Claim> {
  const [claim, ...others] = await claimAll(queue, request)
  if (!claim || others.length > 0) throw new Error(`${claim ? others.length + 1 : 0} claims where one was expected`)
  return claim
}

export const idsOf = (claims: Claim[]): string[] => claims.map(({ execution }) => execution.id)

export const attemptOf = ({ execution }: Claim, fields: Partial<Attempt> = {}): Attempt => ({
  attempt: execution.attempts + 1,
  run: execution.runs,
  version: 1,
  startedAt: Date.now(),
  durationMs: 12,
  cpuMs: 3,
  result: null,
  error: null,
  logs: [],
  logsCut: 0,
  calls: [],
  ...fields
})

/** A claim's end as a run that succeeded gives it. */
export const succeeded = (claim: Claim, attempt: Partial<Attempt> = {}): Settlement => ({
  claim,
  attempt: attemptOf(claim, attempt),
  execution: {
    ...claim.execution,
    ...{ status: 'succeeded', attempts: claim.execution.attempts + 1, result: attempt.result ?? null },
    ...{ nextAttemptAt: null, finishedAt: Date.now(), durationMs: 12 }
  }
})

/** A claim that failed and is tried again at a time. */
export const retrying = (claim: Claim, at: number): Settlement => ({
  claim,
  attempt: attemptOf(claim, { error: { code: 'HOOK_THREW', message: 'no' } }),
  execution: {
    ...claim.execution,
    ...{ status: 'retrying', attempts: claim.execution.attempts + 1, nextAttemptAt: at },
    error: { code: 'HOOK_THREW', message: 'no' }
  }
})

/** A claim that ended as a dead letter. */
export const dead = (claim: Claim): Settlement => ({
  claim,
  attempt: attemptOf(claim, { error: { code: 'HOOK_REJECTED', message: 'never' } }),
  execution: {
    ...claim.execution,
    ...{ status: 'dead', attempts: claim.execution.attempts + 1, nextAttemptAt: null, finishedAt: Date.now() },
    error: { code: 'HOOK_REJECTED', message: 'never' }
  }
})

/** Follows a list's cursors to its end. */
export async function walk<T>(
  list: (page: { limit: number; cursor?: string | undefined }) => Promise<{ items: T[]; nextCursor: string | null }>,
  limit: number
): Promise<T[]> {
  const items: T[] = []
  let cursor: string | undefined
  do {
    const page = await list({ limit, cursor })
    if (page.items.length > limit) throw new Error(`a page of ${page.items.length} where ${limit} were asked for`)
    items.push(...page.items)
    cursor = page.nextCursor ?? undefined
  } while (cursor !== undefined)
  return items
}
