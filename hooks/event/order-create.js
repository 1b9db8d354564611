/**
 * /custom/event/order-create: tells the merchant's group of a new order.
 *
 * Event:   ORDER_CREATE_SUCCESS (payload: order number)
 * Env:     ROBOT_VENDOR and its robot's keys (see /lib/notify; no address set: nothing is sent): with DingTalk, the default,
 *          DINGTALK_WEBHOOK and DINGTALK_SECRET (optional)
 * Retried: the order is not in the database yet; the robot cannot be reached, is busy or was sent too much.
 * Not:     the robot's address, its signature or its keyword is refused: dead letter at once, replay it after the repair.
 */

const notify = require('/lib/notify')
const money = require('/lib/money')

const skipped = notify.skipUnlessReady()
if (skipped) return skipped

const orderNo = String(payload.event.payload)
const order = db.selectOne(
  `SELECT o.total_price, m.mer_name, u.nickname
     FROM eb_store_order o
     LEFT JOIN eb_merchant m ON m.id = o.mer_id
     LEFT JOIN eb_user u ON u.uid = o.uid
    WHERE o.order_id = ?`,
  orderNo
)
// The event may be ahead of the shop's commit.
if (!order) return { success: false, message: `order ${orderNo} is not in the database` }

return notify.sendText([
  '【新订单通知】',
  `商户:${notify.oneLine(order.mer_name, '平台自营')}`,
  `订单号:${orderNo}`,
  `下单用户:${notify.oneLine(order.nickname, '未知用户')}`,
  `订单金额:${money.format(money.fen(order.total_price, 'total_price'))}`
])
