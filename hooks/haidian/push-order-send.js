/**
 * /custom/haidian/push-order-send: tells a Haidian-like ERP that an order was sent or picked up (POST /api/order-send).
 *
 * Events:  ORDER_DELIVERY_ALL; ORDER_CONFIRM_RECEIPT, which for an order without address or express number means that its
 *          pick-up was verified (payload: order number)
 * Env:     HAIDIAN_API_URL, HAIDIAN_SECRET (one not set: nothing is sent); those of /lib/haidian and /lib/sign/haidian
 * Retried: the order, or its express number, is not in the database yet; the ERP refuses (-1) an order that order-add has not
 *          brought to it yet; it cannot be reached, has trouble (429, 5xx), or answers something that is neither 0 nor -1.
 * Not:     an order that was sent before, or that the ERP itself said was sent (succeeds); the receipt of an order that a
 *          carrier brought (succeeds); another merchant's order (succeeds); code -1 otherwise, HTTP 4xx, or a buyer whom the
 *          ERP does not know: dead letter.
 */

const settings = require('/lib/settings')
const haidian = require('/lib/haidian')
const orders = require('/lib/haidian-orders')

const skipped = settings.skipUnless('HAIDIAN_API_URL', 'HAIDIAN_SECRET')
if (skipped) return skipped

const orderNo = String(payload.event.payload)
if (haidian.isNoted('order-send', orderNo)) return { success: true, duplicate: true }

const order = orders.find(orderNo)
// The event may be ahead of the shop's commit.
if (!order) return { success: false, message: `order ${orderNo} is not in the database` }
if (haidian.isForeign(order)) return { success: true, skipped: `the order is merchant ${order.mer_id}'s` }

const pickedUp = order.order_type === 1 && !order.delivery_id
if (!pickedUp && payload.event.eventKey !== 'ORDER_DELIVERY_ALL')
  return { success: true, skipped: 'the order was delivered, which is told when it is sent' }
if (!pickedUp && !order.delivery_id) return { success: false, message: `order ${orderNo} has no express number yet` }

const { userId, failure: unknown } = haidian.userIdOf(order)
if (unknown) {
  log.error('Haidian was not told that order {} is sent: {}', orderNo, unknown.message)
  return unknown
}

const { failure } = haidian.call('order-send', {
  user_id: userId,
  order_sn: orderNo,
  send_type: pickedUp ? '自提' : '配送',
  express_no: pickedUp ? '' : order.delivery_id
})
if (failure) {
  log.error('Haidian was not told that order {} is sent: {}', orderNo, failure.message)
  // The two hooks run on their own: the order may still be on its way.
  return haidian.isNoted('order-add', orderNo) ? failure : { success: false, message: failure.message }
}
haidian.note('order-send', orderNo)
log.info('Haidian knows that order {} is {}', orderNo, pickedUp ? 'picked up' : 'sent')
return { success: true }
