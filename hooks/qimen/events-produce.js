/**
 * /custom/qimen/events-produce: tells Qimen (奇门) of many orders at once, by taobao.qimen.events.produce, 50 a call. For
 * orders from before Qimen was switched on, and after an outage.
 *
 * Event:   QIMEN_BACKFILL; or call it over HTTP with the same as body:
 *          { "orderNos": ["A1", "A2"], "status": "QIMEN_CP_OUT", "eventTime": "2026-01-01 12:00:00" }
 *          Each order gets the statuses that it lacks up to `status`. At most 500 orders; `eventTime` (clock of China) may be
 *          left out, then none is sent.
 * Env:     QIMEN_APP_KEY, QIMEN_APP_SECRET, QIMEN_SESSION (one not set: nothing is sent); the optional ones are explained in
 *          /lib/qimen and /lib/qimen-orders
 * Tables:  sql/shop/qimen.sql
 * Order:   one status after the other over all orders; an order whose status failed gets no later one.
 * Retried: when anything is left that may succeed later; only what Qimen has not taken is sent again.
 * Not:     when all that is left was refused for good (isv.…, no such order): dead letter that names it.
 *
 * Assumed: `messages` is JSON text of [{ "event": { … } }], as the method's document lists it; results are in the sequence
 * of the messages.
 */

const settings = require('/lib/settings')
const qimen = require('/lib/qimen')
const orders = require('/lib/qimen-orders')
const ledger = require('/lib/qimen-ledger')

const MESSAGES_PER_CALL = 50
const MOST_ORDERS = 500
// Bounds of one run: 30 s and 50 calls. What is left goes into the next.
const LAST_CALL_MS = 20000
const MOST_CALLS = 45

const skipped = settings.skipUnless('QIMEN_APP_KEY', 'QIMEN_APP_SECRET')
if (skipped) return skipped

const startedAt = Date.now()
const taken = []
const registered = new Map()
let calls = 0

return qimen.attempt(() => {
  const wish = wishOf(payload.request ? body : payload.event.payload)
  const items = itemsOf(wish)
  for (const status of wish.steps) {
    const due = items.filter(item => !item.failure && item.steps.includes(status))
    for (const batch of batchesOf(due)) send(batch, status, wish.eventTime)
  }
  ledger.note(taken)
  return resultOf(items)
})

function wishOf(given) {
  const { orderNos, status, eventTime } = given ?? {}
  const { chain } = qimen.statuses()
  const right = Array.isArray(orderNos) && orderNos.length > 0 && orderNos.length <= MOST_ORDERS
  if (!right) qimen.refuse(`orderNos must be a list of 1 to ${MOST_ORDERS} order numbers; send more in several events`)
  if (!chain.includes(status)) qimen.refuse(`status must be one of ${chain.join(', ')}`)
  if (eventTime !== undefined && !/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/.test(eventTime)) {
    qimen.refuse('eventTime must be written yyyy-MM-dd HH:mm:ss')
  }
  const steps = chain.slice(0, chain.indexOf(status) + 1)
  return { orderNos: [...new Set(orderNos.map(String))], status, steps, chain, eventTime }
}

/** One item for each tid: its order, the statuses that it lacks, and why it goes no further. */
function itemsOf({ orderNos, status, chain }) {
  const loaded = orders.load(orderNos)
  const there = new Set(loaded.map(order => order.orderNo))
  const missing = orderNos.filter(orderNo => !there.has(orderNo))
  const sent = ledger.open([...new Set(loaded.flatMap(order => order.tids))])
  const items = new Map()
  for (const order of loaded) {
    for (const tid of order.tids) {
      // Parts of a split order share one tid, which is told of once.
      const key = JSON.stringify([order.seller.key, tid])
      if (items.has(key)) continue
      const steps = sent.stepsTo(order.seller, tid, chain, status)
      const failure = order.seller.session ? null : dead(`order ${order.orderNo} has no seller with a session`)
      items.set(key, { order, tid, steps, failure })
    }
  }
  const gone = missing.map(orderNo => {
    return { tid: orderNo, steps: [], failure: dead(`order ${orderNo} is not in the database`) }
  })
  return [...items.values(), ...gone]
}

/** Items by seller, since a call is made with one seller's session, and 50 at a time. */
function batchesOf(items) {
  const batches = []
  const open = new Map()
  for (const item of items) {
    const key = JSON.stringify([item.order.seller.key, item.order.seller.session])
    if ((open.get(key) ?? []).length % MESSAGES_PER_CALL === 0) {
      open.set(key, [])
      batches.push(open.get(key))
    }
    open.get(key).push(item)
  }
  return batches
}

function send(batch, status, eventTime) {
  const messages = batch.map(({ order, tid }) => orders.message(order, tid, status, eventTime))
  const answers = tell(messages, batch[0].order.seller)
  batch.forEach((item, at) => {
    const { failure, already } = answers[at]
    if (failure) item.failure = failure
    else taken.push({ order: item.order, message: messages[at], already })
  })
}

/** One answer for each message, as `qimen.call` gives them. */
function tell(messages, seller) {
  const all = answer => messages.map(() => answer)
  if (calls >= MOST_CALLS || Date.now() - startedAt > LAST_CALL_MS) return all(later('left for the next run'))
  if (!registered.has(seller.key)) {
    calls++
    registered.set(seller.key, ledger.register(seller))
  }
  const refused = registered.get(seller.key)
  if (refused) return all({ failure: refused })

  calls++
  const list = JSON.stringify(messages.map(event => ({ event })))
  const answer = qimen.call('taobao.qimen.events.produce', { messages: list }, seller)
  if (!answer.data) return all(answer)
  if (qimen.isTrue(answer.data.is_all_success)) return all({})
  const results = [answer.data.results?.qimen_result ?? answer.data.results ?? []].flat()
  if (results.length !== messages.length) return all(later(`Qimen gave ${results.length} results for ${messages.length}`))
  return results.map((result, at) => judge(result, messages[at]))
}

function judge({ is_success, error_code, error_message }, { status, tid }) {
  if (qimen.isTrue(is_success)) return {}
  return qimen.judge({ sub_code: error_code, sub_msg: error_message }, `${status} of ${tid}`)
}

function resultOf(items) {
  const failed = items.filter(item => item.failure)
  const already = taken.filter(one => one.already).length
  if (failed.length === 0) return { success: true, sent: taken.length - already, already }
  const reasons = [...new Set(failed.map(item => item.failure.message))].slice(0, 5).join(' | ')
  const message = `${failed.length} of ${items.length} orders are not told to Qimen in full: ${reasons}`
  log.error('{}', message)
  const waits = failed.map(item => item.failure.retryAfterMs ?? 0)
  return {
    success: false,
    retry: failed.some(item => item.failure.retry !== false),
    ...(Math.max(...waits) > 0 ? { retryAfterMs: Math.max(...waits) } : {}),
    sent: taken.length - already,
    already,
    failed: failed.map(item => item.tid),
    message
  }
}

function dead(message) {
  return { success: false, retry: false, message }
}

function later(message) {
  return { failure: { success: false, message } }
}
