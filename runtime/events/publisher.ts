import type { ChannelModel, ConfirmChannel, Options } from 'amqplib'
import type { Logger } from 'pino'
import { RuntimeError } from '../errors.ts'
import type { Announcement } from '../model.ts'
import { type Link, openLink } from './broker.ts'
import { APP_ID } from './delivery.ts'

/** A message to be sent. */
export interface Outgoing {
  /** '': straight to the queue that the routing key names. */
  exchange: string
  routingKey: string
  content: Buffer
  options: Options.Publish
}

export interface Publisher {
  /**
   * Sends a message and resolves when the broker has confirmed it; with `mandatory`, only when a queue has it. Throws
   * BROKER_UNAVAILABLE when that does not happen within five seconds (the message may still arrive), and
   * ARGUMENT_INVALID when the broker refuses it for good.
   */
  send: (message: Outgoing) => Promise<void>
  /** Why nothing can be sent now; null: all is well. */
  readonly problem: string | null
  close: () => Promise<void>
}

const CONFIRM_MS = 5_000
const NOT_FOUND = 404
const ACCESS_REFUSED = 403

const unavailable = (why: string, cause?: unknown) =>
  new RuntimeError('BROKER_UNAVAILABLE', `The message is not confirmed by the broker (${why}); it is sent again.`, {
    cause
  })

/**
 * Sends over a connection of its own: a broker short of memory stops listening to connections that publish, and what is
 * read must still be acknowledged. Each exchange has a channel of its own, since a mistake closes the channel for all.
 */
export function createPublisher({ url, logger }: { url: string; logger: Logger }): Publisher {
  let connection: ChannelModel | null = null
  const channels = new Map<string, Promise<Lane>>()

  const link: Link = openLink({
    ...{ url, name: 'sandhook publisher', logger },
    async begin(fresh, _lost, signal) {
      connection = fresh
      signal.addEventListener('abort', () => {
        if (connection === fresh) connection = null
        channels.clear()
      })
      return { stop: async () => {} }
    }
  })

  function laneOf(exchange: string): Promise<Lane> {
    const known = channels.get(exchange)
    if (known) return known
    if (!connection) throw unavailable(link.problem ?? 'not connected')
    const lane = openLane(connection, exchange, () => {
      if (channels.get(exchange) === lane) channels.delete(exchange)
    })
    channels.set(exchange, lane)
    lane.catch(() => channels.delete(exchange))
    return lane
  }

  return {
    get problem() {
      return link.problem
    },
    async send(message) {
      // What is written to a broker that does not listen arrives later, and so would every repetition of it.
      if (link.problem !== null) throw unavailable(link.problem)
      const { promise: late, reject } = Promise.withResolvers<never>()
      const patience = setTimeout(() => reject(unavailable(link.problem ?? 'no answer within 5 s')), CONFIRM_MS)
      try {
        await Promise.race([laneOf(message.exchange).then(lane => lane.send(message)), late])
      } catch (error) {
        throw error instanceof RuntimeError ? error : unavailable((error as Error).message, error)
      } finally {
        clearTimeout(patience)
      }
    },
    close: link.close
  }
}

/** A channel in confirm mode, for one exchange. */
interface Lane {
  send: (message: Outgoing) => Promise<void>
}

async function openLane(connection: ChannelModel, exchange: string, onClose: () => void): Promise<Lane> {
  const channel: ConfirmChannel = await connection.createConfirmChannel()
  const returned = new Set<unknown>()
  let why: Error | null = null
  channel.on('error', error => {
    why = error
  })
  channel.on('close', onClose)
  channel.on('return', ({ properties }) => returned.add(properties.messageId))

  const send = ({ routingKey, content, options }: Outgoing): Promise<void> =>
    new Promise((resolve, reject) => {
      const settle = (error: unknown) => {
        // The broker sends a message back before it confirms it.
        if (returned.delete(options.messageId)) reject(unavailable(`no queue takes ${exchange} ${routingKey}`))
        else if (error) reject(refusalOf(why, exchange, routingKey) ?? unavailable(reasonOf(error, why), error))
        else resolve()
      }
      try {
        channel.publish(exchange, routingKey, content, options, settle)
      } catch (error) {
        reject(impossible(error as Error, routingKey) ?? unavailable(reasonOf(error, why), error))
      }
    })
  return { send }
}

const reasonOf = (error: unknown, why: Error | null): string => (why ?? (error as Error)).message

/** The broker has closed the channel over a mistake that no repetition mends. */
function refusalOf(why: (Error & { code?: number }) | null, exchange: string, routingKey: string) {
  if (why?.code !== NOT_FOUND && why?.code !== ACCESS_REFUSED) return null
  return new RuntimeError(
    'ARGUMENT_INVALID',
    `The broker refuses ${routingKey} to the exchange ${exchange}: ${why.message}. Correct the exchange's name or the ` +
      `account's rights, then replay.`,
    { cause: why }
  )
}

/** The client can't even write it. */
const impossible = (error: Error, routingKey: string) =>
  error.name === 'IllegalOperationError'
    ? null
    : new RuntimeError('ARGUMENT_INVALID', `${routingKey} can't be sent: ${error.message}.`, { cause: error })

type SentByHook = Extract<Announcement, { kind: 'message' }>

/** A hook's message as it is sent; its id lets receivers know repetitions. */
export const outgoingOf = ({ id, exchange, routingKey, body, headers }: SentByHook): Outgoing => ({
  ...{ exchange, routingKey, content: Buffer.from(JSON.stringify(body)) },
  options: {
    ...{ messageId: id, headers, persistent: true, contentType: 'application/json', appId: APP_ID },
    timestamp: Math.floor(Date.now() / 1000)
  }
})

/** Where no broker is configured. */
export const NO_PUBLISHER: Pick<Publisher, 'send'> = {
  async send({ routingKey }) {
    throw new RuntimeError(
      'ARGUMENT_INVALID',
      `mq.publish ${routingKey}: no broker is configured. Set AMQP_URL, then replay.`
    )
  }
}
