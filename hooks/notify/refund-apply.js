/**
 * /custom/notify/refund-apply: tells the merchant's DingTalk group that a buyer asks for a refund.
 *
 * Event:   ORDER_REFUND_APPLY (payload: refund number)
 * Env:     DINGTALK_WEBHOOK (not set: nothing is sent), DINGTALK_SECRET (optional)
 * Retried: the refund is not in the database yet; DingTalk cannot be reached, is busy or was sent too much.
 * Not:     DingTalk refuses the robot, its signature or its keyword: dead letter at once, replay it after the repair.
 */

const settings = require('/lib/settings')
const dingtalk = require('/lib/dingtalk')
const money = require('/lib/money')

const skipped = settings.skipUnless('DINGTALK_WEBHOOK')
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

return dingtalk.sendText([
  '【退款申请通知】',
  `商户:${dingtalk.oneLine(refund.mer_name, '平台自营')}`,
  `退款单号:${refundNo}`,
  `订单号:${refund.order_no}`,
  `申请用户:${dingtalk.oneLine(refund.nickname, '未知用户')}`,
  `退款金额:${money.format(money.fen(refund.refund_price, 'refund_price'))}`,
  `退款原因:${dingtalk.oneLine(refund.refund_reason_wap, '未填写')}`,
  '请及时处理!'
])
