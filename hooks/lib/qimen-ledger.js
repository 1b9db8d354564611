/**
 * What Qimen has been told: which status of which tid, and which sellers are registered. Tables: sql/shop/qimen.sql.
 *
 * Env: QIMEN_APP_KEY (a seller is registered for an app)
 *
 * Assumed: taobao.qimen.trade.user.add registers whoever the session belongs to, its memo is free text, and a seller who is
 * registered already is refused with words that say so.
 */

const qimen = require('/lib/qimen')

const DUPLICATE_KEY = 1062
const REGISTERED = /already|exist|duplicate|repeat|已存在|重复|已添加/i

/** Looks up what has been sent of these tids; gives `stepsTo(seller, tid, chain, status)`. */
exports.open = tids => {
  const marks = tids.map(() => '?').join(', ')
  const rows = tids.length ? db.select(`SELECT tid, status, seller FROM qimen_sent WHERE tid IN (${marks})`, tids) : []
  const sent = new Set(rows.map(row => keyOf(row.seller, row.tid, row.status)))
  return {
    /**
     * The statuses that a tid lacks up to and with `status`, in the order of the chain. None when that status or a later
     * one has been sent: an earlier one never follows a later one.
     */
    stepsTo(seller, tid, chain, status) {
      const reached = chain.findLastIndex(step => sent.has(keyOf(seller.key, tid, step)))
      return chain.slice(reached + 1, chain.indexOf(status) + 1)
    }
  }
}

/** Notes messages that Qimen has: `[{ order, message, already }]`. */
exports.note = taken => {
  if (taken.length === 0) return
  db.batch(
    `REPLACE INTO qimen_sent (tid, status, seller, order_no, erp_order_id, event_time, already, sent_at)
     VALUES (?, ?, ?, ?, ?, ?, ?, NOW())`,
    taken.map(({ order, message, already }) => [
      ...[message.tid, message.status, order.seller.key, order.orderNo],
      ...[message.erp_order_id ?? null, message.event_time ?? null, already ? 1 : 0]
    ])
  )
}

/**
 * Registers a seller with Qimen, once for each app and nick: null when it is registered, else the hook's result. The row
 * goes in before the call, so that of many orders at once only one registers: the others wait for it.
 */
exports.register = seller => {
  const appKey = env.get('QIMEN_APP_KEY')
  const known = db.selectValue('SELECT 1 FROM qimen_seller WHERE app_key = ? AND nick = ?', appKey, seller.key)
  if (known) return null
  try {
    db.insert('INSERT INTO qimen_seller (app_key, nick, registered_at) VALUES (?, ?, NOW())', appKey, seller.key)
  } catch (/** @type {any} */ error) {
    if (error.errno === DUPLICATE_KEY) return null
    throw error
  }
  const { failure } = qimen.call('taobao.qimen.trade.user.add', { memo: seller.nick }, seller)
  if (!failure || REGISTERED.test(failure.message)) {
    log.info('seller {} is registered with Qimen', seller.key || 'of the session')
    return null
  }
  db.delete('DELETE FROM qimen_seller WHERE app_key = ? AND nick = ?', appKey, seller.key)
  return failure
}

const keyOf = (...parts) => JSON.stringify(parts.map(String))
