/**
 * /custom/mq/refund-status: tells a front how far a refund is: erp.updateChangeRefundOrderStatus, type refund.
 *
 * Event:   ORDER_RETURN_SUBMITTED, ORDER_REFUND_AGREE, ORDER_RETURN_SHIPPED, ORDER_RETURN_WAREHOUSED,
 *          ORDER_RETURN_COMPLETE, ORDER_REFUND_REFUSE (payload: refund order number)
 * Sends:   id is this shop's own id of the refund, as /custom/mq/refund-reply told it; once the money is paid out, the
 *          amount in yuan
 * Retried: the refund is not in the database yet.
 * Not:     the event came as a message: this shop is not the one that decided.
 */

if (/^(amqp|mq):/.test(payload.event.id)) return { success: true, skipped: 'it came as a message' }

const STATUS = {
  ORDER_RETURN_SUBMITTED: 0,
  ORDER_REFUND_AGREE: 10,
  ORDER_RETURN_SHIPPED: 20,
  ORDER_RETURN_WAREHOUSED: 30,
  ORDER_RETURN_COMPLETE: 40,
  ORDER_REFUND_REFUSE: 91
}
const status = STATUS[payload.event.eventKey]
if (status === undefined) return { success: true, skipped: `${payload.event.eventKey} is no step of a refund` }

const refundNo = String(payload.event.payload)
const refund = db.selectOne('SELECT id, refund_price FROM eb_store_refund_order WHERE refund_order_no = ?', refundNo)
if (!refund) return { success: false, message: `refund ${refundNo} is not in the database` }

const message = { id: refund.id, status, type: 'refund' }
if (status === 40) {
  message.real_returned_amount = refund.refund_price / 100
  message.is_return_coupon = 'N'
  message.return_yoho_coin = 0
}

mq.publish('erp.updateChangeRefundOrderStatus', message)
return { success: true, published: message }
