/**
 * /custom/haidian/user-add: adds a member, or changes one. OUR READING of item 9 of the document's table of contents,
 * "新增会员、修改会员信息", which the document never describes: POST /api/user-add.
 *
 * Request: mobile (which tells members apart), real_name, nickname, sign
 * Answer:  { code: 0, msg: "操作成功", data: { uid } }; { code: -1, msg } otherwise
 * Env:     HAIDIAN_SECRET (not set: every request is refused) and the others of /lib/sign/haidian
 *
 * Assumed: a mobile that is known changes that member; empty fields change nothing; a new member without a nickname gets one
 * from the mobile's last four digits.
 */

const haidian = require('/lib/haidian')
const fields = require('/lib/haidian-fields')

return haidian.answerWriting('user-add', payload.request, body => {
  const member = fields.read(body, {
    mobile: fields.required(fields.mobile),
    real_name: fields.text(32),
    nickname: fields.text(64)
  })
  // eb_user does not keep a phone from being there twice: of two requests at once, the second waits here for the first.
  haidian.note('user-add', member.mobile)
  const found = db.select('SELECT uid FROM eb_user WHERE phone = ? ORDER BY uid LIMIT 2', member.mobile)
  if (found.length > 1) fields.refuse('该手机号对应多个会员')
  const uid = found[0] ? change(found[0].uid, member) : add(member)
  return { msg: '操作成功', data: { uid: String(uid) } }
})

function change(uid, { real_name, nickname }) {
  db.update(
    'UPDATE eb_user SET real_name = COALESCE(?, real_name), nickname = COALESCE(?, nickname) WHERE uid = ?',
    real_name,
    nickname,
    uid
  )
  return uid
}

function add({ mobile, real_name, nickname }) {
  return db.insert(
    'INSERT INTO eb_user (nickname, real_name, phone, create_time) VALUES (?, ?, ?, NOW())',
    nickname ?? `会员${mobile.slice(-4)}`,
    real_name ?? '',
    mobile
  )
}
