/**
 * /custom/erp/order-cancel: cancels an order in the ERP.
 *
 * Event:   ORDER_CANCEL (payload: order number)
 * Env:     ERP_API_URL, ERP_API_KEY (one not set: nothing is sent), ERP_SOURCE_SYSTEM (default MISEB)
 * Retried: the order is not in the database yet; the ERP cannot be reached; it refuses an order that was paid (it may not
 *          have got that order yet: /custom/erp/order-sync runs on its own).
 * Not:     the ERP refuses an order that was never paid: it never had it, so this succeeds.
 */

const settings = require('/lib/settings')
const erp = require('/lib/erp')

const skipped = settings.skipUnless('ERP_API_URL', 'ERP_API_KEY')
if (skipped) return skipped

const orderNo = String(payload.event.payload)
const order = db.selectOne('SELECT pay_time, mark FROM eb_store_order WHERE order_id = ?', orderNo)
// The event may be ahead of the shop's commit.
if (!order) return { success: false, message: `order ${orderNo} is not in the database` }

const answer = erp.post('/order/cancel', {
  sourceOrderNo: orderNo,
  sourceSystem: erp.sourceSystem(),
  cancelReason: '订单已取消'
})

if (answer.accepted) {
  log.info('order {} is cancelled in the ERP', orderNo)
  return { success: true }
}
if (!order.pay_time && !erp.numberIn(order.mark)) {
  log.info('order {} was never paid, so the ERP does not have it: {}', orderNo, answer.message)
  return { success: true, skipped: 'the order was never sent to the ERP' }
}
log.error('order {} is not cancelled in the ERP: {}', orderNo, answer.message)
return { success: false, message: answer.message }
