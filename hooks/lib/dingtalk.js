/**
 * Notices to a DingTalk group by its custom robot. DingTalk always answers with HTTP 200 and says in `errcode` whether
 * the message was taken. A robot takes 20 messages a minute; beyond that it is muted for a while.
 *
 * Env: DINGTALK_WEBHOOK (the robot's address with its access_token),
 *      DINGTALK_SECRET (optional: the robot's "signature" secret, SEC…)
 */

const TOO_FAST = [130101, 410100, 90030, 660026]

// The robot, its security setting or the message itself is at fault: sending the same again cannot help.
const PERMANENT = [
  310000, 300001, 300005, 400101, 400013, 400102, 400105, 400106, 430101, 430102, 430103, 430104, 40035, 43004
]

/**
 * Sends lines of text to the group, and gives the hook's result: succeeded; to be retried (busy, unknown error; not
 * before a minute has passed when the robot was too fast); or failed for good (no such robot, wrong keyword or
 * signature). Throws HttpError and network errors, which are retried too.
 */
exports.sendText = lines => {
  const answer = http.post(signed(env.get('DINGTALK_WEBHOOK'), env.get('DINGTALK_SECRET')), {
    body: { msgtype: 'text', text: { content: lines.join('\n') } }
  })
  const result = resultOf(answer)
  if (!result.success) log.error('{}', result.message)
  return result
}

/** Text typed by a buyer, made fit for a line of a notice: no line breaks, at most 200 characters. */
exports.oneLine = (text, whenEmpty) => {
  const line = String(text ?? '')
    .replace(/\s+/g, ' ')
    .trim()
  return line.length > 200 ? `${line.slice(0, 199)}…` : line || whenEmpty
}

const resultOf = answer => {
  const code = Number(answer?.errcode ?? NaN)
  if (code === 0) return { success: true }
  const message = `DingTalk ${answer?.errcode ?? 'gave no errcode'}: ${answer?.errmsg ?? JSON.stringify(answer)}`
  if (TOO_FAST.includes(code) || /too fast/i.test(message)) return { success: false, retryAfterMs: 60000, message }
  if (PERMANENT.includes(code)) return { success: false, retry: false, message }
  return { success: false, message }
}

// Base64 may hold + / =, so the signature is encoded here, exactly once.
const signed = (webhook, secret) => {
  if (!secret) return webhook
  const timestamp = Date.now()
  const sign = encodeURIComponent(crypto.hmacSha256(secret, `${timestamp}\n${secret}`, 'base64'))
  return `${webhook}${webhook.includes('?') ? '&' : '?'}timestamp=${timestamp}&sign=${sign}`
}
