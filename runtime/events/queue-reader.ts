import type { ChannelModel, ConsumeMessage } from 'amqplib'
import { asRuntimeError, retryOf } from '../errors.ts'

export interface ReaderNeeds<T> {
  connection: ChannelModel
  queue: string
  /** A message as it is handled. */
  open: (message: ConsumeMessage) => T
  /**
   * Does what a batch asks for, in its order, and calls `done` for each message that is safe elsewhere; it may do so
   * later, too. What it throws with `retry: 'free'` is an outage: the same batch comes again.
   */
  handle: (batch: T[], done: (message: T) => void) => Promise<void>
  /** One message that `handle` throws at whatever it does; it must end with `done`, too. */
  refuse: (message: T, error: Error, done: (message: T) => void) => void
  /** Told that this reader can go on no more, and all that is not done must be delivered again. */
  lost: (why: Error) => void
}

export interface Reader {
  /** Whether the broker has given this reader anything: where one consumer is active at a time, whether it is this one. */
  readonly active: boolean
  /** Ends the batch in hand and gives back the rest. */
  stop: () => Promise<void>
}

/** Messages that the broker hands over ahead of their acknowledgement: two batches, one in hand and one to follow. */
const PREFETCH = 1_000
const MAX_BATCH = 500
const OUTAGE_PAUSE_MS = 1_000
/** After this long the messages go back to the queue: another node may be better off. */
const MAX_OUTAGE_MS = 20_000

/**
 * Reads a queue in its order, one batch after the other.
 *
 * R1 A message is acknowledged after `done`, never before; whatever ends the channel has the others delivered again.
 * R2 A batch is begun when the one before it has ended. During an outage the batch waits here, so that order is kept.
 */
export async function startReader<T>(needs: ReaderNeeds<T>): Promise<Reader> {
  const { connection, queue, open, handle, refuse, lost } = needs
  const channel = await connection.createChannel()
  const raws = new Map<T, ConsumeMessage>()
  const waiting: T[] = []
  const stopping = new AbortController()
  let working: Promise<void> | null = null
  let active = false

  const done = (message: T) => {
    const raw = raws.get(message)
    if (raw && raws.delete(message)) ignoreClosed(() => channel.ack(raw))
  }

  function take(raw: ConsumeMessage | null): void {
    if (raw === null) {
      lost(new Error(`the queue ${queue} was deleted, or its consumer was cancelled`))
      return
    }
    active = true
    const message = open(raw)
    raws.set(message, raw)
    waiting.push(message)
    // What comes in the same moment goes in the same batch.
    working ??= new Promise<void>(resolve => setImmediate(resolve)).then(work)
  }

  async function work(): Promise<void> {
    try {
      while (waiting.length > 0 && !stopping.signal.aborted) await deliver(waiting.splice(0, MAX_BATCH))
    } catch (error) {
      if (!stopping.signal.aborted) lost(error as Error)
    }
    working = null
  }

  /** One that is refused does not take the others of its batch with it. */
  async function deliver(batch: T[]): Promise<void> {
    const begun = Date.now()
    while (!stopping.signal.aborted) {
      try {
        return await handle(batch, done)
      } catch (thrown) {
        const error = asRuntimeError(thrown)
        const [first] = batch
        if (retryOf(error.code) === 'free') {
          if (Date.now() - begun > MAX_OUTAGE_MS) throw error
          await rest(OUTAGE_PAUSE_MS, stopping.signal)
        } else if (batch.length === 1 && first !== undefined) return refuse(first, error, done)
        else {
          for (const message of batch) await deliver([message])
          return
        }
      }
    }
  }

  channel.on('error', lost)
  channel.on('close', () => {
    if (!stopping.signal.aborted) lost(new Error(`the channel of the queue ${queue} was closed`))
    stopping.abort()
  })
  await channel.prefetch(PREFETCH)
  await channel.consume(queue, take)

  return {
    get active() {
      return active
    },
    async stop() {
      stopping.abort()
      await working
      await channel.close().catch(() => {})
    }
  }
}

/** A channel that is closed has given its messages back already. */
function ignoreClosed(work: () => void): void {
  try {
    work()
  } catch (error) {
    if ((error as Error).name !== 'IllegalOperationError') throw error
  }
}

/** Waits, unless `signal` fires. */
export const rest = (ms: number, signal: AbortSignal): Promise<void> =>
  new Promise(resolve => {
    const timer = setTimeout(resolve, ms)
    signal.addEventListener(
      'abort',
      () => {
        clearTimeout(timer)
        resolve()
      },
      { once: true }
    )
  })
