// The same work as plain-handler.ts: three selects, a POST, an update.
const orderNo = payload.event.payload
const order = db.selectOne(
  'SELECT o.*, u.phone, u.nickname FROM eb_store_order o LEFT JOIN eb_user u ON o.uid = u.uid WHERE o.order_id = ?',
  orderNo
)
const products = db.select(
  'SELECT product_id, product_name, sku, cart_num AS num, price FROM eb_store_order_info WHERE order_no = ?',
  orderNo
)
const address = db.selectOne('SELECT * FROM eb_store_order_address WHERE order_no = ?', orderNo)
const { data } = http.post(env.get('BENCH_ERP') + '/order/create', {
  headers: { authorization: 'Bearer bench' },
  body: { sourceOrderNo: orderNo, payAmount: order.pay_price / 100, address, products }
})
db.update('UPDATE eb_store_order SET mark = ? WHERE order_id = ?', 'ERP:' + data.erpOrderId, orderNo)
return { success: true }
