/**
 * /custom/haidian/order-list: answers orders. Called by a Haidian-like ERP as POST /api/order-list.
 *
 * Request: user_id, mobile, order_sn, start_date and end_date (at least one of these; dates together, at most three months
 *          apart), page (default 1), sign
 * Answer:  { code: 0, data }, newest first; { code: -1, msg } for a wrong request or an order that is not there
 * Env:     HAIDIAN_SECRET (not set: every request is refused) and the others of /lib/sign/haidian,
 *          HAIDIAN_PAGE_SIZE and HAIDIAN_MER_ID (see /lib/haidian-orders),
 *          HAIDIAN_LIST_SHAPE  auto (default): data is one order, as the document prints it, when order_sn is given, else a
 *          list; list: always a list
 *
 * Assumed: a page after the last is an empty list; without dates there is no limit in time; the orders that the ERP gave us
 * itself (order-add, order-receive) are listed too.
 */

const haidian = require('/lib/haidian')
const fields = require('/lib/haidian-fields')
const orders = require('/lib/haidian-orders')

return haidian.answer('order-list', payload.request, body => {
  const asked = fields.read(body, {
    user_id: fields.id,
    mobile: fields.mobile,
    order_sn: fields.text(32),
    page: fields.page,
    start_date: fields.date,
    end_date: fields.date
  })
  fields.requireOne(asked, 'user_id', 'mobile', 'order_sn', 'start_date')
  const span = fields.span(asked.start_date, asked.end_date)
  const uids = uidsOf(asked)
  const found = uids?.length === 0 ? [] : orders.list({ uids, orderSn: asked.order_sn, span }, asked.page)
  if (!asked.order_sn || env.get('HAIDIAN_LIST_SHAPE') === 'list') return { data: found }
  return { data: found[0] ?? fields.refuse('订单不存在') }
})

/** Whose orders are asked for; null: anybody's. */
function uidsOf({ user_id, mobile }) {
  if (mobile === null) return user_id === null ? null : [user_id]
  const uids = db.select('SELECT uid FROM eb_user WHERE phone = ? ORDER BY uid LIMIT 50', mobile).map(user => user.uid)
  return user_id === null ? uids : uids.filter(uid => uid === user_id)
}
