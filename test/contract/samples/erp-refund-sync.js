// 接口路径: /custom/erp/refund-sync
// 处理 ORDER_REFUND_AGREE 事件
var event = payload.event;
var refundOrderNo = event.payload;
log.info("处理退款同意事件: refundOrderNo={}", refundOrderNo);
// 查询退款订单
var refund = db.selectOne(`
SELECT * FROM eb_store_refund_order
WHERE refund_order_no = ?
`, refundOrderNo);
// 同步到ERP
var result = http.post(env.get('ERP_API_URL') + '/refund/create', {
headers: {
'Authorization': 'Bearer ' + env.get('ERP_API_KEY')
},
body: {
sourceRefundNo: refundOrderNo,
sourceOrderNo: refund.order_no,
refundAmount: refund.refund_price / 100,
refundReason: refund.refund_reason_wap
}
});
log.info("ERP退款同步: refundOrderNo={}, result={}", refundOrderNo, result);
return { success: true };
