/**
 * /custom/haidian/coupons-info: answers whether a coupon can be used. Called by a Haidian-like ERP as POST /api/coupons-info.
 *
 * Request: user_id, coupons_id or coupons_sn (both: both must fit), sign
 * Answer:  { code: 0, data: { …, status, is_enable, is_delete, ext_info: [{ … }] } }, or { code: -1, msg } when this member
 *          has no such coupon
 * Env:     HAIDIAN_SECRET (not set: every request is refused) and the others of /lib/sign/haidian
 *
 * Assumed: status is "0" not used, "1" used, "2" expired; is_enable and is_delete are "1" for yes, "0" for no. A coupon that
 * cannot be used is still answered with code 0. min_goods_amount is for the till to check: no request carries an amount.
 */

const haidian = require('/lib/haidian')
const coupons = require('/lib/haidian-coupons')

return haidian.answer('coupons-info', payload.request, body => {
  const coupon = coupons.find(body)
  return {
    data: {
      user_id: String(coupon.uid),
      coupons_id: String(coupon.id),
      coupons_sn: coupon.coupons_sn,
      coupons_name: coupon.coupons_name,
      status: coupon.status === 0 && coupon.expired === 1 ? '2' : String(coupon.status),
      is_enable: String(coupon.usable),
      is_delete: String(coupon.is_delete),
      ext_info: [
        {
          coupons_price: haidian.yuan(coupon.coupons_price),
          min_goods_amount: haidian.yuan(coupon.min_goods_amount),
          start_time: coupon.start_time,
          end_time: coupon.end_time
        }
      ]
    }
  }
})
