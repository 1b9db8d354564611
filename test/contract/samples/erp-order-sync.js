// 接口路径: /custom/erp/order-sync
// 处理 ORDER_PAY_SUCCESS 事件
var event = payload.event;
var orderNo = event.payload;
log.info("处理订单支付成功事件: orderNo={}", orderNo);
// 查询订单详情
var order = db.selectOne(`
SELECT o.*, u.phone, u.nickname
FROM eb_store_order o
LEFT JOIN eb_user u ON o.uid = u.uid
WHERE o.order_id = ?
`, orderNo);
if (!order) {
log.error("订单不存在: {}", orderNo);
return { success: false, message: "订单不存在" };
}
// 查询订单商品
var products = db.select(`
SELECT product_id, product_name, sku, cart_num as num, price
FROM eb_store_order_info
WHERE order_no = ?
`, orderNo);
// 查询收货地址
var address = db.selectOne(`
SELECT * FROM eb_store_order_address
WHERE order_no = ?
`, orderNo);
// 转换为ERP格式
var erpOrder = {
sourceOrderNo: order.order_id,
sourceSystem: "MISEB",
customerId: "MISEB_" + order.uid,
customerName: order.nickname,
customerPhone: order.phone,
payAmount: order.pay_price / 100,
payType: order.pay_type,
payTime: order.pay_time,
shippingAddress: {
name: address.real_name,
phone: address.user_phone,
province: address.province,
city: address.city,
district: address.district,
detail: address.detail
},
items: products.map(p => ({
skuCode: "MISEB_" + p.product_id,
productName: p.product_name,
spec: p.sku,
quantity: p.num,
price: p.price / 100
}))
};
// 调用ERP接口
var result = http.post(env.get('ERP_API_URL') + '/order/create', {
headers: {
'Content-Type': 'application/json',
'Authorization': 'Bearer ' + env.get('ERP_API_KEY')
},
body: erpOrder,
timeout: 10000
});
if (result.code == 0 || result.code == 200) {
// 记录ERP订单号
db.update(`
UPDATE eb_store_order
SET mark = CONCAT(IFNULL(mark,''), ' ERP:', ?)
WHERE order_id = ?
`, result.data?.erpOrderId, orderNo);
log.info("订单同步ERP成功: orderNo={}, erpOrderId={}", orderNo, result.data?.erpOrderId);
return { success: true, erpOrderId: result.data?.erpOrderId };
} else {
log.error("订单同步ERP失败: orderNo={}, error={}", orderNo, result.message);
return { success: false, message: result.message };
}
