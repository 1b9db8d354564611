/**
 * /custom/haidian/order-receive: takes in an order that was sold in a branch. OUR READING of item 7 of the document's table of
 * contents, "订单接收(接收海典上传订单)", which the document never describes: POST /api/order-receive.
 *
 * Request: as order-add's; user_id may be left out for a buyer who is no member
 * Answer:  { code: 0, msg: "成功" }, or { code: -1, msg }; repeated orders as in order-add
 * Env:     HAIDIAN_SECRET (not set: every request is refused) and the others of /lib/sign/haidian
 */

const haidian = require('/lib/haidian')
const fields = require('/lib/haidian-fields')
const orders = require('/lib/haidian-orders')

return haidian.answer('order-receive', payload.request, body => {
  orders.receive(body, 'order-receive', fields.id)
  return { msg: '成功' }
})
