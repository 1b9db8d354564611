// 接口路径: /custom/notify/refund-apply
// 处理 ORDER_REFUND_APPLY 事件
var event = payload.event;
var refundOrderNo = event.payload; // 注意:这里是退款订单号
log.info("处理退款申请事件: refundOrderNo={}", refundOrderNo);
// 查询退款订单
var refund = db.selectOne(`
SELECT r.*, o.mer_id, m.mer_name, m.alert_phone
FROM eb_store_refund_order r
LEFT JOIN eb_store_order o ON r.order_no = o.order_id
LEFT JOIN eb_merchant m ON o.mer_id = m.id
WHERE r.refund_order_no = ?
`, refundOrderNo);
// 发送钉钉通知给商户
http.post(env.get('DINGTALK_WEBHOOK'), {
body: {
msgtype: 'text',
text: {
content: '【退款申请通知】\n' +
'商户:' + refund.mer_name + '\n' +
'退款单号:' + refundOrderNo + '\n' +
'退款金额:¥' + (refund.refund_price / 100).toFixed(2) + '\n' +
'退款原因:' + refund.refund_reason_wap + '\n' +
'请及时处理!'
}
}
});
return { success: true };
