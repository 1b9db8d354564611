/**
 * /custom/erp/refund-sync: creates an agreed refund in the ERP.
 *
 * Event:   ORDER_REFUND_AGREE (payload: refund number)
 * Env:     ERP_API_URL, ERP_API_KEY (one not set: nothing is sent)
 * Retried: the refund is not in the database yet; the ERP cannot be reached or refuses the refund (it may not have the
 *          order yet).
 * Not:     nothing else. The ERP tells a repeated event by its sourceRefundNo.
 */

const settings = require('/lib/settings')
const erp = require('/lib/erp')
const money = require('/lib/money')

const skipped = settings.skipUnless('ERP_API_URL', 'ERP_API_KEY')
if (skipped) return skipped

const refundNo = String(payload.event.payload)
const refund = db.selectOne(
  'SELECT order_no, refund_price, refund_reason_wap FROM eb_store_refund_order WHERE refund_order_no = ?',
  refundNo
)
// The event may be ahead of the shop's commit.
if (!refund) return { success: false, message: `refund ${refundNo} is not in the database` }

const answer = erp.post('/refund/create', {
  sourceRefundNo: refundNo,
  sourceOrderNo: refund.order_no,
  refundAmount: money.yuan(money.fen(refund.refund_price, `refund_price of ${refundNo}`)),
  refundReason: refund.refund_reason_wap ?? ''
})

if (!answer.accepted) {
  log.error('refund {} is not in the ERP: {}', refundNo, answer.message)
  return { success: false, message: answer.message }
}
log.info('refund {} is in the ERP', refundNo)
return { success: true }
