/**
 * /custom/notify/refund-apply: tells the merchant's group that a buyer asks for a refund.
 *
 * Event:   ORDER_REFUND_APPLY (payload: refund number)
 * Env:     ROBOT_VENDOR and its robot's keys (see /lib/notify; no address set: nothing is sent): with DingTalk, the default,
 *          DINGTALK_WEBHOOK and DINGTALK_SECRET (optional)
 * Retried: the refund is not in the database yet; the robot cannot be reached, is busy or was sent too much.
 * Not:     the robot's address, its signature or its keyword is refused: dead letter at once, replay it after the repair.
 */

const notify = require('/lib/notify')
const money = require('/lib/money')

const skipped = notify.skipUnlessReady()
if (skipped) return skipped

const refundNo = String(payload.event.payload)
const refund = db.selectOne(
  `SELECT r.order_no, r.refund_price, r.refund_reason_wap, m.mer_name, u.nickname
     FROM eb_store_refund_order r
     LEFT JOIN eb_store_order o ON o.order_id = r.order_no
     LEFT JOIN eb_merchant m ON m.id = o.mer_id
     LEFT JOIN eb_user u ON u.uid = o.uid
    WHERE r.refund_order_no = ?`,
  refundNo
)
// The event may be ahead of the shop's commit.
if (!refund) return { success: false, message: `refund ${refundNo} is not in the database` }

return notify.sendText([
  '【退款申请通知】',
  `商户:${notify.oneLine(refund.mer_name, '平台自营')}`,
  `退款单号:${refundNo}`,
  `订单号:${refund.order_no}`,
  `申请用户:${notify.oneLine(refund.nickname, '未知用户')}`,
  `退款金额:${money.format(money.fen(refund.refund_price, 'refund_price'))}`,
  `退款原因:${notify.oneLine(refund.refund_reason_wap, '未填写')}`,
  '请及时处理!'
])
