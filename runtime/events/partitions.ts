import { createHash } from 'node:crypto'
import type { ChannelModel } from 'amqplib'
import { asRuntimeError, RuntimeError } from '../errors.ts'
import { IDLE_QUEUE, partitionExchange, ROLL_QUEUE } from './amqp-topology.ts'
import { AGAIN_HEADER, type Delivery, TOPIC_HEADER } from './delivery.ts'
import type { Interpret, Meaning } from './message-events.ts'
import type { Outgoing, Publisher } from './publisher.ts'
import type { Reader } from './queue-reader.ts'
import { partOf } from './topic-map.ts'

export interface SorterNeeds {
  partitions: number
  interpret: Interpret
  publisher: Pick<Publisher, 'send'>
}

/**
 * Passes messages on to the queue that their order number chooses, in their order; a list's elements apart, since each
 * may be about another order. Resolves when the broker has them all; what can't be read goes to any queue as it is.
 * A batch that is passed on again says so, and is known again where it arrives.
 */
export function createSorter({ partitions, interpret, publisher }: SorterNeeds): (batch: Delivery[]) => Promise<void> {
  const exchange = partitionExchange(partitions)
  return async batch => {
    const pieces = batch.flatMap(piecesOf)
    const meanings = await interpret(
      pieces.map(({ delivery: { topic, sentAt }, body }) => ({ ...{ topic, body, sentAt }, identity: '' }))
    )
    const outgoing = pieces.map((piece, i) => outgoingOf(piece, exchange, keyOf(meanings[i])))
    for (const delivery of batch) delivery.redelivered = true
    try {
      await Promise.all(outgoing.map(publisher.send))
    } catch (thrown) {
      // That the exchange is gone is no message's fault: it is declared again with the next connection.
      const error = asRuntimeError(thrown)
      throw error.code === 'ARGUMENT_INVALID'
        ? new RuntimeError('BROKER_UNAVAILABLE', error.message, { cause: error })
        : error
    }
  }
}

interface Piece {
  delivery: Delivery
  body: Delivery['body']
  content: Buffer
  messageId: string | undefined
}

function piecesOf(delivery: Delivery): Piece[] {
  const { body, problem, raw } = delivery
  const messageId = delivery.messageId ?? undefined
  if (problem !== null || !Array.isArray(body) || body.length < 2)
    return [{ delivery, body, content: raw.content, messageId }]
  return body.map((element, i) => ({
    ...{ delivery, body: [element], content: Buffer.from(JSON.stringify([element])) },
    messageId: messageId === undefined ? undefined : messageId + partOf(i)
  }))
}

/** The ordering key of what it becomes: the same as the lane's in which its executions will run. */
const keyOf = (meaning: Meaning | undefined): string => {
  const [event] = meaning?.events ?? []
  return String(event?.key ?? event?.payload ?? '')
}

/** What a routing key may have, in bytes. */
const MAX_ROUTING_KEY = 255

function outgoingOf({ delivery, content, messageId }: Piece, exchange: string, key: string): Outgoing {
  const { properties } = delivery.raw
  const short = Buffer.byteLength(key) <= MAX_ROUTING_KEY
  return {
    ...{ exchange, routingKey: short ? key : createHash('sha256').update(key).digest('hex'), content },
    options: {
      ...{ messageId, timestamp: properties.timestamp, contentType: properties.contentType, appId: properties.appId },
      ...{ persistent: true, mandatory: true },
      headers: {
        ...properties.headers,
        [TOPIC_HEADER]: delivery.topic,
        ...(delivery.redelivered && { [AGAIN_HEADER]: true })
      }
    }
  }
}

const BALANCE_MS = 3_000

export interface BalanceNeeds {
  connection: ChannelModel
  queues: string[]
  /** This node's readers of the queues; what `again` gives takes a stopped one's place. */
  readers: Reader[]
  again: (queue: string) => Promise<Reader>
  lost: (why: Error) => void
  signal: AbortSignal
}

/**
 * Spreads the queues over the nodes: every node waits at every queue, and the broker chooses who came first. While there
 * are nodes with less than their share, one that has more gives back a queue every few seconds, and waits at its end.
 */
export async function keepBalance(needs: BalanceNeeds): Promise<void> {
  const { connection, queues, readers, again, lost, signal } = needs
  const channel = await connection.createChannel()
  channel.on('error', lost)
  const enroll = (queue: string) => channel.consume(queue, () => {}, { noAck: true })
  await enroll(ROLL_QUEUE)
  let idle: string | null = null

  async function giveBack(): Promise<void> {
    const { consumerCount: nodes } = await channel.checkQueue(ROLL_QUEUE)
    const share = Math.floor(queues.length / Math.max(1, nodes))
    const active = readers.flatMap((reader, i) => (reader.active ? [i] : []))
    if (active.length < share) idle ??= (await enroll(IDLE_QUEUE)).consumerTag
    else if (idle !== null) {
      await channel.cancel(idle)
      idle = null
    }
    const given = active.at(-1)
    if (given === undefined || active.length <= share) return
    const { consumerCount: wanting } = await channel.checkQueue(IDLE_QUEUE)
    if (wanting === 0 || signal.aborted) return
    await readers[given]?.stop()
    if (!signal.aborted) readers[given] = await again(queues[given] ?? '')
  }

  let giving = false
  const timer = setInterval(
    () => {
      if (giving) return
      giving = true
      giveBack()
        .catch(lost)
        .finally(() => {
          giving = false
        })
    },
    BALANCE_MS * (0.8 + Math.random() * 0.4)
  )
  signal.addEventListener('abort', () => clearInterval(timer))
}
