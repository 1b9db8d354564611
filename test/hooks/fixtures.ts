import type { openTestShop } from '../support/run-hook.ts'

type Shop = Awaited<ReturnType<typeof openTestShop>>
type Row = Record<string, null | number | string>

let taken = 0

const insert = (shop: Shop, table: string, row: Row) => {
  const names = Object.keys(row)
  const marks = names.map(() => '?').join(', ')
  return shop.sql(`INSERT INTO ${table} (${names.join(', ')}) VALUES (${marks})`, Object.values(row))
}

/** A user of the test's own: a phone, no spreader, a balance of 0 fen. Gives the uid. */
export async function addUser(shop: Shop, changes: Row = {}): Promise<number> {
  const uid = 70_000 + ++taken
  await insert(shop, 'eb_user', {
    uid,
    nickname: '试用买家',
    phone: '13800007001',
    spread_uid: 0,
    brokerage_price: 0,
    create_time: '2024-01-01 08:00:00',
    ...changes
  })
  return uid
}

/** A shipped order with a fresh number, of a fresh user unless `changes` name one: no lines, no address. */
export async function addOrder(shop: Shop, changes: Row = {}): Promise<{ orderNo: string; uid: number }> {
  const uid = changes.uid === undefined ? await addUser(shop) : Number(changes.uid)
  const orderNo = `T${String(++taken).padStart(6, '0')}`
  await insert(shop, 'eb_store_order', {
    id: 70_000 + taken,
    order_id: orderNo,
    uid,
    mer_id: 1,
    total_price: 23_001,
    freight: 0,
    pay_price: 22_501,
    pay_type: 'weixin',
    pay_time: '2024-01-01 08:05:00',
    delivery_name: '试用快递',
    delivery_id: 'SF0001',
    mark: null,
    create_time: '2024-01-01 08:00:00',
    ...changes
  })
  return { orderNo, uid }
}

/** Two lines of an order: 2 pieces at ¥99.00 and one at ¥32.01. */
export async function addLines(shop: Shop, orderNo: string): Promise<void> {
  const line = { order_no: orderNo, product_id: 11, product_name: '绿茶', sku: '250克', cart_num: 2, price: 9_900 }
  await insert(shop, 'eb_store_order_info', line)
  const other = { product_id: 12, product_name: '茶杯', sku: '白色', cart_num: 1, price: 3_201 }
  await insert(shop, 'eb_store_order_info', { ...line, ...other })
}

export const addAddress = (shop: Shop, orderNo: string) =>
  insert(shop, 'eb_store_order_address', {
    order_no: orderNo,
    real_name: '王试用',
    user_phone: '13800007002',
    province: '云川省',
    city: '青石市',
    district: '东湖区',
    detail: '试用路 1 号'
  })

/** An agreed refund of an order, ¥10.00 unless `changes` say otherwise. Gives its number. */
export async function addRefund(shop: Shop, orderNo: string, changes: Row = {}): Promise<string> {
  const refundNo = `RE${String(++taken).padStart(6, '0')}`
  await insert(shop, 'eb_store_refund_order', {
    refund_order_no: refundNo,
    order_no: orderNo,
    uid: 1,
    mer_id: 1,
    refund_price: 1_000,
    refund_reason_wap: '不想要了',
    refund_status: 4,
    create_time: '2024-01-02 08:00:00',
    ...changes
  })
  return refundNo
}

/** The one row that a statement finds; fails when there are others or none. */
export async function oneRow(shop: Shop, text: string, params: (number | string)[]): Promise<Record<string, unknown>> {
  const rows = await shop.sql(text, params)
  const [row] = rows
  if (!row || rows.length > 1) throw new Error(`${rows.length} rows instead of one: ${text}`)
  return row
}
