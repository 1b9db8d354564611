import amqp, { type ChannelModel, type ConfirmChannel } from 'amqplib'
import { NOTE_TOPIC } from './scenario.ts'

/** A message as the receiver saw it, each time that it came. */
export interface Note {
  messageId: string
  body: string
  at: number
}

/** Sender and receiver of the shop's own, over a broker that comes and goes. */
export interface BrokerClient {
  notes: Note[]
  /** Resolves when the broker has confirmed it; repeats it under the same id until then. */
  publish: (topic: string, messageId: string, body: unknown) => Promise<void>
  close: () => Promise<void>
}

const QUEUE = 'chaos.notes'
const PAUSE_MS = 200

interface Session {
  connection: ChannelModel
  sender: ConfirmChannel
}

/** Connects, has what hooks publish collected in a queue that outlives the broker, and does so again after each loss. */
export async function openBrokerClient(url: string): Promise<BrokerClient> {
  const notes: Note[] = []
  let closing = false
  let session = connect()

  async function connect(): Promise<Session> {
    for (;;)
      try {
        return await open()
      } catch (error) {
        if (closing) throw error
        await new Promise(resolve => setTimeout(resolve, PAUSE_MS))
      }
  }

  async function open(): Promise<Session> {
    const connection = await amqp.connect(`${url}?heartbeat=5`, { timeout: 5_000 })
    connection.on('error', () => {})
    connection.on('close', () => {
      if (closing) return
      session = connect()
      session.catch(() => {})
    })
    const receiver = await connection.createChannel()
    receiver.on('error', () => {})
    await receiver.assertQueue(QUEUE, { durable: true, arguments: { 'x-queue-type': 'quorum' } })
    await receiver.bindQueue(QUEUE, 'amq.topic', NOTE_TOPIC)
    await receiver.consume(QUEUE, message => {
      if (!message) return
      const { properties, content } = message
      notes.push({ messageId: String(properties.messageId), body: content.toString(), at: Date.now() })
      receiver.ack(message)
    })
    const sender = await connection.createConfirmChannel()
    sender.on('error', () => {})
    return { connection, sender }
  }

  async function once(topic: string, messageId: string, body: unknown): Promise<void> {
    const { sender } = await session
    await new Promise<void>((resolve, reject) => {
      const patience = setTimeout(() => reject(new Error('no confirm')), 10_000)
      const content = Buffer.from(JSON.stringify(body))
      sender.publish('amq.topic', topic, content, { messageId, persistent: true }, error => {
        clearTimeout(patience)
        if (error) reject(error)
        else resolve()
      })
    })
  }

  await session
  return {
    notes,
    async publish(topic, messageId, body) {
      for (;;)
        try {
          return await once(topic, messageId, body)
        } catch (error) {
          if (closing) throw error
          await new Promise(resolve => setTimeout(resolve, PAUSE_MS))
        }
    },
    async close() {
      closing = true
      await session.then(({ connection }) => connection.close()).catch(() => {})
    }
  }
}
