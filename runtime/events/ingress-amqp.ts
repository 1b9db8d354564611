import type { ChannelModel } from 'amqplib'
import type { Logger } from 'pino'
import { RuntimeError } from '../errors.ts'
import type { Json } from '../model.ts'
import type { MessageStore } from '../store/messages.ts'
import type { Accept } from './accept.ts'
import { declareTopology, ENTRY_QUEUE, partitionQueues } from './amqp-topology.ts'
import { openLink, type Session } from './broker.ts'
import { bury } from './dead-letters.ts'
import { type Delivery, deliveryOf, echoesAmong, identify } from './delivery.ts'
import type { Interpret } from './message-events.ts'
import { createSorter, keepBalance } from './partitions.ts'
import type { Publisher } from './publisher.ts'
import { type Reader, type ReaderNeeds, startReader } from './queue-reader.ts'

export interface AmqpNeeds {
  url: string
  /** Queues that messages are spread over by order number; 1: they stay in the one in which they come. */
  partitions: number
  topics: string[]
  store: MessageStore
  interpret: Interpret
  accept: Accept
  publisher: Publisher
  /** Told of messages that have come and could be read. */
  noteReceived: (messages: { topic: string; body: Json }[]) => Promise<void>
  /** Told how many messages became events (or are known to become none), and how many became dead letters. */
  onRead: (outcome: 'taken' | 'dead', count: number) => void
  logger: Logger
}

export interface AmqpIngress {
  /** Throws BROKER_UNAVAILABLE while messages can't be read or sent. */
  check: () => Promise<void>
  stop: () => Promise<void>
}

type Handle = ReaderNeeds<Delivery>['handle']

const MAX_REASON = 1_000

/**
 * Reads messages from RabbitMQ and accepts them as events.
 *
 * A1 A message is acknowledged when its events are committed, or when it is a dead letter in the table and in the queue.
 * A2 One queue is read by one node at a time. With partitions, one node passes messages on from the entry by order
 *    number, and the partitions' readers accept them: one order's messages stay in one queue.
 * A3 A new session begins when nothing of the former one is under way: what the broker delivers again is looked up
 *    after all that may have been committed is.
 */
export function startAmqp(needs: AmqpNeeds): AmqpIngress {
  const { url, partitions, topics, store, interpret, publisher, noteReceived, onRead, logger } = needs
  const queues = partitionQueues(partitions)
  const underWay = new Set<Promise<void>>()
  const sort = createSorter({ partitions, interpret, publisher })

  const tracked = (handle: Handle): Handle => {
    return (batch, done) => {
      const work = handle(batch, done).finally(() => underWay.delete(work))
      underWay.add(work)
      return work
    }
  }

  const notesOf = (batch: Delivery[]) => batch.filter(({ problem }) => problem === null)

  async function begin(connection: ChannelModel, lost: (why: Error) => void, signal: AbortSignal): Promise<Session> {
    await Promise.allSettled(underWay)
    await declareTopology(connection, topics, partitions)
    const dying = (delivery: Delivery, reason: string, done: (delivery: Delivery) => void) => {
      onRead('dead', 1)
      logger.warn({ topic: delivery.topic, id: delivery.identity, reason }, 'A message became no event: dead letter')
      void bury(delivery, reason.slice(0, MAX_REASON), { store, publisher, logger }, signal).then(
        buried => buried && done(delivery)
      )
    }

    const take: Handle = async (batch, done) => {
      const refused = await takeIn(batch, needs)
      onRead('taken', batch.length - refused.size)
      for (const delivery of batch) {
        const reason = refused.get(delivery)
        if (reason === undefined) done(delivery)
        else dying(delivery, reason, done)
      }
    }
    const takeAndNote: Handle = async (batch, done) => {
      await noteReceived(notesOf(batch))
      await take(batch, done)
    }
    const passOn: Handle = async (batch, done) => {
      await sort(batch)
      await noteReceived(notesOf(batch))
      for (const delivery of batch) done(delivery)
    }
    const read = (queue: string, handle: Handle): Promise<Reader> =>
      startReader<Delivery>({
        ...{ connection, queue, open: deliveryOf, handle: tracked(handle), lost },
        refuse: (delivery, error, done) => dying(delivery, error.message, done)
      })

    const readers = await Promise.all(queues.map(queue => read(queue, take)))
    const entry = await read(ENTRY_QUEUE, queues.length > 0 ? passOn : takeAndNote)
    if (queues.length > 0)
      await keepBalance({ ...{ connection, queues, readers, lost, signal }, again: queue => read(queue, take) })
    return {
      async stop() {
        await Promise.all([entry, ...readers].map(reader => reader.stop()))
      }
    }
  }

  const link = openLink({ url, name: 'sandhook reader', logger, begin })
  return {
    async check() {
      const problem = link.problem ?? publisher.problem
      if (problem !== null) throw new RuntimeError('BROKER_UNAVAILABLE', `RabbitMQ: ${problem}.`)
    },
    stop: link.close
  }
}

/** Accepts what a batch says; answers which messages became no event, or not all of theirs, and why. */
async function takeIn(
  batch: Delivery[],
  { store, interpret, accept }: Pick<AmqpNeeds, 'store' | 'interpret' | 'accept'>
): Promise<Map<Delivery, string>> {
  await identify(batch, store)
  const echoes = await echoesAmong(batch, store)
  const readable = batch.filter(delivery => delivery.problem === null && !echoes.has(delivery))
  const meanings = await interpret(readable)
  await accept(
    meanings.flatMap(({ events }) => events),
    'amqp'
  )
  const refused = new Map(batch.flatMap(delivery => (delivery.problem === null ? [] : [[delivery, delivery.problem]])))
  for (const [i, { refusals }] of meanings.entries()) {
    const delivery = readable[i]
    if (delivery && refusals.length > 0) refused.set(delivery, refusals.join('; '))
  }
  return refused
}
