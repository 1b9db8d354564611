import type { Logger } from 'pino'
import { asRuntimeError } from '../errors.ts'
import type { Limits, RetryPolicy } from '../model.ts'
import type { Fleet } from '../runner/fleet.ts'
import type { Claim, Queue, Settlement } from '../store/queue.ts'
import type { RunAttempt } from './attempt.ts'
import { createPace } from './pace.ts'
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
/**
 * How many times the places that are still free one hook may hold: alone 3/4 of all, two greedy ones 3/7 each, five
 * 3/16. So there are always some left for a hook that comes new, however many others are slow.
 */
const SHARE_OF_FREE = 3
/**
 * While runners have enough to do, what has ended is written and replaced so much later, in milliseconds, together with
 * what ends meanwhile: one by one, every run would cost two transactions.
 */
const LINGER_MS = 15
/** Part of a lease for which it is surely ours: the clocks of nodes may differ by the rest. */
const SURE_OF_LEASE = 0.8
/** After runs were told to end, for them to do so and for what they came to to be written. */
const LAST_WRITES_MS = 1_000

/**
 * The loop between the executions table and the runners.
 *
 * D1 At most `fleet.free` executions are claimed at once, of one hook at most its `concurrency` and its share, and
 *    those of a hook whose host is down at a slow pace.
 * D2 What is claimed is settled by this process, or its lease ends and another node claims it.
 * D3 An outcome that can't be written is kept and tried again until the database is back; meanwhile nothing is claimed.
 * D4 A run whose lease may have ended does nothing more to the world, even before this process learns of its loss.
 */
export function createDispatcher(needs: DispatcherNeeds): Dispatcher {
  const { queue, registry, fleet, logger } = needs
  const running = new Map<string, { hookId: string; promise: Promise<void> }>()
  /** Until when each of them is surely ours, in milliseconds since the epoch. */
  const heldUntil = new Map<string, number>()
  const outcomes: Settlement[] = []
  const pace = createPace()
  const abort = new AbortController()
  let stopping = false
  let nudged = false
  let claiming: Promise<void> | null = null
  let writing: Promise<void> | null = null
  let lingering: NodeJS.Timeout | undefined
  let poll: NodeJS.Timeout | undefined
  let leases: NodeJS.Timeout | undefined

  function nudge(): void {
    nudged = true
    clearTimeout(lingering)
    lingering = undefined
    if (claiming || stopping) return
    claiming = claimWhileRoom().finally(() => {
      claiming = null
    })
  }

  /** A place has fallen free: not worth a look by itself while most are taken. */
  function refill(): void {
    if (!busy()) nudge()
    else lingering ??= setTimeout(nudge, LINGER_MS)
  }

  const busy = () => running.size > fleet.free

  async function claimWhileRoom(): Promise<void> {
    while (nudged && !stopping) {
      nudged = false
      try {
        const free = fleet.free - waitingForRunner()
        if (free <= 0 || outcomes.length > MAX_CLAIM) return
        const hooks = await registry.current()
        const asked = Date.now()
        const { claims, more } = await queue.claim({ count: Math.min(free, MAX_CLAIM), ...places(hooks, free) })
        for (const claim of claims) begin(claim, hooks, asked + SURE_OF_LEASE * needs.leaseMs)
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
  function places(hooks: Snapshot, free: number) {
    const taken = new Map<string, number>()
    for (const { hookId } of running.values()) taken.set(hookId, (taken.get(hookId) ?? 0) + 1)
    let left = free
    const limitOf = (id: string) => hooks.byId(id)?.hook.limits.concurrency ?? needs.limits.concurrency
    const isFull = (id: string) => {
      const next = (taken.get(id) ?? 0) + 1
      // The last place is for a hook that has none.
      return next > limitOf(id) || (next > 1 && next > SHARE_OF_FREE * (left - 1)) || !pace.allows(id)
    }
    const room = (id: string) => {
      if (isFull(id)) return false
      taken.set(id, (taken.get(id) ?? 0) + 1)
      left--
      pace.started(id)
      return true
    }
    return { room, fullHooks: [...new Set([...taken.keys(), ...pace.held])].filter(isFull) }
  }

  function begin(claim: Claim, hooks: Snapshot, until: number): void {
    const { id, hookId } = claim.execution
    heldUntil.set(id, until)
    const promise = perform(claim, hooks).finally(() => {
      running.delete(id)
      heldUntil.delete(id)
      refill()
    })
    running.set(id, { hookId, promise })
  }

  async function perform(claim: Claim, hooks: Snapshot): Promise<void> {
    const published = hooks.byId(claim.execution.hookId)
    if (!published) return record(buryOrphan(claim, Date.now()))
    const { event, execution } = claim
    const holds = () => Date.now() < (heldUntil.get(execution.id) ?? 0)
    const report = await needs.runAttempt({ event, execution, published, hooks, signal: abort.signal, holds })
    if (report.error?.data?.resting) pace.putOff(execution.hookId)
    const policy = { ...needs.retry, ...published.hook.retry }
    record(settlementOf(claim, report, policy, Date.now()))
  }

  function record(settlement: Settlement): void {
    outcomes.push(settlement)
    writing ??= others()
      .then(writeOutcomes)
      .finally(() => {
        writing = null
      })
  }

  const others = () => new Promise<void>(resolve => (busy() ? setTimeout(resolve, LINGER_MS) : setImmediate(resolve)))

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
    refill()
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
        if (asRuntimeError(error).code === 'STORE_UNAVAILABLE') {
          outcomes.push(settlement)
          continue
        }
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
      const until = Date.now() + SURE_OF_LEASE * needs.leaseMs
      const kept = held.length > 0 ? await queue.renew(held) : new Set<string>()
      for (const id of held) if (running.has(id)) heldUntil.set(id, kept.has(id) ? until : 0)
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
      fleet.onFree(refill)
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
