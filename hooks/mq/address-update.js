/**
 * /custom/mq/address-update: tells a front that customer service has changed an order's address:
 * erp.deliveryAddressUpdate.
 *
 * Event:   ORDER_ADDRESS_CHANGE (payload: order number)
 * Retried: the order has no address in the database yet.
 * Not:     the event came as a message: the other side knows it already.
 */

if (/^(amqp|mq):/.test(payload.event.id)) return { success: true, skipped: 'it came as a message' }

const orderNo = String(payload.event.payload)
const address = db.selectOne(
  'SELECT real_name, user_phone, province, city, district, detail FROM eb_store_order_address WHERE order_no = ?',
  orderNo
)
if (!address) return { success: false, message: `order ${orderNo} has no address in the database` }

const message = [
  {
    address: address.detail,
    city: address.city,
    district: address.district,
    mobile: address.user_phone,
    order_code: /^\d{1,15}$/.test(orderNo) ? Number(orderNo) : orderNo,
    province: address.province,
    user_name: address.real_name
  }
]

mq.publish('erp.deliveryAddressUpdate', message)
return { success: true, published: { order_code: message[0].order_code } }
