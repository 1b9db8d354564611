// 接口路径: /custom/notify/shipping
// 处理 ORDER_DELIVERY_ALL 事件
var event = payload.event;
var orderNo = event.payload;
log.info("处理发货事件: orderNo={}", orderNo);
// 查询订单和物流信息
var order = db.selectOne(`
SELECT o.order_id, o.uid, u.phone, u.nickname
FROM eb_store_order o
LEFT JOIN eb_user u ON o.uid = u.uid
WHERE o.order_id = ?
`, orderNo);
// 查询物流信息
var logistics = db.selectOne(`
SELECT delivery_name, delivery_id
FROM eb_store_order
WHERE order_id = ?
`, orderNo);
// 发送短信通知
if (order.phone) {
http.post(env.get('SMS_API_URL') + '/send', {
headers: {
'Authorization': 'Bearer ' + env.get('SMS_API_KEY')
},
body: {
phone: order.phone,
template: 'order_shipped',
params: {
orderNo: orderNo,
expressName: logistics.delivery_name,
expressNo: logistics.delivery_id
}
}
});
log.info("发货短信已发送: phone={}", order.phone);
}
return { success: true };
