/**
 * Feishu's (飞书) custom bot, for /lib/notify. It says in `code` whether the message was taken (older ones in StatusCode).
 * It takes 100 messages a minute, 5 a second.
 *
 * Env: FEISHU_WEBHOOK (the bot's address),
 *      FEISHU_SECRET (optional: its signature secret),
 *      FEISHU_OPEN_IDS (optional: whom phone numbers stand for: "13800007001=ou_1,13800007002=ou_2")
 * Feishu mentions people by their open_id only: a number that FEISHU_OPEN_IDS does not name is only written.
 */

exports.name = 'Feishu'
exports.webhook = 'FEISHU_WEBHOOK'

// Bytes: the whole body may have 20 KB.
const LIMIT = 15000
exports.limit = LIMIT

// 9499 is what it gives for all sorts of bad requests, once also for too many: there the text decides.
exports.tooFast = { codes: [11232, 99991400], text: /too many|frequency limited/i }

// Signature or time, address, keyword, token, form of the message.
exports.final = {
  codes: [19021, 19022, 19024, 19001, 19002, 9499],
  text: /sign match fail|ip not allowed|key words? not found|token.* invalid/i
}

exports.address = () => env.get('FEISHU_WEBHOOK', '')

exports.text = (content, who, cut) => ({
  ...signature(),
  msg_type: 'text',
  content: { text: cut(content, LIMIT) + marks(who, id => `<at user_id="${id}"></at>`) }
})

exports.markdown = (title, text, who, cut) => ({
  ...signature(),
  msg_type: 'interactive',
  card: {
    header: { title: { tag: 'plain_text', content: title } },
    elements: [{ tag: 'markdown', content: cut(text, LIMIT) + marks(who, id => `<at id=${id}></at>`) }]
  }
})

exports.read = answer => ({ code: answer?.code ?? answer?.StatusCode, text: answer?.msg ?? answer?.StatusMessage })

// Unlike DingTalk's: seconds, the text is the key, nothing is the message, and both stand in the body.
const signature = () => {
  const secret = env.get('FEISHU_SECRET')
  if (!secret) return {}
  const timestamp = String(Math.floor(Date.now() / 1000))
  return { timestamp, sign: crypto.hmacSha256(`${timestamp}\n${secret}`, '', 'base64') }
}

const marks = ({ mobiles, all }, mark) => {
  const pairs = env.get('FEISHU_OPEN_IDS', '').split(',')
  const ids = Object.fromEntries(pairs.map(pair => pair.split('=').map(part => part.trim())))
  const names = mobiles.map(mobile => (ids[mobile] ? mark(ids[mobile]) : `@${mobile}`))
  if (all) names.push(mark('all'))
  return names.length > 0 ? `\n${names.join(' ')}` : ''
}
