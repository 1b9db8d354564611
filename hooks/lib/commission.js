/**
 * A spreader's commission: a record in eb_user_brokerage_record for every movement, and the balance in eb_user.
 *
 *   credit     link_type 'order',  link_id the order number,  type 1 (added)
 *   reversal   link_type 'refund', link_id the refund number, type 2 (taken off)
 *
 * Records have status 3 (settled): the shop's own thaw job leaves them alone. All amounts are fen.
 * Callers hold the order's row lock (`lockOrder`), so that an order's movements never overtake each other.
 */

const money = require('/lib/money')

const LEVEL = 1
const SETTLED = 3

/** Locks the order until the run ends and gives it; null when there is none. */
exports.lockOrder = orderNo => db.selectOne('SELECT * FROM eb_store_order WHERE order_id = ? FOR UPDATE', orderNo)

/** What commission is paid on: the payment without freight. */
exports.commissionable = order =>
  Math.max(
    0,
    money.fen(order.pay_price, `pay_price of order ${order.order_id}`) - money.fen(order.freight ?? 0, 'freight')
  )

/** Whether this order's commission has been credited before, to whomever. */
exports.isCredited = orderNo => creditsOf(orderNo).some(credit => credit.brokerage_level === LEVEL)

/** Credits the order's commission to a spreader. Gives false, and changes nothing, when that user is gone. */
exports.credit = (orderNo, uid, amount) =>
  book({
    uid,
    level: LEVEL,
    linkType: 'order',
    linkId: orderNo,
    type: 1,
    title: '订单佣金',
    amount,
    mark: `订单 ${orderNo}`
  })

/**
 * Takes commission back for one refund of an order: of each credit, as large a part as the order's refunds so far are of
 * its commissionable amount, rounded down, less what earlier refunds took back. So the sum never exceeds the credit,
 * and a full refund, even in pieces, takes back all of it. Once per refund number. Gives the fen taken back.
 */
exports.reverse = (order, refund) => {
  const base = exports.commissionable(order)
  const credits = base > 0 ? creditsOf(order.order_id) : []
  return credits.reduce((sum, credit) => sum + reverseCredit(credit, base, refund), 0)
}

const creditsOf = orderNo =>
  db.select(
    `SELECT uid, brokerage_level, price FROM eb_user_brokerage_record
      WHERE link_type = 'order' AND link_id = ? AND type = 1`,
    orderNo
  )

const reverseCredit = (credit, base, refund) => {
  const earlier = db.select(
    `SELECT b.link_id, b.price, r.refund_price
       FROM eb_user_brokerage_record b JOIN eb_store_refund_order r ON r.refund_order_no = b.link_id
      WHERE b.link_type = 'refund' AND b.type = 2 AND r.order_no = ? AND b.uid = ? AND b.brokerage_level = ?`,
    refund.order_no,
    credit.uid,
    credit.brokerage_level
  )
  if (earlier.some(record => record.link_id === refund.refund_order_no)) return 0
  const refunded = earlier.reduce(
    (sum, record) => sum + money.fen(record.refund_price, 'refund_price'),
    refundOf(refund)
  )
  const taken = earlier.reduce((sum, record) => sum + money.fen(record.price, 'price'), 0)
  const due = money.share(money.fen(credit.price, 'price'), Math.min(refunded, base), base)
  const amount = Math.max(0, due - taken)
  // A reversal of 0 fen is recorded too: the next refund of this order counts from it.
  const booked = book({
    uid: credit.uid,
    level: credit.brokerage_level,
    linkType: 'refund',
    linkId: refund.refund_order_no,
    type: 2,
    title: '退款扣回佣金',
    amount,
    mark: `订单 ${refund.order_no}`
  })
  return booked ? amount : 0
}

const refundOf = refund => {
  const fen = money.fen(refund.refund_price, `refund_price of ${refund.refund_order_no}`)
  if (fen < 0) throw new Error(`refund_price of ${refund.refund_order_no} is ${fen}: it must not be negative`)
  return fen
}

// The user's row is locked first, so that `balance` is what the balance was after exactly this movement.
const book = ({ uid, level, linkType, linkId, type, title, amount, mark }) => {
  const user = db.selectOne('SELECT uid, brokerage_price FROM eb_user WHERE uid = ? FOR UPDATE', uid)
  if (!user) {
    log.warn('user {} is gone: no commission record for {} {}', uid, linkType, linkId)
    return false
  }
  const change = type === 1 ? amount : -amount
  const balance = money.fen(user.brokerage_price ?? 0, `brokerage_price of user ${uid}`) + change
  db.insert(
    `INSERT INTO eb_user_brokerage_record
       (uid, link_id, link_type, type, title, price, balance, mark, status, brokerage_level, create_time)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NOW())`,
    uid,
    linkId,
    linkType,
    type,
    title,
    amount,
    balance,
    mark,
    SETTLED,
    level
  )
  db.update('UPDATE eb_user SET brokerage_price = ? WHERE uid = ?', balance, uid)
  return true
}
