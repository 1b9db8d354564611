import amqp, { type AmqpConnectionManager } from 'amqp-connection-manager'
import type { ChannelModel } from 'amqplib'
import type { Logger } from 'pino'

/** What goes on over one connection. */
export interface Session {
  /** Ends what is begun, leaves the rest to be delivered again, and resolves when that is done. */
  stop: () => Promise<void>
}

export interface LinkNeeds {
  url: string
  /** How the broker's lists name the connection. */
  name: string
  logger: Logger
  /**
   * Begins a session on a fresh connection. When it rejects, or calls `lost`, the connection is closed and another one
   * is made after a rest. `signal` fires when the connection is gone.
   */
  begin: (connection: ChannelModel, lost: (why: Error) => void, signal: AbortSignal) => Promise<Session>
}

/** A connection to the broker that is made again whenever it breaks. */
export interface Link {
  /** Why nothing can go over it now; null: all is well. */
  readonly problem: string | null
  close: () => Promise<void>
}

const FIRST_DELAY_S = 0.5
const MAX_DELAY_S = 30
const CONNECT_MS = 10_000
const HEARTBEAT_S = 10
const STOP_MS = 5_000

/**
 * Keeps one connection with one session on it. Rests between attempts double up to half a minute; each new reason is
 * logged once.
 */
export function openLink({ url, name, logger, begin }: LinkNeeds): Link {
  let failures = 0
  let problem: string | null = 'not connected yet'
  let said = ''
  let session: Session | null = null
  let over = new AbortController()
  let reason: Error | null = null
  let closing = false

  const manager: AmqpConnectionManager = amqp.connect([url], {
    heartbeatIntervalInSeconds: HEARTBEAT_S,
    reconnectTimeInSeconds: FIRST_DELAY_S,
    connectionOptions: { timeout: CONNECT_MS, clientProperties: { connection_name: name } }
  })

  function broken(error: Error | undefined): void {
    over.abort()
    session = null
    if (closing) return
    const rest = Math.min(MAX_DELAY_S, FIRST_DELAY_S * 2 ** failures++)
    manager.reconnectTimeInSeconds = rest * (0.8 + Math.random() * 0.4)
    problem = (error ?? reason)?.message ?? 'the connection was closed'
    reason = null
    if (problem !== said) logger.warn(`AMQP_URL: ${name}: ${problem}; trying again until it works`)
    said = problem
  }

  async function connected(connection: ChannelModel): Promise<void> {
    over = new AbortController()
    const { signal } = over
    const lost = (why: Error) => {
      if (signal.aborted || reason) return
      reason = why
      // The manager sees it close, rests and connects again.
      void connection.close().catch(() => {})
    }
    try {
      const begun = await begin(connection, lost, signal)
      if (signal.aborted || reason) return
      session = begun
      failures = 0
      problem = null
      if (said !== '') logger.info(`AMQP_URL: ${name}: connected again`)
      said = ''
    } catch (error) {
      lost(error as Error)
    }
  }

  manager.on('connect', ({ connection }) => void connected(connection as unknown as ChannelModel))
  manager.on('connectFailed', ({ err }) => broken(err))
  manager.on('disconnect', ({ err }) => broken(err))
  manager.on('blocked', ({ reason: why }) => {
    problem = `the broker takes no messages now (${why})`
    logger.warn(`AMQP_URL: ${name}: ${problem}; nothing is lost, what is to be sent waits`)
  })
  manager.on('unblocked', () => {
    problem = session ? null : problem
    logger.info(`AMQP_URL: ${name}: the broker takes messages again`)
  })

  return {
    get problem() {
      return problem
    },
    async close() {
      closing = true
      problem = 'closed'
      const ending = (async () => {
        await session?.stop()
        over.abort()
        await manager.close()
      })()
      await Promise.race([ending, new Promise(resolve => setTimeout(resolve, STOP_MS).unref())])
    }
  }
}
