/**
 * /custom/distribution/revoke-commission: takes back a spreader's commission as far as the order is refunded.
 *
 * Events:  ORDER_REFUND_AGREE, ORDER_RETURN_COMPLETE (payload: refund number; both may come, the first one counts)
 * Env:     none
 * Retried: the refund or its order is not in the database yet.
 * Not:     an order without commission (yet: calc-commission takes earlier refunds off itself), a refund that was
 *          handled before: succeeds and changes nothing.
 *
 * Refunds count against the goods first, then against freight. The balance may fall below zero when the spreader has
 * withdrawn it: the next commissions settle the debt.
 */

const commission = require('/lib/commission')
const money = require('/lib/money')

const refundNo = String(payload.event.payload)
const refund = db.selectOne(
  'SELECT refund_order_no, order_no, refund_price FROM eb_store_refund_order WHERE refund_order_no = ?',
  refundNo
)
// The event may be ahead of the shop's commit.
if (!refund) return { success: false, message: `refund ${refundNo} is not in the database` }

return db.transaction(() => {
  const order = commission.lockOrder(refund.order_no)
  if (!order) return { success: false, message: `order ${refund.order_no} is not in the database` }
  const takenBack = commission.reverse(order, refund)
  log.info('refund {} of order {}: {} taken back', refundNo, refund.order_no, money.format(takenBack))
  return { success: true, takenBack }
})
