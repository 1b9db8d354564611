/**
 * SMS by one of three senders, at most one message to a number for one event.
 *
 * Env: SMS_VENDOR (default generic; or aliyun, tencent); each sender's own keys stand at the top of its file:
 *      /lib/sms/generic, /lib/sms/aliyun, /lib/sms/tencent.
 * Table: sms_record, created by sql/shop/sms.sql.
 *
 * SMS services take the same message twice without a word. So its row is written before it is sent, and a row says:
 *   sending   a run has begun to send it. Found later than five minutes after: nobody knows whether it was sent
 *   sent      the service has taken it: it is never sent again
 *   refused   the service has not taken it: it may be sent again
 * The row protects against a crash only when it is committed before the message leaves: set the hook's `transaction` to
 * `none`. In a hook with the transaction of a run the same calls work, but a crash (kill -9, power cut) between the
 * request and its answer sends the message again, with the same Idempotency-Key.
 */

const settings = require('/lib/settings')

// Longer than any run: a row that has been `sending` for so long belongs to a run that is gone.
const ABANDONED_MS = 300000

// With these errors no connection was made, so nothing was sent.
const NOT_CONNECTED =
  /^(ENOTFOUND|EAI_.*|ENODATA|ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|EADDRNOTAVAIL|ETIMEDOUT|UND_ERR_CONNECT_TIMEOUT|.*CERT.*|UNABLE_TO_.*|ERR_SSL_.*|ERR_TLS_.*|EPROTO)$/

/** A result that ends the hook as succeeded, naming a setting of the chosen sender that has no value; else null. */
exports.skipUnlessReady = () => {
  const sender = chosen()
  return sender ? settings.skipUnless(...sender.needs) : null
}

/**
 * Sends one message and gives the hook's result: succeeded (with `skipped` when this message was sent before); to be
 * retried (throttled, busy); or failed for good (wrong number or template; or nobody knows whether it was sent). Throws
 * HttpError when the service cannot be reached or answers with an error of HTTP: that is retried too.
 *
 * `key`: what the message is for, usually `payload.event.id`. The same key, phone and template are one message.
 * `template`: the sender's name or code of the template. `params`: its variables, by name.
 */
exports.send = ({ key, phone, template, params }) => {
  const sender = chosen()
  if (!sender) return final(`SMS_VENDOR is "${env.get('SMS_VENDOR')}": use generic, aliyun or tencent`)
  if (!key) throw new Error('sms.send: give a key, for example payload.event.id')
  const number = String(phone).replace(/[\s-]/g, '')
  const message = { key: crypto.sha256([key, number, template].join('\n')), phone: number, template, params }
  const settled = reserve(message)
  if (settled) return settled
  const outcome = sent(sender, message)
  if (outcome.verdict !== 'unclear') note(message, outcome.verdict === 'sent' ? 'sent' : 'refused', outcome)
  if (outcome.error) throw outcome.error
  return resultOf(outcome, message)
}

/** A number fit for a log: 138****7001. */
exports.masked = phone => String(phone).replace(/^(.{3}).*(.{4})$/, '$1****$2')

const chosen = () => {
  switch (env.get('SMS_VENDOR') || 'generic') {
    case 'generic':
      return require('/lib/sms/generic')
    case 'aliyun':
      return require('/lib/sms/aliyun')
    case 'tencent':
      return require('/lib/sms/tencent')
    default:
      return null
  }
}

// Writes the message's row, or takes over that of a refused one; gives a result where it must not be sent now.
const reserve = message => {
  const row = db.selectOne('SELECT status, updated_at FROM sms_record WHERE message_key = ?', message.key)
  if (!row) return insert(message) ? null : busy()
  if (row.status === 'sent') return { success: true, skipped: 'this SMS was sent before' }
  if (row.status === 'refused') return note(message, 'sending', {}, 'refused') ? null : busy()
  return Date.now() - row.updated_at < ABANDONED_MS ? busy() : unclear(message, 'a run ended while it was sent')
}

const insert = message => {
  try {
    db.insert(
      `INSERT INTO sms_record (message_key, phone, template, status, answer, created_at, updated_at)
       VALUES (?, ?, ?, 'sending', '', ?, ?)`,
      message.key,
      message.phone,
      message.template,
      Date.now(),
      Date.now()
    )
    return true
  } catch (caught) {
    const error = /** @type {any} */ (caught)
    if (error.errno === 1062) return false
    throw error
  }
}

const note = (message, status, { id = '', text = '' }, from = 'sending') =>
  db.update(
    'UPDATE sms_record SET status = ?, answer = ?, updated_at = ? WHERE message_key = ? AND status = ?',
    status,
    String(id || text).slice(0, 250),
    Date.now(),
    message.key,
    from
  ) === 1

// What became of the message. An error of HTTP means that it was not taken, unless a gateway gave up waiting (502, 504)
// or the answer was lost: then nobody knows.
const sent = (sender, message) => {
  try {
    return sender.send(message)
  } catch (caught) {
    const error = /** @type {any} */ (caught)
    const answered = error.status ? error.status !== 502 && error.status !== 504 : false
    const unsent = answered || error.code === 'HTTP_DENIED' || NOT_CONNECTED.test(error.reason ?? '')
    if (error.name === 'HttpError' && !unsent) return { verdict: 'unclear', text: error.message }
    return { verdict: 'again', text: error.message, error }
  }
}

const resultOf = ({ verdict, text, restMs }, message) => {
  switch (verdict) {
    case 'sent':
      return { success: true }
    case 'never':
      return final(text)
    case 'unclear':
      return unclear(message, text)
    default:
      return restMs ? { success: false, retryAfterMs: restMs, message: text } : { success: false, message: text }
  }
}

const final = message => ({ success: false, retry: false, message })

const busy = () => ({
  success: false,
  retryAfterMs: ABANDONED_MS,
  message: 'another run has begun to send the same SMS'
})

const unclear = (message, why) =>
  final(
    `whether the SMS was sent is unknown (${why}). Look it up at the SMS service; if it was not sent, delete the row ` +
      `with message_key ${message.key} from sms_record and replay`
  )
