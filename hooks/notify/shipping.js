/**
 * /custom/notify/shipping: tells the buyer by SMS that the whole order is on its way.
 *
 * Event:   ORDER_DELIVERY_ALL (payload: order number)
 * Env:     SMS_VENDOR and its keys (see /lib/sms; one not set: nothing is sent),
 *          SMS_TEMPLATE_SHIPPED (the sender's name or code of the template; default order_shipped).
 *          The template's parameters: orderNo, expressName, expressNo
 * Table:   sms_record (sql/shop/sms.sql)
 * Retried: the order is not in the database yet; the SMS service cannot be reached, is busy, throttles, or refuses with a
 *          code that does not blame the request.
 * Not:     a buyer without a phone (succeeds without an SMS); a refusal of number, template, signature or account: dead
 *          letter, replay it after the repair; an answer that got lost: dead letter, since the SMS may have been sent.
 *          An event whose SMS was sent succeeds without another one.
 */

const sms = require('/lib/sms')

const skipped = sms.skipUnlessReady()
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

const result = sms.send({
  key: payload.event.id,
  phone,
  template: env.get('SMS_TEMPLATE_SHIPPED') || 'order_shipped',
  params: { orderNo, expressName: order.delivery_name ?? '', expressNo: order.delivery_id ?? '' }
})

if (!result.success) log.error('no SMS for order {}: {}', orderNo, result.message)
else log.info('SMS for order {} {} {}', orderNo, result.skipped ? 'was sent before to' : 'sent to', sms.masked(phone))
return result
