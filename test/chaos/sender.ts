import mysql, { type Pool } from 'mysql2/promise'
import { TEST_TOKEN } from '../support/sandhook.ts'
import type { BrokerClient } from './broker-client.ts'
import type { Node } from './cluster.ts'
import { type Door, type Order, STEPS } from './scenario.ts'

export interface SenderNeeds {
  orders: Order[]
  nodes: Node[]
  broker: BrokerClient
  shopUrl: string
  /** Orders whose events are sent at the same time. */
  parallel: number
  /** Resolves when there is room for one more order after so many accepted events. */
  room: (accepted: number) => Promise<void>
}

export interface Sender {
  /** Events that somebody has taken responsibility for. */
  readonly accepted: number
  /** Attempts that were not. */
  readonly repeated: number
  done: Promise<void>
}

const PAUSE_MS = 150
const PATIENCE_MS = 15_000

/** Sends every order's events one after the other, each again under the same id until it is accepted. */
export function startSender({ orders, nodes, broker, shopUrl, parallel, room }: SenderNeeds): Sender {
  const shop = mysql.createPool({ uri: shopUrl, connectionLimit: 4, connectTimeout: 4_000 })
  let accepted = 0
  let repeated = 0
  let turn = 0

  async function untilAccepted(work: () => Promise<void>): Promise<void> {
    for (;;)
      try {
        await work()
        accepted++
        return
      } catch {
        repeated++
        await new Promise(resolve => setTimeout(resolve, PAUSE_MS))
      }
  }

  const post = async (orderNo: string, step: number) => {
    const { process } = nodes[turn++ % nodes.length] as Node
    if (!process) throw new Error('This node is down')
    const response = await fetch(`${process.url}/events`, {
      method: 'POST',
      headers: { authorization: `Bearer ${TEST_TOKEN}`, 'content-type': 'application/json' },
      body: JSON.stringify({ id: `${orderNo}-${step}`, eventKey: STEPS[step - 1]?.eventKey, payload: orderNo }),
      signal: AbortSignal.timeout(PATIENCE_MS)
    })
    const text = await response.text()
    if (response.status !== 202) throw new Error(text)
  }
  const doors: Record<Door, (orderNo: string, step: number) => Promise<void>> = {
    http: post,
    amqp: async (orderNo, step) => {
      const { topic, body } = STEPS[step - 1] as (typeof STEPS)[number]
      await broker.publish(topic, `${orderNo}-${step}`, body(orderNo))
    },
    outbox: (orderNo, step) => leave(shop, orderNo, step)
  }

  const waiting = orders.values()
  async function work(): Promise<void> {
    for (const { orderNo, door } of waiting) {
      await room(accepted)
      for (let step = 1; step <= STEPS.length; step++) await untilAccepted(() => doors[door](orderNo, step))
    }
  }
  const done = Promise.all(Array.from({ length: parallel }, work)).then(() => shop.end())
  return {
    get accepted() {
      return accepted
    },
    get repeated() {
      return repeated
    },
    done
  }
}

async function leave(shop: Pool, orderNo: string, step: number): Promise<void> {
  await shop.query('INSERT INTO sandhook_outbox (event_key, payload, event_id) VALUES (?, ?, ?)', [
    ...[STEPS[step - 1]?.eventKey, orderNo, `${orderNo}-${step}`]
  ])
}
