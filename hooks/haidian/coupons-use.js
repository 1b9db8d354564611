/**
 * /custom/haidian/coupons-use: uses a coupon, once. Called by a Haidian-like ERP as POST /api/coupons-use.
 *
 * Request: user_id, coupons_id or coupons_sn (both: both must fit), sign
 * Answer:  { code: 0, msg: "操作成功" } for the one call that used it; { code: -1, msg } for every other, also when both come
 *          at the same moment
 * Raises:  MARKETING_COUPON_USE (payload: the coupon's id)
 * Env:     HAIDIAN_SECRET (not set: every request is refused) and the others of /lib/sign/haidian
 *
 * Assumed: a second call is a second use, and refused: the request carries no order, so a repetition cannot be told from it.
 * A till that got no answer asks coupons-info.
 */

const haidian = require('/lib/haidian')
const fields = require('/lib/haidian-fields')
const coupons = require('/lib/haidian-coupons')

return haidian.answer('coupons-use', payload.request, body => {
  const { id, status, usable, is_delete, expired } = coupons.find(body)
  if (status === 1) fields.refuse('卡券已使用')
  if (is_delete === 1) fields.refuse('卡券已作废')
  if (usable === 0) fields.refuse(expired === 1 ? '卡券已过期' : '卡券未到使用时间')
  db.transaction(() => {
    if (!coupons.use(id)) fields.refuse('卡券已使用')
    emit('MARKETING_COUPON_USE', id, { id: `haidian-coupon-${id}` })
  })
  log.info('coupon {} used', id)
  return { msg: '操作成功' }
})
