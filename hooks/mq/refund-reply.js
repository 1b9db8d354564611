/**
 * /custom/mq/refund-reply: answers a front's refund request as the message document's ERP does: erp.createRefundOrder.
 *
 * Event:   ORDER_REFUND_AGREE, ORDER_REFUND_REFUSE (payload: refund order number, the front's id)
 * Sends:   code 200 with returned_status 10, or code 500 with 91; returned_id is this shop's own id of the refund, which
 *          /custom/mq/refund-status goes on to use; amounts are in yuan
 * Retried: the refund is not in the database yet.
 * Not:     the event came as a message: this shop is not the one that decided.
 */

if (/^(amqp|mq):/.test(payload.event.id)) return { success: true, skipped: 'it came as a message' }

const refundNo = String(payload.event.payload)
const refund = db.selectOne('SELECT id, refund_price FROM eb_store_refund_order WHERE refund_order_no = ?', refundNo)
if (!refund) return { success: false, message: `refund ${refundNo} is not in the database` }

const frontId = /^\d{1,15}$/.test(refundNo) ? Number(refundNo) : refundNo
const agreed = payload.event.eventKey === 'ORDER_REFUND_AGREE'
const message = agreed
  ? {
      code: 200,
      message: 'ok',
      data: {
        id: frontId,
        returned_id: refund.id,
        returned_status: 10,
        real_returned_amount: refund.refund_price / 100,
        is_return_coupon: 'N',
        return_yoho_coin: 0
      }
    }
  : { code: 500, message: 'error', data: { id: frontId, returned_id: refund.id, returned_status: 91 } }

mq.publish('erp.createRefundOrder', message)
return { success: true, published: message }
