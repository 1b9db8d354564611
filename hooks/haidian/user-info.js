/**
 * /custom/haidian/user-info: answers who a member is. Called by a Haidian-like ERP as POST /api/user-info.
 *
 * Request: mobile or real_name (both: both must fit), sign
 * Answer:  { code: 0, data: { uid, account, nickname, group_level, create_time, last_login_time } }, or { code: -1, msg }
 * Env:     HAIDIAN_SECRET (not set: every request is refused) and the others of /lib/sign/haidian
 *
 * Assumed: account is the mobile; group_level is 2, an ordinary user, for every member; last_login_time is "0", because the
 * shop does not keep it; a name that several members have is refused, since it tells nobody apart.
 */

const haidian = require('/lib/haidian')
const fields = require('/lib/haidian-fields')

return haidian.answer('user-info', payload.request, body => {
  const asked = fields.read(body, { mobile: fields.mobile, real_name: fields.text(32) })
  fields.requireOne(asked, 'mobile', 'real_name')
  const found = db.select(
    `SELECT uid, phone, nickname, UNIX_TIMESTAMP(create_time) AS created
       FROM eb_user
      WHERE (? IS NULL OR phone = ?) AND (? IS NULL OR real_name = ?)
      ORDER BY uid LIMIT 2`,
    asked.mobile,
    asked.mobile,
    asked.real_name,
    asked.real_name
  )
  if (found.length > 1) fields.refuse('存在多个会员，请用手机号查询')
  const [member] = found
  if (!member) return fields.refuse('会员不存在')
  return {
    data: {
      uid: String(member.uid),
      account: member.phone ?? '',
      nickname: member.nickname,
      group_level: 2,
      create_time: String(Math.trunc(Number(member.created))),
      last_login_time: '0'
    }
  }
})
