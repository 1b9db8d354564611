// 接口路径: /custom/distribution/calc-commission
// 处理 ORDER_CONFIRM_RECEIPT 事件
var event = payload.event;
var orderNo = event.payload;
log.info("处理确认收货事件: orderNo={}", orderNo);
// 查询订单
var order = db.selectOne(`
SELECT * FROM eb_store_order WHERE order_id = ?
`, orderNo);
// 查询用户的推荐人
var user = db.selectOne(`
SELECT uid, spread_uid FROM eb_user WHERE uid = ?
`, order.uid);
if (user.spread_uid > 0) {
// 计算佣金(假设10%)
var commission = Math.floor(order.pay_price * 0.1);
// 记录佣金
db.insert(`
INSERT INTO eb_user_brokerage_record
(uid, link_id, link_type, type, title, price, status, create_time)
VALUES (?, ?, 'order', 1, '订单佣金', ?, 1, NOW())
`, user.spread_uid, order.id, commission);
// 更新用户佣金余额
db.update(`
UPDATE eb_user
SET brokerage_price = brokerage_price + ?
WHERE uid = ?
`, commission, user.spread_uid);
log.info("佣金计算完成: spreadUid={}, commission={}", user.spread_uid, commission);
}
return { success: true };
