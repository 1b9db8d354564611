/**
 * /custom/notify/shipping: tells the buyer by SMS that the whole order is on its way.
 *
 * Event:   ORDER_DELIVERY_ALL (payload: order number)
 * Env:     SMS_API_URL, SMS_API_KEY (one not set: nothing is sent), SMS_TEMPLATE_SHIPPED (default order_shipped)
 * Retried: the order is not in the database yet; the SMS service cannot be reached or refuses with a code of its own.
 * Not:     a buyer without a phone (succeeds without an SMS); a refusal with a code isv.… (number, template, signature or
 *          quota): dead letter. An answer without any code counts as sent, since a repetition would reach the buyer.
 */

const settings = require('/lib/settings')

const skipped = settings.skipUnless('SMS_API_URL', 'SMS_API_KEY')
if (skipped) return skipped

const orderNo = String(payload.event.payload)
const order = db.selectOne(
  `SELECT o.delivery_name, o.delivery_id, u.phone
     FROM eb_store_order o
     LEFT JOIN eb_user u ON u.uid = o.uid
    WHERE o.order_id = ?`,
  orderNo
)
// The event may be ahead of the shop's commit.
if (!order) return { success: false, message: `order ${orderNo} is not in the database` }

const phone = String(order.phone ?? '').trim()
if (!phone) {
  log.warn('no SMS for order {}: the buyer has no phone', orderNo)
  return { success: true, skipped: 'the buyer has no phone' }
}

const answer = http.post(`${env.get('SMS_API_URL', '').replace(/\/+$/, '')}/send`, {
  headers: { Authorization: `Bearer ${env.get('SMS_API_KEY')}` },
  body: {
    phone,
    template: env.get('SMS_TEMPLATE_SHIPPED') || 'order_shipped',
    params: { orderNo, expressName: order.delivery_name ?? '', expressNo: order.delivery_id ?? '' }
  }
})

const code = String(answer?.code ?? 'OK')
if (!['0', '200', 'OK'].includes(code.toUpperCase())) {
  const message = `SMS service: ${code} ${answer.message ?? ''}`.trim()
  log.error('no SMS for order {}: {}', orderNo, message)
  return code.startsWith('isv.') ? { success: false, retry: false, message } : { success: false, message }
}

log.info('SMS for order {} sent to {}', orderNo, phone.replace(/^(.{3}).*(.{4})$/, '$1****$2'))
return { success: true }
