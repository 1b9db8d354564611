/**
 * What Sandhook is held against: the order-sync job written by hand in plain Node, mysql2 and undici, without isolation,
 * retries, order, history or idempotency. Takes `{ orders, concurrency }` by message, answers `{ seconds }`.
 */
import mysql, { type RowDataPacket } from 'mysql2/promise'
import { Agent, request } from 'undici'

const [, , databaseUrl = '', erpUrl = ''] = process.argv
const pool = mysql.createPool({ uri: databaseUrl, connectionLimit: 64 })
const agent = new Agent({ connections: 64 })

async function sync(orderNo: string): Promise<void> {
  const query = async (sql: string) => (await pool.query<RowDataPacket[]>(sql, [orderNo]))[0]
  const [order] = await query(
    'SELECT o.*, u.phone, u.nickname FROM eb_store_order o LEFT JOIN eb_user u ON o.uid = u.uid WHERE o.order_id = ?'
  )
  const products = await query(
    'SELECT product_id, product_name, sku, cart_num AS num, price FROM eb_store_order_info WHERE order_no = ?'
  )
  const [address] = await query('SELECT * FROM eb_store_order_address WHERE order_no = ?')
  const { body } = await request(`${erpUrl}/order/create`, {
    method: 'POST',
    dispatcher: agent,
    headers: { 'content-type': 'application/json', authorization: 'Bearer bench' },
    body: JSON.stringify({ sourceOrderNo: orderNo, payAmount: Number(order?.pay_price) / 100, address, products })
  })
  const { data } = (await body.json()) as { data: { erpOrderId: string } }
  await pool.query('UPDATE eb_store_order SET mark = ? WHERE order_id = ?', [`ERP:${data.erpOrderId}`, orderNo])
}

process.on('message', async ({ orders, concurrency }: { orders: string[]; concurrency: number }) => {
  const started = performance.now()
  const waiting = [...orders]
  const worker = async () => {
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) await sync(next)
  }
  await Promise.all(Array.from({ length: concurrency }, worker))
  process.send?.({ seconds: (performance.now() - started) / 1000 })
})
