import type { ChannelModel, Options } from 'amqplib'
import { DEAD_QUEUE } from './dead-letters.ts'

/** The broker's own durable exchange, in which the document's senders publish; it is never declared. */
const SOURCE = 'amq.topic'
/** Where all messages come in, in their order. */
export const ENTRY_QUEUE = 'sandhook.events'
/** Where all nodes of a partitioned installation wait, and those without their share: only to be counted. */
export const ROLL_QUEUE = 'sandhook.nodes'
export const IDLE_QUEUE = 'sandhook.nodes.idle'

/** Their names tell how many there are: another number has others. */
export const partitionExchange = (partitions: number): string => `sandhook.partitions.${partitions}`
export const partitionQueues = (partitions: number): string[] =>
  partitions === 1 ? [] : Array.from({ length: partitions }, (_, i) => `sandhook.events.${i + 1}-of-${partitions}`)

const DURABLE: Options.AssertQueue = { durable: true, arguments: { 'x-queue-type': 'quorum' } }
/**
 * One consumer at a time reads a queue, and another node's takes over when it is gone: so messages are accepted in the
 * order in which they came.
 */
const ORDERED: Options.AssertQueue = {
  ...DURABLE,
  arguments: { ...DURABLE.arguments, 'x-single-active-consumer': true }
}

/** Declares everything that Sandhook has in the broker; what is there already stays. Rejects with the broker's words. */
export async function declareTopology(connection: ChannelModel, topics: string[], partitions: number): Promise<void> {
  const channel = await connection.createChannel()
  // Whatever it says is what the call that caused it rejects with.
  channel.on('error', () => {})
  await channel.assertQueue(DEAD_QUEUE, DURABLE)
  await channel.assertQueue(ENTRY_QUEUE, ORDERED)
  const queues = partitionQueues(partitions)
  if (queues.length > 0) {
    const exchange = partitionExchange(partitions)
    await channel.assertQueue(ROLL_QUEUE, DURABLE)
    await channel.assertQueue(IDLE_QUEUE, DURABLE)
    await channel.assertExchange(exchange, 'x-consistent-hash', { durable: true })
    for (const queue of queues) {
      await channel.assertQueue(queue, ORDERED)
      // The key of such a binding is its weight.
      await channel.bindQueue(queue, exchange, '1')
    }
  }
  for (const topic of topics) await channel.bindQueue(ENTRY_QUEUE, SOURCE, topic)
  await channel.close()
}
