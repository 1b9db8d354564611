/**
 * /custom/haidian/push-order-add: creates a paid order in a Haidian-like ERP (POST /api/order-add).
 *
 * Event:   ORDER_PAY_SUCCESS (payload: order number)
 * Env:     HAIDIAN_API_URL, HAIDIAN_SECRET (one not set: nothing is sent); those of /lib/haidian and /lib/sign/haidian
 * Retried: the order or its lines are not in the database yet; the ERP cannot be reached, has trouble (429, 5xx), or answers
 *          something that is neither 0 nor -1.
 * Not:     an order that was sent before, or that the ERP says it has (succeeds); another merchant's order (succeeds);
 *          code -1, HTTP 4xx, or a buyer whom the ERP does not know: dead letter, replay it after the repair.
 *
 * Assumed: user_id is asked for by user-info with the buyer's mobile (see HAIDIAN_USER_ID in /lib/haidian).
 */

const settings = require('/lib/settings')
const haidian = require('/lib/haidian')
const orders = require('/lib/haidian-orders')

const skipped = settings.skipUnless('HAIDIAN_API_URL', 'HAIDIAN_SECRET')
if (skipped) return skipped

const orderNo = String(payload.event.payload)
if (haidian.isNoted('order-add', orderNo)) return { success: true, duplicate: true }

const order = orders.find(orderNo)
// The event may be ahead of the shop's commit.
if (!order) return { success: false, message: `order ${orderNo} is not in the database` }
if (haidian.isForeign(order)) return { success: true, skipped: `the order is merchant ${order.mer_id}'s` }

const goods = orders.goodsOf([orderNo])[orderNo]
if (!goods) return { success: false, message: `order ${orderNo} has no lines in the database` }

const { userId, failure: unknown } = haidian.userIdOf(order)
if (unknown) {
  log.error('order {} is not in Haidian: {}', orderNo, unknown.message)
  return unknown
}

const { failure } = haidian.call('order-add', {
  user_id: userId,
  order_sn: orderNo,
  order_amount: haidian.yuan(order.order_amount),
  goods_amount: haidian.yuan(order.goods_amount),
  shipping_fee: haidian.yuan(order.shipping_fee),
  order_type: String(order.order_type),
  consignee: order.consignee,
  address: order.address,
  add_time: order.add_time,
  pay_time: order.pay_time ?? '',
  order_goods: goods
})
if (failure) {
  log.error('order {} is not in Haidian: {}', orderNo, failure.message)
  return failure
}
haidian.note('order-add', orderNo)
log.info('order {} is in Haidian', orderNo)
return { success: true }
