/**
 * WeCom's (企业微信) group robot, for /lib/notify. The key in its address is all that guards it; it signs nothing. It
 * answers with HTTP 200 and says in `errcode` whether the message was taken. It takes 20 messages a minute.
 *
 * Env: WECOM_WEBHOOK (the robot's address with its key)
 * Its Markdown cannot mention people by phone: a notice in Markdown with mobiles goes as text.
 */

exports.name = 'WeCom'
exports.webhook = 'WECOM_WEBHOOK'

// Bytes.
const LIMIT = { text: 2048, markdown: 4096 }
exports.limit = LIMIT.text

exports.tooFast = { codes: [45009, 45033], text: /freq(uency)? (out of )?limit|too (fast|many)/i }

// No such robot; a wrong type, parameter or length; no content.
exports.final = {
  codes: [93000, 93004, 40001, 40008, 40035, 40058, 44004, 45002, 45008],
  text: /invalid webhook|invalid message type|content size out of limit|empty content/i
}

exports.address = () => env.get('WECOM_WEBHOOK', '')

exports.text = (content, { mobiles, all }, cut) => {
  const mentioned = [...mobiles, ...(all ? ['@all'] : [])]
  const list = mentioned.length > 0 ? { mentioned_mobile_list: mentioned } : {}
  return { msgtype: 'text', text: { content: cut(content, LIMIT.text), ...list } }
}

exports.markdown = (title, text, who, cut) =>
  who.mobiles.length > 0 || who.all
    ? exports.text(`${title}\n${plain(text)}`, who, cut)
    : { msgtype: 'markdown', markdown: { content: cut(`### ${title}\n${text}`, LIMIT.markdown) } }

exports.read = answer => ({ code: answer?.errcode, text: answer?.errmsg })

const plain = text => text.replace(/^#+\s+|\*\*|<\/?font[^>]*>/gm, '')
