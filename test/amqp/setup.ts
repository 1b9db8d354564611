import { execFileSync } from 'node:child_process'
import amqp, { type ConfirmChannel, type GetMessage, type Options } from 'amqplib'
import type { Json } from '../../runtime/model.ts'
import { type Database, openDatabase } from '../../runtime/store/database.ts'
import type { TestDatabase } from '../support/databases.ts'
import { eventually, type SandhookProcess, startSandhookProcess } from '../support/sandhook.ts'

/** Publishes by Debian's amqp-publish, which is not ours. */
export const publishByTool = (url: string, topic: string, text: string): void =>
  void execFileSync('amqp-publish', ['-u', url, '-e', 'amq.topic', '-r', topic, '-p'], { input: text })

/** A sender and receiver of the tests' own. */
export interface Client {
  /** Publishes to `amq.topic` and waits for the broker's word. */
  publish: (topic: string, body: Json, options?: Options.Publish) => Promise<void>
  /** Takes one message off a queue; null when there is none. */
  get: (queue: string) => Promise<GetMessage | null>
  channel: ConfirmChannel
  close: () => Promise<void>
}

export async function openClient(url: string): Promise<Client> {
  const connection = await amqp.connect(url)
  connection.on('error', () => {})
  const channel = await connection.createConfirmChannel()
  channel.on('error', () => {})
  return {
    channel,
    publish: (topic, body, options = {}) =>
      new Promise((resolve, reject) =>
        channel.publish(
          'amq.topic',
          topic,
          Buffer.from(JSON.stringify(body)),
          { persistent: true, ...options },
          error => (error ? reject(error) : resolve())
        )
      ),
    async get(queue) {
      return (await channel.get(queue, { noAck: true })) || null
    },
    close: () => connection.close().catch(() => {})
  }
}

/** Starts a node that reads the broker, and waits until it does. */
export async function startNode(env: Record<string, string>): Promise<SandhookProcess> {
  const node = await startSandhookProcess({ SANDHOOK_DEMO: 'off', SANDHOOK_RUNNERS: '1', ...env })
  await isReady(node)
  return node
}

export const isReady = (node: SandhookProcess): Promise<boolean> =>
  eventually(async () => (await node.call('GET', '/readyz')).status === 200)

/** The shop's database beside the runtime's, as the node finds it by itself. */
export const openShopOf = ({ url }: TestDatabase): Database => openDatabase(url.replace('test.db', 'shop.db'))

/** Adds a hook and fails when it is refused. */
export async function addHook(node: SandhookProcess, path: string, events: string[], script: string): Promise<void> {
  const answer = await node.call('POST', '/admin/v1/hooks', { path, events, script })
  if (answer.status !== 201) throw new Error(JSON.stringify(answer.body))
}

/** Writes each event's order number and running number down, in the order in which they are run. */
const NOTE = `
  db.insert('INSERT INTO mq_notes (order_no, seq) VALUES (?, ?)', payload.event.payload, payload.event.data.seq)
`

/** The notes of a hook that writes down what comes as ORDER_AUDITED. */
export interface Notes {
  count: () => Promise<number>
  /** Running numbers by order, in the order in which they were run. */
  byOrder: () => Promise<Map<string, number[]>>
  close: () => Promise<void>
}

/** Makes the table in the shop. */
export async function openNotes(database: TestDatabase): Promise<Notes> {
  const shop = openShopOf(database)
  await shop.schema.createTable('mq_notes', table => {
    table.increments('id')
    table.string('order_no', 32).notNullable()
    table.integer('seq').notNullable()
  })
  return {
    async count() {
      const [row] = await shop('mq_notes').count('* as n')
      return Number(row?.n)
    },
    async byOrder() {
      const rows: { order_no: string; seq: number }[] = await shop('mq_notes').orderBy('id')
      const orders = Map.groupBy(rows, row => row.order_no)
      return new Map([...orders].map(([order, notes]) => [order, notes.map(({ seq }) => seq)]))
    },
    close: () => shop.destroy()
  }
}

export const addNoteHook = (node: SandhookProcess): Promise<void> =>
  addHook(node, '/custom/mq-notes', ['ORDER_AUDITED'], NOTE)

/** A message that becomes ORDER_AUDITED. */
export const audited = (order: number, seq: number): Json => ({ uid: 1, order_code: order, status: 100, seq })
