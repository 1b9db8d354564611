/**
 * Coupons that a Haidian-like ERP asks for and uses: the table haidian_coupon (sql/shop/haidian.sql).
 * A coupon can be used when it is not used and not withdrawn, and the time (the database's clock) is within its span.
 */

const fields = require('/lib/haidian-fields')

const USABLE = 'status = 0 AND is_delete = 0 AND start_time <= NOW() AND end_time >= NOW()'

/**
 * The coupon that a request names by user_id and by coupons_id or coupons_sn (both: both must fit), with `usable` and
 * `expired` as 0 or 1. Somebody else's coupon is refused like one that does not exist.
 */
exports.find = body => {
  const asked = fields.read(body, {
    user_id: fields.required(fields.id),
    coupons_id: fields.id,
    coupons_sn: fields.text(64)
  })
  fields.requireOne(asked, 'coupons_id', 'coupons_sn')
  const coupon = db.selectOne(
    `SELECT id, coupons_sn, coupons_name, uid, coupons_price, min_goods_amount, start_time, end_time, status, is_delete,
            CASE WHEN ${USABLE} THEN 1 ELSE 0 END AS usable, CASE WHEN end_time < NOW() THEN 1 ELSE 0 END AS expired
       FROM haidian_coupon
      WHERE uid = ? AND (? IS NULL OR id = ?) AND (? IS NULL OR coupons_sn = ?)`,
    asked.user_id,
    asked.coupons_id,
    asked.coupons_id,
    asked.coupons_sn,
    asked.coupons_sn
  )
  return coupon ?? fields.refuse('卡券不存在')
}

/** Uses a coupon, if it can be used at this very moment; of two callers at once only one is told that it did. */
exports.use = id =>
  db.update(`UPDATE haidian_coupon SET status = 1, use_time = NOW() WHERE id = ? AND ${USABLE}`, id) === 1
