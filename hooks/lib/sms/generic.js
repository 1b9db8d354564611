/**
 * SMS by a service with the plain interface of the order events' document: POST {SMS_API_URL}/send with a bearer token
 * and the body { phone, template, params }.
 *
 * Env: SMS_API_URL, SMS_API_KEY,
 *      SMS_FINAL_CODES (optional: the service's own codes that no repetition can help, such as a wrong number: "1002,1003")
 * Assumed, since the document shows no answer: `code` 0, 200 or "OK" means sent; so does an answer without a code, since a
 * repetition would reach the buyer. Codes isv.… (Aliyun's, which such services pass on) name the request as faulty.
 * HTTP 429 means too fast.
 */

exports.needs = ['SMS_API_URL', 'SMS_API_KEY']

/** `{ verdict: 'sent' | 'again' | 'later' | 'never', text, id?, restMs? }`; throws HttpError. */
exports.send = ({ phone, template, params }) => {
  const answer = post({ phone, template, params })
  if (answer === TOO_FAST) return { verdict: 'later', restMs: 60000, text: 'SMS service: too many requests' }
  const code = String(answer?.code ?? 'OK')
  if (['0', '200', 'OK'].includes(code.toUpperCase())) return { verdict: 'sent', id: answer?.data?.messageId ?? '' }
  const text = `SMS service: ${code} ${answer.message ?? ''}`.trim()
  return { verdict: isFinal(code) ? 'never' : 'again', text }
}

const TOO_FAST = {}

const post = body => {
  try {
    return http.post(`${env.get('SMS_API_URL', '').replace(/\/+$/, '')}/send`, {
      headers: { Authorization: `Bearer ${env.get('SMS_API_KEY')}` },
      body
    })
  } catch (caught) {
    const error = /** @type {any} */ (caught)
    if (error.status === 429) return TOO_FAST
    throw error
  }
}

const isFinal = code =>
  code.startsWith('isv.') ||
  env
    .get('SMS_FINAL_CODES', '')
    .split(',')
    .map(each => each.trim())
    .includes(code)
