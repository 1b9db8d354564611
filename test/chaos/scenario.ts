/** What the chaos is about: orders, the steps of their lives, and the hooks that answer them. */
import { readFileSync } from 'node:fs'
import type { Connection, RowDataPacket } from 'mysql2/promise'
import type { SandhookProcess } from '../support/sandhook.ts'
import { createRandom } from './random.ts'

/** The ways on which an order's events come in. */
export const DOORS = ['http', 'amqp', 'outbox'] as const
export type Door = (typeof DOORS)[number]

export interface Order {
  orderNo: string
  door: Door
  /** Fen. */
  payPrice: number
  /** Who earns a commission on it. */
  spreadUid: number
}

/** An order's events, in their order: event key, and the message that becomes it. */
export const STEPS: { eventKey: string; topic: string; body: (orderNo: string) => Record<string, unknown> }[] = [
  { eventKey: 'ORDER_CREATE_SUCCESS', topic: 'order.submit', body: orderCode => ({ orderCode }) },
  { eventKey: 'ORDER_PAY_SUCCESS', topic: 'order.payment', body: orderCode => ({ orderCode }) },
  { eventKey: 'ORDER_DELIVERY_ALL', topic: 'order.erpstatus', body: order_code => ({ order_code, status: 600 }) },
  { eventKey: 'ORDER_CONFIRM_RECEIPT', topic: 'order.orderStatus', body: order_code => ({ order_code, status: 700 }) }
]

export const NOTE_TOPIC = 'chaos.note'
const ECHO_EVENT = 'CHAOS_ECHO'

const sample = (name: string): string =>
  readFileSync(new URL(`../contract/samples/${name}.js`, import.meta.url), 'utf8')
const STEP = `var STEP = ${JSON.stringify(STEPS.map(({ eventKey }) => eventKey))}.indexOf(payload.event.eventKey) + 1\n`
const NOTED = (hook: string, step: string) =>
  `db.insert('INSERT INTO chaos_runs (hook, order_no, step) VALUES (?, ?, ?)', '${hook}', payload.event.payload, ${step})\n`

/** A hook, and the steps that it answers; `writes` tells its runs apart in `chaos_runs`. */
export interface ChaosHook {
  name: 'commission' | 'erp' | 'publish' | 'echo'
  steps: number[]
  events: string[]
  script: string
}

const keysOf = (steps: number[]): string[] => steps.map(step => STEPS[step - 1]?.eventKey ?? '')

/** The document's commission and ERP scripts as they are, and one that publishes; each run also writes down that it was. */
export const HOOKS: ChaosHook[] = [
  {
    ...{ name: 'commission', steps: [1, 2, 3, 4], events: keysOf([1, 2, 3, 4]) },
    script: STEP + NOTED('commission', 'STEP') + sample('distribution-calc-commission')
  },
  {
    ...{ name: 'erp', steps: [2, 3], events: keysOf([2, 3]) },
    script: `${STEP}var result = (function () {\n${sample('erp-order-sync')}\n})()\n${NOTED('erp', 'STEP')}return result`
  },
  {
    ...{ name: 'publish', steps: [1, 4], events: keysOf([1, 4]) },
    script:
      STEP +
      NOTED('publish', 'STEP') +
      `mq.publish('${NOTE_TOPIC}', { orderNo: payload.event.payload, step: STEP })\n` +
      `emit('${ECHO_EVENT}', payload.event.payload, { data: { step: STEP } })`
  },
  {
    ...{ name: 'echo', steps: [1, 4], events: [ECHO_EVENT] },
    script: NOTED('echo', 'payload.event.data.step')
  }
]

/** Runs that one order comes to. */
export const RUNS_PER_ORDER = HOOKS.reduce((sum, { steps }) => sum + steps.length, 0)

const SPREADERS = 7
const BUYERS = 40
const FIRST_UID = 900_000

/** Orders with prices that no multiple of ten fen hides, over the three doors in turn. */
export function makeOrders(count: number, seed: number): Order[] {
  const random = createRandom(seed)
  return Array.from({ length: count }, (_, i) => ({
    orderNo: `CHAOS${String(i).padStart(6, '0')}`,
    door: DOORS[i % DOORS.length] as Door,
    payPrice: random.whole(101, 99_999),
    spreadUid: FIRST_UID + ((i % BUYERS) % SPREADERS)
  }))
}

const TABLE = `CREATE TABLE chaos_runs (
  id BIGINT AUTO_INCREMENT PRIMARY KEY, hook VARCHAR(16) NOT NULL, order_no VARCHAR(32) NOT NULL, step INT NOT NULL,
  KEY (hook, order_no)
) ENGINE=InnoDB`

/** Fills the demo's tables with the orders, their buyers and those who brought them. */
export async function fillShop(shop: Connection, orders: Order[]): Promise<void> {
  await shop.query(TABLE)
  const now = '2026-01-01 00:00:00'
  const users = [
    ...Array.from({ length: SPREADERS }, (_, i) => [FIRST_UID + i, `Spreader ${i}`, 0, now]),
    ...Array.from({ length: BUYERS }, (_, i) => [FIRST_UID + 1_000 + i, `Buyer ${i}`, FIRST_UID + (i % SPREADERS), now])
  ]
  await shop.query('INSERT INTO eb_user (uid, nickname, spread_uid, create_time) VALUES ?', [users])
  for (let from = 0; from < orders.length; from += 1_000) {
    const some = orders.slice(from, from + 1_000)
    const rows = some.map(({ orderNo, payPrice }, i) => [
      ...[orderNo, FIRST_UID + 1_000 + ((from + i) % BUYERS), payPrice, payPrice, 1, now]
    ])
    await shop.query('INSERT INTO eb_store_order (order_id, uid, total_price, pay_price, paid, create_time) VALUES ?', [
      rows
    ])
    const lines = some.map(({ orderNo, payPrice }) => [orderNo, 1, 'Tea', '100 g', 1, payPrice])
    await shop.query(
      'INSERT INTO eb_store_order_info (order_no, product_id, product_name, sku, cart_num, price) VALUES ?',
      [lines]
    )
    const addresses = some.map(({ orderNo }) => [orderNo, 'A. Nobody', '000', 'X', 'Y', 'Z', 'Nowhere 1'])
    await shop.query(
      'INSERT INTO eb_store_order_address (order_no, real_name, user_phone, province, city, district, detail) VALUES ?',
      [addresses]
    )
  }
}

/** Leaves only the chaos's own hooks at work. */
export async function installHooks(node: SandhookProcess, erpUrl: string): Promise<void> {
  const { body } = await node.call('GET', '/admin/v1/hooks?limit=200')
  for (const hook of body.items as { id: string; events: string[] }[])
    if (hook.events.length > 0) await node.call('PATCH', `/admin/v1/hooks/${hook.id}`, { enabled: false })
  await node.call('PUT', '/admin/v1/env/ERP_API_URL', { value: erpUrl, secret: false })
  await node.call('PUT', '/admin/v1/env/ERP_API_KEY', { value: 'chaos', secret: true })
  for (const { name, events, script } of HOOKS) {
    const retry = { attempts: 50, delaysMs: [100, 300, 1_000] }
    const answer = await node.call('POST', '/admin/v1/hooks', { path: `/custom/chaos/${name}`, events, script, retry })
    if (answer.status !== 201) throw new Error(`Hook ${name}: ${JSON.stringify(answer.body)}`)
  }
}

/** Reads rows of either database. */
export async function rowsOf<Row>(connection: Connection, sql: string, params: unknown[] = []): Promise<Row[]> {
  const [rows] = await connection.query<RowDataPacket[]>(sql, params)
  return rows as Row[]
}
