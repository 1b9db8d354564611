/**
 * /custom/purchase/reverse-order-push: tells the purchase platform of a refunded order (采购逆向单消息推送).
 *
 * Event:   ORDER_RETURN_COMPLETE (payload: refund number)
 * Env:     PURCHASE_PUSH_URL (not set: nothing is sent), PURCHASE_PUSH_TOKEN (optional: sent as bearer token),
 *          PURCHASE_PUSH_SUCCESS (default "code=0,200": the field of the answer and its values that mean success;
 *          "http": any status below 400 does), PURCHASE_REFUNDED_STATUS (default 3: the refund_status values that mean
 *          the money is back, "2,3"), and those of /lib/purchase/reverse-order
 * Tables:  sql/shop/purchase.sql
 * Retried: the refund is not in the database, or not paid out yet; the platform cannot be reached, answers with HTTP 408,
 *          429 or 5xx, or without success.
 * Not:     the document lacks something that it must have: dead letter at once with a message that names it, replay it
 *          after the repair; any other HTTP 4xx.
 * Assumed, since the document is silent: POST of the JSON itself; a bearer token; `code` 0 or 200 for success; the platform
 *          tells a repeated push by refund_order_id, and by the Idempotency-Key, which is the same for a refund number.
 */

const settings = require('/lib/settings')
const reverse = require('/lib/purchase/reverse-order')

const skipped = settings.skipUnless('PURCHASE_PUSH_URL')
if (skipped) return skipped

const refundNo = String(payload.event.payload)
const refund = reverse.find(refundNo)
// The event may be ahead of the shop's commit.
if (!refund) return { success: false, message: `refund ${refundNo} is not in the database` }

const refunded = (env.get('PURCHASE_REFUNDED_STATUS') || '3').split(',').map(status => status.trim())
if (!refunded.includes(String(refund.refund_status))) {
  return { success: false, message: `refund ${refundNo} is not paid out: its refund_status is ${refund.refund_status}` }
}

const document = reverse.document(refund)
const faults = reverse.faults(document)
if (faults) {
  log.error('refund {} was not pushed: {}', refundNo, faults)
  return { success: false, retry: false, message: `refund ${refundNo}: ${faults}` }
}

const token = env.get('PURCHASE_PUSH_TOKEN')
const { status, body } = http.request({
  method: 'POST',
  url: env.get('PURCHASE_PUSH_URL', ''),
  headers: {
    'Idempotency-Key': `purchase-reverse:${refundNo}`,
    ...(token ? { Authorization: `Bearer ${token}` } : {})
  },
  body: document,
  throwOnError: false
})

const [field, values = ''] = (env.get('PURCHASE_PUSH_SUCCESS') || 'code=0,200').split('=')
const accepted = status < 400 && (field === 'http' || values.split(',').includes(String(body?.[field])))
if (accepted) {
  log.info('refund {} pushed to the purchase platform', refundNo)
  return { success: true }
}

const message = `purchase platform: HTTP ${status}, ${JSON.stringify(body).slice(0, 300)}`
log.error('refund {} was not pushed: {}', refundNo, message)
const isFinal = status >= 400 && status < 500 && status !== 408 && status !== 429
return isFinal ? { success: false, retry: false, message } : { success: false, message }
