/**
 * The purchase platform's reverse order (采购逆向单): the document of a refunded order, built from the shop's tables and
 * those of sql/shop/purchase.sql, and checked against reverse-order.schema.json.
 *
 * Env: PURCHASE_UNIT_ID, PURCHASE_UNIT_NAME (the department of users whom purchase_employee does not name),
 *      PURCHASE_COST_ATTRIBUTION (info, list or both; default info: under which of its two names the cost attribution
 *      is sent: the document's table says cost_attribution_list, its sample cost_attribution_info)
 * Assumed: total_price is what was refunded, and the company paid all of it but purchase_refund.personal_pay; amounts
 *          are positive; create_time is the order's, finish_time the payment's; the address is one text without blanks.
 */

const money = require('/lib/money')
const schema = require('/lib/purchase/reverse-order-schema')

/** The refund with its order, merchant, buyer and employee, as one row; null when it is not in the database. */
exports.find = refundNo =>
  db.selectOne(
    `SELECT r.refund_order_no, r.order_no, r.refund_price, r.refund_status, r.create_time AS applied_at, r.refund_time,
            o.id AS order_id, o.uid, o.create_time AS ordered_at, m.mer_name, u.nickname, u.real_name, u.phone,
            a.real_name AS consignee, a.user_phone, a.province, a.city, a.district, a.detail,
            e.employee_id, e.employee_number, e.unit_id, e.unit_name,
            e.third_user_id, e.third_dept_id, e.cost_dept_id, e.cost_project_id,
            p.supplier_order_id, p.supplier_refund_order_id, p.supplier_name,
            p.personal_pay, p.coupon_amount, p.red_envelope
       FROM eb_store_refund_order r
       LEFT JOIN eb_store_order o ON o.order_id = r.order_no
       LEFT JOIN eb_merchant m ON m.id = o.mer_id
       LEFT JOIN eb_user u ON u.uid = o.uid
       LEFT JOIN eb_store_order_address a ON a.order_no = r.order_no
       LEFT JOIN purchase_employee e ON e.uid = o.uid
       LEFT JOIN purchase_refund p ON p.refund_order_no = r.refund_order_no
      WHERE r.refund_order_no = ?`,
    refundNo
  )

/** The document for such a row. What is not known is left out: `faults` names what must not be. */
exports.document = refund =>
  exports.known({
    order_info: orderInfo(refund),
    price_info: priceInfo(refund),
    user_info: userInfo(refund),
    consignee_info: {
      name: refund.consignee,
      phone: refund.user_phone,
      address: [refund.province, refund.city, refund.district, refund.detail].join('')
    },
    product_info: products(refund),
    order_track_info: tracks(refund),
    third_info: thirdInfo(refund),
    ...costAttribution(refund.uid)
  })

/** What is wrong with a document, in words that name the fields: "user_info.unit_id is missing"; empty: nothing is. */
exports.faults = document => schema.errorsOf(document).map(faultOf).join('; ')

/** The same without fields that are null or undefined, however deep: a field that is null is a field that is missing. */
exports.known = value => {
  if (Array.isArray(value)) return value.map(exports.known)
  if (typeof value !== 'object' || value === null) return value
  const fields = Object.entries(value).filter(([, field]) => field !== null && field !== undefined)
  return Object.fromEntries(fields.map(([name, field]) => [name, exports.known(field)]))
}

const orderInfo = refund => ({
  order_id: refund.order_no,
  supplier_order_id: refund.supplier_order_id,
  refund_order_id: refund.refund_order_no,
  supplier_refund_order_id: refund.supplier_refund_order_id,
  create_time: refund.ordered_at,
  finish_time: refund.refund_time,
  status: 1,
  status_name: '已退款',
  supplier_name: refund.supplier_name || refund.mer_name,
  order_category_type: 20,
  order_category_name: '采购',
  order_op_type: 20,
  order_op_type_name: '逆向单'
})

// Reckoned in fen; each amount is turned into yuan once, which is exact to the cent.
const priceInfo = refund => {
  const total = money.fen(refund.refund_price, 'refund_price')
  const personal = money.fen(refund.personal_pay ?? 0, 'personal_pay')
  return {
    total_price: money.yuan(total),
    company_total_pay: money.yuan(total - personal),
    personal_total_pay: money.yuan(personal),
    red_envelope: money.yuan(money.fen(refund.red_envelope ?? 0, 'red_envelope')),
    coupon_amount: money.yuan(money.fen(refund.coupon_amount ?? 0, 'coupon_amount'))
  }
}

const userInfo = refund => ({
  id: refund.employee_id || textOf(refund.uid),
  name: nameOf(refund),
  phone: refund.phone,
  unit_id: refund.unit_id || env.get('PURCHASE_UNIT_ID'),
  unit_name: refund.unit_name || env.get('PURCHASE_UNIT_NAME'),
  employee_number: refund.employee_number
})

const thirdInfo = refund => {
  const info = {
    user_id: refund.third_user_id,
    dept_id: refund.third_dept_id,
    cost_dept_id: refund.cost_dept_id,
    cost_project_id: refund.cost_project_id
  }
  return Object.values(info).some(Boolean) ? info : undefined
}

const products = refund => {
  const items = db.select(
    `SELECT product_id, product_name, sku, cart_num, price, brand_name, unit
       FROM purchase_refund_item WHERE refund_order_no = ? ORDER BY product_id, sku`,
    refund.refund_order_no
  )
  const lines =
    'SELECT product_id, product_name, sku, cart_num, price FROM eb_store_order_info WHERE order_no = ? ORDER BY id'
  return (items.length > 0 ? items : db.select(lines, refund.order_no)).map(line => {
    const price = money.fen(line.price, `price of product ${line.product_id}`)
    return {
      id: String(line.product_id),
      name: line.product_name,
      amount: line.cart_num,
      price: money.yuan(price),
      total_price: money.yuan(price * line.cart_num),
      brand_name: line.brand_name,
      unit: line.unit,
      spec: line.sku
    }
  })
}

const APPLIED = '您的售后单已经申请成功,售后审核中'
const PAID = '您的售后单财务已退款,请注意查收'
const WORDS = { apply_refund: APPLIED, refund_price: PAID }

// The newest first, as in the document's sample. A shop that logs nothing still knows both ends of the way.
const tracks = refund => {
  const steps = db.select(
    `SELECT change_type, change_message, create_time FROM eb_store_order_status
      WHERE oid = ? AND create_time >= ? AND (change_type LIKE '%refund%' OR change_type LIKE '%return%')
      ORDER BY create_time DESC, id DESC`,
    refund.order_id,
    refund.applied_at
  )
  if (steps.length > 0) return steps.map(step => trackOf(step, refund))
  const ends = [
    { change_type: 'refund_price', create_time: refund.refund_time },
    { change_type: 'apply_refund', create_time: refund.applied_at }
  ]
  return ends.filter(end => end.create_time).map(end => trackOf(end, refund))
}

const trackOf = (step, refund) => ({
  content: WORDS[step.change_type] ?? step.change_message,
  operator: step.change_type === 'apply_refund' ? nameOf(refund) : '客服',
  msg_time: step.create_time
})

const costAttribution = uid => {
  const rows = db.select(
    `SELECT category AS cost_attribution_category, cost_id AS cost_attribution_id, name AS cost_attribution_name
       FROM purchase_cost_attribution WHERE uid = ? ORDER BY category, cost_id`,
    uid
  )
  if (rows.length === 0) return {}
  const spelling = env.get('PURCHASE_COST_ATTRIBUTION') || 'info'
  return {
    ...(spelling !== 'list' ? { cost_attribution_info: rows } : {}),
    ...(spelling !== 'info' ? { cost_attribution_list: rows } : {})
  }
}

const nameOf = refund => refund.real_name || refund.nickname

const textOf = value => (value === null || value === undefined ? undefined : String(value))

const faultOf = ({ instancePath, keyword, params }) => {
  const path = instancePath
    .slice(1)
    .replace(/\/(\d+)/g, '[$1]')
    .replaceAll('/', '.')
  const name = path || 'the document'
  switch (keyword) {
    case 'required':
      return `${path ? `${path}.` : ''}${params.missingProperty} is missing`
    case 'type':
      return `${name} must be of type ${params.type}`
    case 'const':
      return `${name} must be ${params.allowedValue}`
    case 'enum':
      return `${name} must be one of ${params.allowedValues.join(', ')}`
    case 'minItems':
      return `${name} is empty`
    case 'minimum':
      return `${name} must be ${params.limit} or more`
    default:
      return params.pattern === '\\S' ? `${name} is empty` : `${name} has the wrong form`
  }
}
