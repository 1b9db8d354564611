/**
 * SMS by Aliyun: action SendSms of Dysmsapi 2017-05-25, signature version 3.
 *
 * Env: SMS_KEY_ID, SMS_KEY_SECRET (the access key), SMS_SIGN_NAME (the approved signature, 签名),
 *      SMS_API_URL (default https://dysmsapi.aliyuncs.com)
 * `template` is the template's code (SMS_…); `params` go by their names, which are those of the template's variables.
 * OutId carries the message's key, for looking it up in Aliyun's console.
 */

const acs3 = require('/lib/sign/acs3')

const MINUTE = 60000
const HOUR = 3600000

// The first row that matches the answer's code decides. `later` rests as long as the limit's own period.
/** @type {[RegExp, string, number?][]} */
const RULES = [
  [/^OK$/, 'sent'],
  [/^isv\.BUSINESS_LIMIT_CONTROL$/, 'later'],
  [/^isv\.DAY_LIMIT_CONTROL$/, 'later', 6 * HOUR],
  [/^Throttling/, 'later', MINUTE],
  [/^isp\.RAM_PERMISSION_DENY$/, 'never'],
  [/^isp\.|^InternalError$|^ServiceUnavailable/, 'again'],
  [/^(InvalidTimeStamp\.Expired|SignatureNonceUsed)$/, 'again'],
  [/^isv\.|^(Invalid|Missing|Forbidden|NoPermission|SignatureDoesNotMatch|IncompleteSignature|Unsupported)/, 'never']
]

exports.needs = ['SMS_KEY_ID', 'SMS_KEY_SECRET', 'SMS_SIGN_NAME']

/** `{ verdict: 'sent' | 'again' | 'later' | 'never', text, id?, restMs? }`; throws HttpError. */
exports.send = message => {
  const answer = call(message)
  const code = String(answer.Code)
  const text = `Aliyun ${code}: ${answer.Message ?? ''}`
  const [, verdict, restMs] = RULES.find(([pattern]) => pattern.test(code)) ?? ['', 'again']
  return { verdict, text, id: answer.BizId, restMs: verdict === 'later' ? (restMs ?? periodOf(answer.Message)) : 0 }
}

const call = message => {
  const [, origin, host, folder] = /^(https?:\/\/([^/]+))(\/.*?)?\/*$/.exec(
    env.get('SMS_API_URL') || 'https://dysmsapi.aliyuncs.com'
  ) ?? ['', '', '', '']
  const path = `${folder ?? ''}/`
  const query = acs3.encode({
    PhoneNumbers: message.phone,
    SignName: env.get('SMS_SIGN_NAME', ''),
    TemplateCode: message.template,
    TemplateParam: JSON.stringify(texts(message.params)),
    OutId: message.key
  })
  const request = { method: 'POST', host, path, query, body: '', action: 'SendSms', version: '2017-05-25' }
  const key = { id: env.get('SMS_KEY_ID'), secret: env.get('SMS_KEY_SECRET') }
  const headers = acs3.headers(request, key, { date: acs3.now(), nonce: crypto.uuid() })
  try {
    return coded(http.post(`${origin}${path}?${query}`, { headers }))
  } catch (caught) {
    // A refusal by the gateway has a status of 400 and more, and says why in the same form.
    const error = /** @type {any} */ (caught)
    if (error.body?.Code) return error.body
    throw error
  }
}

// Without a code nobody knows what became of the message; an HttpError without a status says so.
const coded = answer => {
  if (answer?.Code) return answer
  throw Object.assign(new Error(`Aliyun gave no code: ${String(JSON.stringify(answer)).slice(0, 200)}`), {
    name: 'HttpError'
  })
}

// Numbers too must be sent as text.
const texts = params => Object.fromEntries(Object.entries(params ?? {}).map(([name, value]) => [name, String(value)]))

// The limit per number says in its text which of its periods is used up.
const periodOf = message => {
  if (/天级|day/i.test(message ?? '')) return 6 * HOUR
  return /小时|hour/i.test(message ?? '') ? HOUR : MINUTE
}
