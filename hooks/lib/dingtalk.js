/**
 * DingTalk's custom robot, for /lib/notify. It always answers with HTTP 200 and says in `errcode` whether the message was
 * taken. It takes 20 messages a minute; beyond that it is muted for about ten minutes.
 *
 * Env: DINGTALK_WEBHOOK (the robot's address with its access_token),
 *      DINGTALK_SECRET (optional: the robot's "signature" secret, SEC…)
 * A robot with keywords takes only messages with one of them in the text: 通知 is in all of the built-in notices.
 */

exports.name = 'DingTalk'
exports.webhook = 'DINGTALK_WEBHOOK'

// Bytes: it takes 20 000 in all.
const LIMIT = 18000
exports.limit = LIMIT
// Being muted.
exports.restMs = 600000

exports.tooFast = { codes: [130101, 410100, 90030, 660026], text: /too fast|exceed \d+ times/i }

// The robot, its security setting or the message itself is at fault: sending the same again cannot help.
exports.final = {
  codes: [310000, 300001, 300005, 400101, 400013, 400102, 400105, 400106, 430101, 430102, 430103, 430104, 40035, 43004],
  text: /keywords? not in content|sign not match|invalid timestamp|not in whitelist|token is not exist/i
}

/** The address, signed where there is a secret. Base64 may hold + / =, so the signature is encoded here, exactly once. */
exports.address = () => {
  const webhook = env.get('DINGTALK_WEBHOOK', '')
  const secret = env.get('DINGTALK_SECRET')
  if (!secret) return webhook
  const timestamp = Date.now()
  const sign = encodeURIComponent(crypto.hmacSha256(secret, `${timestamp}\n${secret}`, 'base64'))
  return `${webhook}${webhook.includes('?') ? '&' : '?'}timestamp=${timestamp}&sign=${sign}`
}

exports.text = (content, who, cut) => ({
  msgtype: 'text',
  text: { content: cut(content, LIMIT) + marks(who) },
  ...at(who)
})

exports.markdown = (title, text, who, cut) => ({
  msgtype: 'markdown',
  markdown: { title, text: cut(text, LIMIT) + marks(who) },
  ...at(who)
})

exports.read = answer => ({ code: answer?.errcode, text: answer?.errmsg })

// A number is only lit up when it stands in the text too.
const marks = ({ mobiles }) => (mobiles.length > 0 ? `\n${mobiles.map(mobile => `@${mobile}`).join(' ')}` : '')

const at = ({ mobiles, all }) =>
  mobiles.length > 0 || all ? { at: { atMobiles: mobiles, atUserIds: [], isAtAll: all } } : {}
