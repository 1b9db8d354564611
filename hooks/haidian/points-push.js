/**
 * /custom/haidian/points-push: takes in a change of a member's points. OUR READING of item 8 of the document's table of
 * contents, "积分同步(接收海典积分消息推送)", which the document never describes: POST /api/points-push.
 *
 * Request: user_id or mobile, points_sn (the change's own number), points (whole, negative when taken off), remark, add_time, sign
 * Answer:  { code: 0, msg: "操作成功" }, also for the same again, which changes nothing; { code: -1, msg } otherwise
 * Env:     HAIDIAN_SECRET (not set: every request is refused) and the others of /lib/sign/haidian
 *
 * Assumed: the ERP keeps the balance; the shop keeps the changes (haidian_points), whose sum it is.
 */

const haidian = require('/lib/haidian')
const fields = require('/lib/haidian-fields')

return haidian.answer('points-push', payload.request, body => {
  const change = fields.read(body, {
    user_id: fields.id,
    mobile: fields.mobile,
    points_sn: fields.required(fields.text(64)),
    points: fields.required(fields.points),
    remark: fields.text(128),
    add_time: fields.required(fields.time)
  })
  fields.requireOne(change, 'user_id', 'mobile')
  const member = db.selectOne(
    'SELECT uid FROM eb_user WHERE (? IS NULL OR uid = ?) AND (? IS NULL OR phone = ?) ORDER BY uid LIMIT 1',
    change.user_id,
    change.user_id,
    change.mobile,
    change.mobile
  )
  if (!member) return fields.refuse('会员不存在')
  const row = [change.points_sn, member.uid, change.points, change.remark ?? '', change.add_time]
  const isNew = haidian.insertOnce(() =>
    db.insert('INSERT INTO haidian_points (points_sn, uid, points, remark, add_time) VALUES (?, ?, ?, ?, ?)', row)
  )
  if (!isNew) refuseUnlessSame(member.uid, change)
  return { msg: '操作成功' }
})

function refuseUnlessSame(uid, { points_sn, points }) {
  const known = db.selectOne('SELECT uid, points FROM haidian_points WHERE points_sn = ? FOR UPDATE', points_sn)
  if (known?.uid !== uid || known?.points !== points) fields.refuse('流水号已存在，且内容不同')
}
