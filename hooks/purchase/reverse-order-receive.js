/**
 * /custom/purchase/reverse-order-receive: takes the purchase platform's push of a refunded order and raises an event.
 *
 * Address: POST /custom/purchase/reverse-order-receive, the document as JSON. The caller shows a token with hooks:call; a
 *          platform that cannot send one: make the hook public and set PURCHASE_RECEIVE_KEY
 * Env:     PURCHASE_RECEIVE_KEY (optional: the address must then carry it, ?key=…)
 * Raises:  PURCHASE_REVERSE_REFUNDED (payload: refund_order_id; data: the document, with the cost attribution under both
 *          of its names), once per refund number however often the push is repeated
 * Answers: 200 { code: 0, msg: "success" }; 400 { code: 400, msg } naming every field that is missing or wrong;
 *          401 { code: 401, msg }; 405 for another method
 * Assumed, since the document shows no answer: the platform takes code 0 for success and repeats a push otherwise. A field
 *          that is null counts as missing.
 */

const reverse = require('/lib/purchase/reverse-order')

const refuse = (status, msg) => {
  response.status(status).json({ code: status, msg })
  return { success: false, retry: false, message: msg }
}

const { request } = payload
if (!request) return { success: false, retry: false, message: 'this hook is called over HTTP' }
if (request.method !== 'POST') return refuse(405, 'send the document by POST')

// Digests compare in the same time wherever the first wrong character stands.
const key = env.get('PURCHASE_RECEIVE_KEY')
if (key && crypto.sha256(String(param.key ?? '')) !== crypto.sha256(key)) return refuse(401, 'the key is missing or wrong')

const document = reverse.known(body)
const faults = reverse.faults(document)
if (faults) {
  log.warn('a push was refused: {}', faults)
  return refuse(400, faults)
}

const refundNo = document.order_info.refund_order_id
const costs = document.cost_attribution_info ?? document.cost_attribution_list
const both = costs ? { cost_attribution_info: costs, cost_attribution_list: costs } : {}
emit('PURCHASE_REVERSE_REFUNDED', refundNo, { id: `purchase-reverse:${refundNo}`, data: { ...document, ...both } })
log.info('refund {} received from the purchase platform', refundNo)
response.json({ code: 0, msg: 'success' })
return { success: true, refundOrderId: refundNo }
