/**
 * /custom/qimen/event-produce: tells Qimen (奇门) how far an order is, by taobao.qimen.event.produce.
 *
 * Events:  ORDER_PAY_SUCCESS, ORDER_AUDITED, ORDER_STOCKED, ORDER_DELIVERY_ALL (payload: order number); which means which
 *          status is set by QIMEN_STATUSES. For other events there, subscribe this hook to them as well.
 * Env:     QIMEN_APP_KEY, QIMEN_APP_SECRET, QIMEN_SESSION (one not set: nothing is sent); the optional ones are explained in
 *          /lib/qimen and /lib/qimen-orders
 * Tables:  sql/shop/qimen.sql
 * Order:   each tid gets its statuses in the order of QIMEN_STATUSES, each once. A status whose event never came is sent
 *          just before the later one, with that one's time. An event that comes after a later status sends nothing.
 * Retried: the order is not in the database yet; its ERP number is still to come (three times, about a minute and a half;
 *          then it goes without); Qimen cannot be reached, has a fault of its own (isp.…) or was called too often.
 * Not:     a status that Qimen has already (succeeds); isv.… errors and wrong settings: dead letter with the document's
 *          meaning and remedy, replay it after the repair.
 */

const settings = require('/lib/settings')
const qimen = require('/lib/qimen')
const orders = require('/lib/qimen-orders')
const ledger = require('/lib/qimen-ledger')

const RETRIES_FOR_ERP_NUMBER = 3
// Bounds of one run, for merged orders with many tids: 30 s and 50 calls. What is left goes into the next.
const LAST_CALL_MS = 20000
const MOST_CALLS = 45

const skipped = settings.skipUnless('QIMEN_APP_KEY', 'QIMEN_APP_SECRET')
if (skipped) return skipped

const startedAt = Date.now()

return qimen.attempt(() => {
  const { eventKey, timestamp, attempt } = payload.event
  const { byEvent, chain } = qimen.statuses()
  const status = Object.hasOwn(byEvent, eventKey) ? byEvent[eventKey] : null
  if (!status) return { success: true, skipped: `QIMEN_STATUSES has no status for ${eventKey}` }

  const orderNo = String(payload.event.payload)
  const [order] = orders.load([orderNo])
  // The event may be ahead of the shop's commit.
  if (!order) return { success: false, message: `order ${orderNo} is not in the database` }
  if (!order.seller.session) {
    log.info('skipped: order {} has no seller with a session; set QIMEN_SESSION', orderNo)
    return { success: true, skipped: 'QIMEN_SESSION is not set' }
  }

  const sent = ledger.open(order.tids)
  const time = qimen.chinaTime(timestamp)
  const steps = order.tids.flatMap(tid =>
    sent.stepsTo(order.seller, tid, chain, status).map(step => orders.message(order, tid, step, time))
  )
  if (steps.length === 0) {
    log.info('order {}: Qimen has {} or a later status already', orderNo, status)
    return { success: true, duplicate: true }
  }
  if (orders.awaitsErpNumber(order)) {
    if (attempt <= RETRIES_FOR_ERP_NUMBER) return { success: false, message: `order ${orderNo} has no ERP number yet` }
    log.warn('order {} still has no ERP number: Qimen is told without it', orderNo)
  }

  const taken = []
  let failure = ledger.register(order.seller)
  for (const message of steps) {
    const late = taken.length >= MOST_CALLS || Date.now() - startedAt > LAST_CALL_MS
    if (late) failure ??= { success: false, message: `order ${orderNo}: the rest is left for the next run` }
    if (failure) break
    const answer = tell(message, order.seller)
    failure = answer.failure
    if (!failure) taken.push({ order, message, already: answer.already })
  }
  ledger.note(taken)
  if (failure) log.error('{}', failure.message)
  return failure ?? { success: true, sent: taken.map(({ message }) => message.status) }
})

function tell(message, seller) {
  const answer = qimen.call('taobao.qimen.event.produce', message, seller)
  if (answer.failure || answer.already || qimen.isTrue(answer.data.is_success)) return answer
  const said = JSON.stringify(answer.data)
  return { failure: { success: false, message: `Qimen ${message.status} of ${message.tid}: no success: ${said}` } }
}
