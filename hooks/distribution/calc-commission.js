/**
 * /custom/distribution/calc-commission: credits the buyer's spreader with a commission once the goods are received.
 *
 * Event:   ORDER_CONFIRM_RECEIPT (payload: order number)
 * Env:     COMMISSION_RATE (default 0.1: 10 % of the payment without freight; 0 to 1, at most four decimals)
 * Retried: the order is not in the database yet.
 * Not:     a COMMISSION_RATE that is no rate: dead letter, replay it after the repair.
 *          No spreader, the buyer as his own spreader, a spreader or buyer who is gone, less than 1 fen, an order
 *          that was credited before: succeeds and changes nothing.
 *
 * Rounded down to a fen. Refunds that were settled before the receipt are taken off at once; later ones by
 * /custom/distribution/revoke-commission.
 */

const commission = require('/lib/commission')
const money = require('/lib/money')

const REFUNDING = 2
const REFUNDED = 3

const rate = env.get('COMMISSION_RATE') || '0.1'
const points = money.basisPoints(rate)
if (points === null) {
  const message = `COMMISSION_RATE is '${rate}': use 0 to 1 with at most four decimals`
  return { success: false, retry: false, message }
}

const orderNo = String(payload.event.payload)

const spreaderOf = order => {
  const buyer = db.selectOne('SELECT spread_uid FROM eb_user WHERE uid = ?', order.uid)
  const uid = Number(buyer?.spread_uid ?? 0)
  return uid > 0 && uid !== Number(order.uid) ? uid : null
}

const takeOffEarlierRefunds = order => {
  const refunds = db.select(
    `SELECT refund_order_no, order_no, refund_price FROM eb_store_refund_order
      WHERE order_no = ? AND refund_status IN (?, ?) ORDER BY refund_order_no`,
    orderNo,
    REFUNDING,
    REFUNDED
  )
  return refunds.reduce((sum, refund) => sum + commission.reverse(order, refund), 0)
}

return db.transaction(() => {
  const order = commission.lockOrder(orderNo)
  // The event may be ahead of the shop's commit.
  if (!order) return { success: false, message: `order ${orderNo} is not in the database` }
  if (commission.isCredited(orderNo)) return { success: true, skipped: 'credited before' }

  const spreader = spreaderOf(order)
  if (spreader === null) return { success: true, skipped: 'no spreader' }
  const amount = money.share(commission.commissionable(order), points, 10000)
  if (amount === 0) return { success: true, skipped: 'less than 1 fen' }
  if (!commission.credit(orderNo, spreader, amount)) return { success: true, skipped: 'the spreader is gone' }

  const takenBack = takeOffEarlierRefunds(order)
  log.info('order {}: {} credited to user {}', orderNo, money.format(amount), spreader)
  if (takenBack > 0) log.info('order {}: {} taken back for refunds', orderNo, money.format(takenBack))
  return { success: true, spreadUid: spreader, commission: amount, takenBack }
})
