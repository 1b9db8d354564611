/**
 * /custom/haidian/order-send: an order was sent or picked up. Called by a Haidian-like ERP as POST /api/order-send.
 *
 * Request: user_id, order_sn, send_type (自提 picked up, 配送 sent), express_no (for 配送; empty for 自提), sign
 * Answer:  { code: 0, msg: "操作成功" }, also for the same again, which changes nothing; { code: -1, msg } for an order that is
 *          not this member's, not paid, cancelled, or sent in another way
 * Raises:  ORDER_DELIVERY_ALL for 配送, ORDER_CONFIRM_RECEIPT for 自提 (payload: order number), once
 * Env:     HAIDIAN_SECRET (not set: every request is refused) and the others of /lib/sign/haidian, HAIDIAN_MER_ID,
 *          HAIDIAN_EXPRESS_NAME (the carrier that is written to the order; default none: the order's own stays)
 *
 * Assumed: a picked-up order is received. Orders of order-add are sent in haidian_order, and raise no event.
 */

const haidian = require('/lib/haidian')
const fields = require('/lib/haidian-fields')

const UNPAID = 0
const RECEIVED = 2
const CANCELLED = 9

return haidian.answerWriting('order-send', payload.request, body => {
  const sent = fields.read(body, {
    user_id: fields.required(fields.id),
    order_sn: fields.required(fields.text(32)),
    send_type: fields.required(fields.oneOf('自提', '配送')),
    express_no: fields.text(64)
  })
  if (sent.send_type === '配送' && !sent.express_no) fields.refuse('参数错误：express_no 不能为空')
  if (sent.send_type === '自提' && sent.express_no) fields.refuse('参数错误：自提订单的 express_no 应为空')
  const order = lockOrder(sent)
  if (!order || order.uid !== sent.user_id || haidian.isForeign(order)) return fields.refuse('订单不存在')
  if (order.status === CANCELLED) fields.refuse('订单已取消')
  if (order.paid === UNPAID) fields.refuse('订单未支付')
  if (order.status === 0) return send(order, sent)
  if (!isSame(order, sent)) fields.refuse('订单已发货或自提，且内容不同')
  log.info('order {} was sent before', sent.order_sn)
  return { msg: '操作成功' }
})

/** The order, locked until the run ends: the shop's own, else one that the ERP gave us. */
function lockOrder({ order_sn }) {
  return (
    db.selectOne(
      `SELECT order_id AS order_sn, 'shop' AS source, uid, mer_id, paid, status, delivery_id AS express_no
         FROM eb_store_order WHERE order_id = ? FOR UPDATE`,
      order_sn
    ) ??
    db.selectOne(
      `SELECT order_sn, source, uid, mer_id, 1 AS paid, status, express_no
         FROM haidian_order WHERE order_sn = ? FOR UPDATE`,
      order_sn
    )
  )
}

function isSame(order, { send_type, express_no }) {
  return send_type === '自提' ? order.status >= RECEIVED && !order.express_no : order.express_no === express_no
}

function send(order, { send_type, express_no }) {
  const status = send_type === '自提' ? RECEIVED : 1
  if (order.source !== 'shop') {
    db.update('UPDATE haidian_order SET status = ?, express_no = ? WHERE order_sn = ?', status, express_no, order.order_sn)
    return { msg: '操作成功' }
  }
  db.update(
    `UPDATE eb_store_order SET status = ?, delivery_id = ?, delivery_name = COALESCE(?, delivery_name) WHERE order_id = ?`,
    status,
    express_no,
    (express_no && env.get('HAIDIAN_EXPRESS_NAME')) || null,
    order.order_sn
  )
  // The ERP knows already: /custom/haidian/push-order-send must not tell it again.
  haidian.note('order-send', order.order_sn)
  const eventKey = send_type === '自提' ? 'ORDER_CONFIRM_RECEIPT' : 'ORDER_DELIVERY_ALL'
  emit(eventKey, order.order_sn, { id: `haidian-send-${order.order_sn}` })
  log.info('order {} sent: {} {}', order.order_sn, send_type, express_no ?? '')
  return { msg: '操作成功' }
}
