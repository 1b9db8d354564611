/**
 * What Sandhook's ingress is held against: an amqplib consumer written by hand, with manual acks and a prefetch, that
 * does the same job for each message. Says `{ done }` by message after each one.
 */
import amqp from 'amqplib'
import { orderSyncByHand } from './order-sync-by-hand.ts'

const [, , databaseUrl = '', erpUrl = '', brokerUrl = '', queue = ''] = process.argv
const sync = orderSyncByHand(databaseUrl, erpUrl)
const connection = await amqp.connect(brokerUrl)
const channel = await connection.createChannel()
await channel.prefetch(64)
let done = 0
await channel.consume(queue, async message => {
  if (!message) return
  await sync(String(JSON.parse(message.content.toString()).orderCode))
  channel.ack(message)
  process.send?.({ done: ++done })
})
process.send?.({ done })
