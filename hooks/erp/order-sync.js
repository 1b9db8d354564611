/**
 * /custom/erp/order-sync: creates a paid order in the ERP and notes the ERP's number in the order's `mark`.
 *
 * Event:   ORDER_PAY_SUCCESS (payload: order number)
 * Env:     ERP_API_URL, ERP_API_KEY (one not set: nothing is sent), ERP_SOURCE_SYSTEM (default MISEB)
 * Retried: the order or its lines are not in the database yet; the ERP cannot be reached or refuses the order.
 * Not:     an order that has an ERP number already: it succeeds without another call.
 *          No address (pick-up, virtual goods) or no buyer: sent with null in their place.
 */

const settings = require('/lib/settings')
const erp = require('/lib/erp')
const money = require('/lib/money')

const skipped = settings.skipUnless('ERP_API_URL', 'ERP_API_KEY')
if (skipped) return skipped

const orderNo = String(payload.event.payload)
const order = db.selectOne(
  `SELECT o.uid, o.pay_price, o.pay_type, o.pay_time, o.mark, u.nickname, u.phone
     FROM eb_store_order o
     LEFT JOIN eb_user u ON u.uid = o.uid
    WHERE o.order_id = ?`,
  orderNo
)
// The event may be ahead of the shop's commit.
if (!order) return { success: false, message: `order ${orderNo} is not in the database` }

const known = erp.numberIn(order.mark)
if (known) {
  log.info('order {} is in the ERP already: {}', orderNo, known)
  return { success: true, erpOrderId: known, duplicate: true }
}

const lines = db.select(
  'SELECT product_id, product_name, sku, cart_num, price FROM eb_store_order_info WHERE order_no = ? ORDER BY product_id',
  orderNo
)
if (lines.length === 0) return { success: false, message: `order ${orderNo} has no lines in the database` }

const address = db.selectOne(
  'SELECT real_name, user_phone, province, city, district, detail FROM eb_store_order_address WHERE order_no = ?',
  orderNo
)
if (!address) log.warn('order {} has no shipping address', orderNo)

const source = erp.sourceSystem()
const answer = erp.post('/order/create', {
  sourceOrderNo: orderNo,
  sourceSystem: source,
  customerId: `${source}_${order.uid}`,
  customerName: order.nickname,
  customerPhone: order.phone,
  payAmount: money.yuan(money.fen(order.pay_price, `pay_price of order ${orderNo}`)),
  payType: order.pay_type,
  payTime: order.pay_time,
  shippingAddress: address && {
    name: address.real_name,
    phone: address.user_phone,
    province: address.province,
    city: address.city,
    district: address.district,
    detail: address.detail
  },
  items: lines.map(line => ({
    skuCode: `${source}_${line.product_id}`,
    productName: line.product_name,
    spec: line.sku,
    quantity: line.cart_num,
    price: money.yuan(money.fen(line.price, `price of product ${line.product_id}`))
  }))
})

if (!answer.accepted) {
  log.error('order {} is not in the ERP: {}', orderNo, answer.message)
  return { success: false, message: answer.message }
}

const erpOrderId = answer.data.erpOrderId ?? null
if (erpOrderId === null) log.warn('the ERP took order {} but gave no number for it', orderNo)
else erp.writeNumber(orderNo, erpOrderId)
log.info('order {} is in the ERP: {}', orderNo, erpOrderId)
return { success: true, erpOrderId }
