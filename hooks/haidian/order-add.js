/**
 * /custom/haidian/order-add: takes in an order. Called by a Haidian-like ERP as POST /api/order-add.
 *
 * Request: user_id, order_sn, order_amount, goods_amount, shipping_fee, order_type (1 picked up, 2 delivered), consignee and
 *          address (for 2), add_time, pay_time, order_goods[] (goods_no, goods_name, goods_price, goods_number, goods_amount), sign
 * Answer:  { code: 0, msg: "成功" }, or { code: -1, msg }. The same order again is answered with 0 and changes nothing;
 *          another order with a number that is taken is refused.
 * Env:     HAIDIAN_SECRET (not set: every request is refused) and the others of /lib/sign/haidian
 *
 * Assumed: the order goes to the table haidian_order, not among the shop's own orders: no payment event is raised for it, and
 * it is not sent back. user_id is a member of ours; pay_time may be empty; goods add up to goods_amount.
 */

const haidian = require('/lib/haidian')
const fields = require('/lib/haidian-fields')
const orders = require('/lib/haidian-orders')

return haidian.answer('order-add', payload.request, body => {
  orders.receive(body, 'order-add', fields.required(fields.id))
  return { msg: '成功' }
})
