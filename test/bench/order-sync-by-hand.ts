/** The order-sync job written by hand: three selects, a POST, an update; no isolation, retries, order or history. */
import mysql, { type RowDataPacket } from 'mysql2/promise'
import { Agent, request } from 'undici'

/** Makes the job for one order number. */
export function orderSyncByHand(databaseUrl: string, erpUrl: string): (orderNo: string) => Promise<void> {
  const pool = mysql.createPool({ uri: databaseUrl, connectionLimit: 64 })
  const agent = new Agent({ connections: 64 })

  return async function sync(orderNo: string): Promise<void> {
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
}
