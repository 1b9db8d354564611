// 接口路径: /custom/event/order-create
// 处理 ORDER_CREATE_SUCCESS 事件
var event = payload.event;
var orderNo = event.payload;
log.info("处理订单创建事件: orderNo={}", orderNo);
// 查询订单详情
var order = db.selectOne(`
SELECT o.*, m.mer_name, u.nickname, u.phone
FROM eb_store_order o
LEFT JOIN eb_merchant m ON o.mer_id = m.id
LEFT JOIN eb_user u ON o.uid = u.uid
WHERE o.order_id = ?
`, orderNo);
// 查询订单商品
var products = db.select(`
SELECT product_id, product_name, sku, cart_num, price
FROM eb_store_order_info
WHERE order_no = ?
`, orderNo);
// 发送新订单通知给商户
http.post(env.get('DINGTALK_WEBHOOK'), {
body: {
msgtype: 'text',
text: {
content: '【新订单通知】\n' +
'订单号:' + orderNo + '\n' +
'下单用户:' + order.nickname + '\n' +
'订单金额:¥' + (order.total_price / 100).toFixed(2)
}
}
});
return { success: true };
