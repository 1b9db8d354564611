// 接口路径: /custom/erp/order-cancel
// 处理 ORDER_CANCEL 事件
var event = payload.event;
var orderNo = event.payload;
log.info("处理订单取消事件: orderNo={}", orderNo);
// 查询订单状态
var order = db.selectOne(`
SELECT order_id, status, refund_status FROM eb_store_order
WHERE order_id = ?
`, orderNo);
// 同步取消到ERP
var result = http.post(env.get('ERP_API_URL') + '/order/cancel', {
headers: {
'Authorization': 'Bearer ' + env.get('ERP_API_KEY')
},
body: {
sourceOrderNo: orderNo,
sourceSystem: "MISEB",
cancelReason: "用户取消订单"
}
});
log.info("ERP订单取消同步: orderNo={}, result={}", orderNo, result);
return { success: true };
