import type { Logger } from 'pino'
import { asRuntimeError } from '../errors.ts'
import type { Limits, RetryPolicy } from '../model.ts'
import type { Fleet } from '../runner/fleet.ts'
import type { Claim, Queue, Settlement } from '../store/queue.ts'
import type { RunAttempt } from './attempt.ts'
import type { Registry, Snapshot } from './registry.ts'
import { buryOrphan, settlementOf } from './settle.ts'

export interface DispatcherNeeds {
  queue: Queue
  registry: Registry
  fleet: Fleet
  runAttempt: RunAttempt
  limits: Limits
  retry: RetryPolicy
  leaseMs: number
  /** Nobody else can hold leases: those of a former process of this node are taken back at the start. */
  alone: boolean
  logger: Logger
  /** Told of every settled batch. */
  onSettled: (batch: Settlement[]) => void
}

export interface Dispatcher {
  start: () => void
  /** There may be work: look now instead of at the next poll. */
  nudge: () => void
  /** Executions that this node holds, and outcomes that wait to be written. */
  readonly load: { running: number; unsettled: number }
  /**
   * Claims no more and waits for what runs, at most `graceMs`; then ends it, to be run again elsewhere. Resolves when
   * every outcome is written; those that a database that is down does not take, a second later without them.
   */
  stop: (graceMs: number) => Promise<void>
}

const POLL_MS = 1_000
const MAX_CLAIM = 200
const OUTAGE_PAUSE_MS = 1_000
/** After runs were told to end, for them to do so and for what they came to to be written. */
const LAST_WRITES_MS = 1_000

/**
 * The loop between the executions table and the runners.
 *
 * D1 At most `fleet.free` executions are claimed at once, and of one hook at most its `concurrency`.
 * D2 What is claimed is settled by this process, or its lease ends and another node claims it.
 * D3 An outcome that can't be written is kept and tried again until the database is back; meanwhile nothing is claimed.
 */
export function createDispatcher(needs: DispatcherNeeds): Dispatcher {
  const { queue, registry, fleet, logger } = needs
  const running = new Map<string, { hookId: string; promise: Promise<void> }>()
  const outcomes: Settlement[] = []
  const abort = new AbortController()
  let stopping = false
  let nudged = false
  let claiming: Promise<void> | null = null
  let writing: Promise<void> | null = null
  let poll: NodeJS.Timeout | undefined
  let leases: NodeJS.Timeout | undefined

  function nudge(): void {
    nudged = true
    if (claiming || stopping) return
    claiming = claimWhileRoom().finally(() => {
      claiming = null
    })
  }

  async function claimWhileRoom(): Promise<void> {
    while (nudged && !stopping) {
      nudged = false
      try {
        const count = Math.min(fleet.free - waitingForRunner(), MAX_CLAIM)
        if (count <= 0 || outcomes.length > MAX_CLAIM) return
        const hooks = await registry.current()
        const { claims, more } = await queue.claim({ count, ...places(hooks) })
        for (const claim of claims) begin(claim, hooks)
        if (more) nudged = true
      } catch (error) {
        logger.error({ err: error }, 'Claiming executions failed; trying again')
        await pause(OUTAGE_PAUSE_MS)
      }
    }
  }

  /** Claimed, but still before their run (fetching settings, asking for markers): they will want a place too. */
  const waitingForRunner = () => Math.max(0, running.size - fleet.inFlight)

  /** Each hook's places among the runs at once. */
  function places(hooks: Snapshot) {
    const taken = new Map<string, number>()
    for (const { hookId } of running.values()) taken.set(hookId, (taken.get(hookId) ?? 0) + 1)
    const limitOf = (id: string) => hooks.byId(id)?.hook.limits.concurrency ?? needs.limits.concurrency
    const room = (id: string) => {
      const count = taken.get(id) ?? 0
      if (count < limitOf(id)) taken.set(id, count + 1)
      return count < limitOf(id)
    }
    return { room, fullHooks: [...taken].filter(([id, count]) => count >= limitOf(id)).map(([id]) => id) }
  }

  function begin(claim: Claim, hooks: Snapshot): void {
    const { id, hookId } = claim.execution
    const promise = perform(claim, hooks).finally(() => {
      running.delete(id)
      nudge()
    })
    running.set(id, { hookId, promise })
  }

  async function perform(claim: Claim, hooks: Snapshot): Promise<void> {
    const published = hooks.byId(claim.execution.hookId)
    if (!published) return record(buryOrphan(claim, Date.now()))
    const { event, execution } = claim
    const report = await needs.runAttempt({ event, execution, published, hooks, signal: abort.signal })
    const policy = { ...needs.retry, ...published.hook.retry }
    record(settlementOf(claim, report, policy, Date.now()))
  }

  function record(settlement: Settlement): void {
    outcomes.push(settlement)
    writing ??= new Promise<void>(resolve => setImmediate(resolve)).then(writeOutcomes).finally(() => {
      writing = null
    })
  }

  async function writeOutcomes(): Promise<void> {
    while (outcomes.length > 0) {
      const batch = outcomes.slice(0, MAX_CLAIM)
      try {
        await write(batch)
        outcomes.splice(0, batch.length)
      } catch (thrown) {
        const error = asRuntimeError(thrown)
        logger.error({ err: error, waiting: outcomes.length }, 'Outcomes could not be written; trying again')
        if (error.code !== 'STORE_UNAVAILABLE') await writeEach(outcomes.splice(0, batch.length))
        await pause(OUTAGE_PAUSE_MS)
      }
    }
    nudge()
  }

  async function write(batch: Settlement[]): Promise<void> {
    const lost = await queue.settle(batch)
    for (const id of lost) logger.warn({ execution: id }, 'The lease of an execution was lost: another node settles it')
    needs.onSettled(batch.filter(({ execution }) => !lost.has(execution.id)))
  }

  /** The database refuses something in the batch: that one is written without its record, and the log has it. */
  async function writeEach(batch: Settlement[]): Promise<void> {
    for (const settlement of batch)
      try {
        await write([settlement])
      } catch (error) {
        const { attempt, execution } = settlement
        logger.error(
          { err: error, execution: execution.id, attempt },
          'A run could not be recorded; here is what it was'
        )
        outcomes.push({ ...settlement, attempt: null, execution: { ...execution, result: null } })
      }
  }

  async function keepLeases(): Promise<void> {
    try {
      const held = [...running.keys(), ...outcomes.map(({ claim }) => claim.execution.id)]
      if (held.length > 0) await queue.renew(held)
      const reaped = await queue.reap()
      if (reaped > 0) logger.warn({ count: reaped }, 'Took back executions of a lost node')
      if (reaped > 0) nudge()
    } catch (error) {
      logger.error({ err: asRuntimeError(error) }, 'Leases could not be renewed')
    }
  }

  async function drain(): Promise<void> {
    await claiming
    while (running.size > 0 || writing) {
      await Promise.all([...running.values()].map(({ promise }) => promise))
      await writing
    }
  }

  return {
    start() {
      if (needs.alone) void queue.reap(true).then(nudge, error => logger.error({ err: error }, 'Reaping failed'))
      poll = setInterval(nudge, POLL_MS)
      leases = setInterval(() => void keepLeases(), needs.leaseMs / 3)
      fleet.onFree(nudge)
      nudge()
    },
    nudge,
    get load() {
      return { running: running.size, unsettled: outcomes.length }
    },
    async stop(graceMs) {
      stopping = true
      clearInterval(poll)
      const timer = setTimeout(() => abort.abort(), graceMs)
      await Promise.race([drain(), pause(graceMs + LAST_WRITES_MS)])
      clearTimeout(timer)
      clearInterval(leases)
      const left = { running: running.size, unsettled: outcomes.length }
      if (left.running + left.unsettled > 0) logger.error(left, 'Stopped with executions that run again elsewhere')
    }
  }
}

const pause = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))
