/**
 * Orders as a Haidian-like document: read from the shop, and taken in from the ERP. Tables: sql/shop/haidian.sql.
 *
 * Env: HAIDIAN_PAGE_SIZE  orders on a page of order-list, 1 to 100; default 20. HAIDIAN_MER_ID: see /lib/haidian.
 *
 * Assumed: goods_no is the ERP's number where haidian_goods maps product and variant, else our product id. order_amount is
 * what the buyer paid: goods_amount + shipping_fee - act_price. An order without an address is picked up. Cancelled orders
 * are not listed, since the document has no field to say so.
 */

const fields = require('/lib/haidian-fields')
const haidian = require('/lib/haidian')

const COLUMNS = `o.id AS order_id, o.order_id AS order_sn, o.uid AS uid,
    CASE WHEN a.order_no IS NULL THEN 1 ELSE 2 END AS order_type,
    o.pay_price AS order_amount, o.freight AS shipping_fee, o.total_price - o.freight AS goods_amount,
    o.coupon_price AS act_price, c.id AS coupons_id, o.pay_type AS pay_type,
    COALESCE(a.real_name, NULLIF(u.real_name, ''), u.nickname, '') AS consignee,
    CASE WHEN a.order_no IS NULL THEN '' ELSE CONCAT(a.province, a.city, a.district, a.detail) END AS address,
    o.create_time AS add_time, o.pay_time AS pay_time`

const FROM = `FROM eb_store_order o
    LEFT JOIN eb_user u ON u.uid = o.uid
    LEFT JOIN eb_store_order_address a ON a.order_no = o.order_id
    LEFT JOIN haidian_coupon c ON c.order_no = o.order_id`

const IMPORTED = `SELECT 0 AS order_id, h.order_sn AS order_sn, h.uid AS uid, h.order_type AS order_type,
    h.order_amount AS order_amount, h.shipping_fee AS shipping_fee, h.goods_amount AS goods_amount,
    h.goods_amount + h.shipping_fee - h.order_amount AS act_price, NULL AS coupons_id, '' AS pay_type,
    h.consignee AS consignee, h.address AS address, h.add_time AS add_time, h.pay_time AS pay_time, h.goods AS goods
    FROM haidian_order h`

/** An order of the shop with what is needed to send it, or null. */
exports.find = orderNo =>
  db.selectOne(
    `SELECT ${COLUMNS}, o.mer_id AS mer_id, o.paid AS paid, o.delivery_id AS delivery_id, u.phone AS phone
     ${FROM} WHERE o.order_id = ?`,
    orderNo
  )

/** A page of documents, newest first, of the orders that meet all conditions given: `{ uids, orderSn, span }`. */
exports.list = ({ uids, orderSn, span }, page) => {
  const size = pageSize()
  const shop = conditions({ uids, orderSn, span, number: 'o.order_id', time: 'o.create_time', table: 'o' })
  const imported = conditions({ uids, orderSn, span, number: 'h.order_sn', time: 'h.add_time', table: 'h' })
  const rows = db.select(
    `SELECT ${COLUMNS}, NULL AS goods ${FROM} WHERE o.status <> 9 ${shop.text}
     UNION ALL ${IMPORTED} WHERE 1 = 1 ${imported.text}
     ORDER BY add_time DESC, order_sn DESC LIMIT ? OFFSET ?`,
    [...shop.params, ...imported.params, size, (page - 1) * size]
  )
  const goods = exports.goodsOf(rows.filter(row => row.goods === null).map(row => row.order_sn))
  return rows.map(row => documentOf(row, row.goods === null ? (goods[row.order_sn] ?? []) : JSON.parse(row.goods)))
}

const conditions = ({ uids, orderSn, span, number, time, table }) => {
  const all = [
    uids && { text: `${table}.uid IN (${uids.map(() => '?').join(', ')})`, params: uids },
    orderSn && { text: `${number} = ?`, params: [orderSn] },
    span && { text: `${time} BETWEEN ? AND ?`, params: [span.from, span.to] },
    haidian.merchant() && { text: `${table}.mer_id = ?`, params: [haidian.merchant()] }
  ].filter(Boolean)
  return { text: all.map(({ text }) => `AND ${text}`).join(' '), params: all.flatMap(({ params }) => params) }
}

const pageSize = () => {
  const size = Number(env.get('HAIDIAN_PAGE_SIZE') || 20)
  return Number.isInteger(size) && size >= 1 && size <= 100 ? size : 20
}

const PAY_NAMES = { weixin: '微信支付', alipay: '支付宝', yue: '余额支付', offline: '线下支付' }

const documentOf = (row, goods) => ({
  order_id: row.order_id ? String(row.order_id) : row.order_sn,
  order_sn: row.order_sn,
  user_id: String(row.uid),
  order_type: String(row.order_type),
  order_amount: haidian.yuan(row.order_amount),
  shipping_fee: haidian.yuan(row.shipping_fee),
  goods_amount: haidian.yuan(row.goods_amount),
  act_price: haidian.yuan(row.act_price),
  coupons_id: row.coupons_id === null ? '' : String(row.coupons_id),
  pay_name: PAY_NAMES[row.pay_type] ?? row.pay_type,
  consignee: row.consignee,
  address: row.address,
  add_time: row.add_time,
  pay_time: row.pay_time ?? '',
  order_goods: goods
})

/** The document's order_goods of these orders, by order number. */
exports.goodsOf = orderNos => {
  if (orderNos.length === 0) return {}
  const lines = db.select(
    `SELECT i.order_no, i.product_id, i.product_name, i.price, i.cart_num, g.goods_no
       FROM eb_store_order_info i
       LEFT JOIN haidian_goods g ON g.product_id = i.product_id AND g.sku = i.sku
      WHERE i.order_no IN (${orderNos.map(() => '?').join(', ')})
      ORDER BY i.order_no, i.product_id`,
    orderNos
  )
  const goods = {}
  for (const line of lines) {
    goods[line.order_no] ??= []
    goods[line.order_no].push({
      goods_no: line.goods_no ?? String(line.product_id),
      goods_name: line.product_name,
      goods_price: haidian.yuan(line.price),
      goods_number: String(line.cart_num),
      goods_amount: haidian.yuan(line.price * line.cart_num)
    })
  }
  return goods
}

const { required, text, money } = fields
const MOST_GOODS = 200

const ORDER = {
  order_sn: required(text(32)),
  order_amount: required(money),
  goods_amount: required(money),
  shipping_fee: required(money),
  order_type: required(fields.oneOf('1', '2')),
  consignee: text(64),
  address: text(256),
  add_time: required(fields.time),
  pay_time: fields.time
}

const GOODS = {
  goods_no: required(text(64)),
  goods_name: required(text(128)),
  goods_price: required(money),
  goods_number: required(fields.count),
  goods_amount: required(money)
}

/**
 * Takes in an order that the ERP sends, once: the same again changes nothing, another order under the same number is
 * refused. `user` is the rule for user_id.
 */
exports.receive = (body, source, user) => {
  const { user_id, ...order } = fields.read(body, { user_id: user, ...ORDER })
  const goods = goodsIn(body.order_goods)
  checkDelivery(order)
  checkAmounts(order, goods)
  if (user_id && !db.selectOne('SELECT 1 AS known FROM eb_user WHERE uid = ?', user_id)) fields.refuse('会员不存在')
  if (db.selectOne('SELECT 1 AS taken FROM eb_store_order WHERE order_id = ?', order.order_sn))
    fields.refuse('订单号已存在')
  const digest = crypto.sha256(JSON.stringify([source, user_id, order, goods]))
  if (haidian.insertOnce(() => insertOrder({ ...order, uid: user_id ?? 0, source, goods, digest }))) {
    log.info('order {} taken in, {} goods', order.order_sn, goods.length)
    return
  }
  const known = db.selectValue('SELECT digest FROM haidian_order WHERE order_sn = ? FOR UPDATE', order.order_sn)
  if (known !== digest) fields.refuse('订单号已存在，且内容不同')
  log.info('order {} was taken in before', order.order_sn)
}

const goodsIn = list => {
  if (!Array.isArray(list) || list.length === 0) fields.refuse('参数错误：order_goods 不能为空')
  if (list.length > MOST_GOODS) fields.refuse(`参数错误：order_goods 不能超过 ${MOST_GOODS} 项`)
  return list.map((line, index) => {
    if (line === null || typeof line !== 'object') fields.refuse(`参数错误：order_goods[${index}] 应为对象`)
    const named = Object.entries(GOODS).map(([name, rule]) => [
      name,
      value => rule(value, `order_goods[${index}].${name}`)
    ])
    return fields.read(line, Object.fromEntries(named))
  })
}

const checkDelivery = ({ order_type, consignee, address }) => {
  if (order_type !== '2') return
  if (!consignee) fields.refuse('参数错误：consignee 不能为空')
  if (!address) fields.refuse('参数错误：address 不能为空')
}

// A discount may lower what is paid, but goods that do not add up were garbled on their way.
const checkAmounts = ({ order_amount, goods_amount, shipping_fee }, goods) => {
  const sum = goods.reduce((fen, line) => fen + line.goods_amount, 0)
  if (sum !== goods_amount) fields.refuse('参数错误：goods_amount 与 order_goods 合计不符')
  if (order_amount > goods_amount + shipping_fee) fields.refuse('参数错误：order_amount 大于商品总金额与配送费之和')
}

const insertOrder = order =>
  db.insert(
    `INSERT INTO haidian_order (order_sn, source, uid, mer_id, order_amount, goods_amount, shipping_fee, order_type,
       consignee, address, add_time, pay_time, goods, digest, create_time)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NOW())`,
    ...[order.order_sn, order.source, order.uid, haidian.merchant() ?? 0],
    ...[order.order_amount, order.goods_amount, order.shipping_fee, order.order_type],
    ...[order.consignee ?? '', order.address ?? '', order.add_time, order.pay_time],
    ...[JSON.stringify(order.goods.map(inYuan)), order.digest]
  )

const inYuan = line => ({
  goods_no: line.goods_no,
  goods_name: line.goods_name,
  goods_price: haidian.yuan(line.goods_price),
  goods_number: String(line.goods_number),
  goods_amount: haidian.yuan(line.goods_amount)
})
