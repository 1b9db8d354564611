/**
 * Qimen (奇门) through the gateway of the Taobao open platform: signed calls, answers sorted into done, to be repeated and
 * refused for good, and the settings that both Qimen hooks share.
 *
 * Env: QIMEN_APP_KEY, QIMEN_APP_SECRET
 *      QIMEN_API_URL (default https://gw.api.taobao.com/router/rest)
 *      QIMEN_SIGN_METHOD (md5, hmac or hmac-sha256; default md5)
 *      QIMEN_STATUSES (JSON: event to status, in the order in which the statuses are sent; default below)
 *
 * Assumed: the document shows only isv.… errors. isp.… and the limits of the gateway are repeated; a gateway code without
 * isv. or isp. is taken as TOP's general list has it; what nobody knows is repeated.
 */

const top = require('/lib/sign/top')

const GATEWAY = 'https://gw.api.taobao.com/router/rest'

// Four statuses and a registration must fit into a run's 30 s.
const TIMEOUT_MS = 5000

const STATUSES = {
  ORDER_PAY_SUCCESS: 'QIMEN_ERP_TRANSFER',
  ORDER_AUDITED: 'QIMEN_ERP_CHECK',
  ORDER_STOCKED: 'QIMEN_CP_NOTIFY',
  ORDER_DELIVERY_ALL: 'QIMEN_CP_OUT'
}

// The codes of the method's own document. `isv.invalid-param` stands for several: the words after it tell them apart.
const DOCUMENTED = [
  {
    words: /unmatch-topic-meta-info/i,
    meaning: 'a field of the message is not as the system defines it (消息content中的字段与系统定义的字段不一致)',
    remedy: "change the parameters to the message's definition (参考消息的定义修改参数)"
  },
  {
    words: /topic-limitation/i,
    meaning: 'the app may not send this message (应用没有发送消息的权限)',
    remedy: "subscribe to the message on the app's page (在页面中订阅相应的消息)"
  },
  {
    words: /error-json-format/i,
    meaning: "the message's content is not JSON (消息体content的json格式错误)",
    remedy: 'make ext, QIMEN_EXT, right JSON (修改content为正确的json串)'
  },
  {
    words: /topic-empty/i,
    meaning: 'the topic is empty (topic不能为空)',
    remedy: 'give the right status or topic (输入正确的topic)'
  }
]
const ALREADY = /status has already backflow|状态已经回流/i

// Codes of the gateway itself, from TOP's general list.
const LIMITS = ['4', '5', '6', '7', '8']
const GATEWAY_CODES = {
  11: 'the app lacks a permission: apply for the API package, check the IP list',
  12: 'the user lacks a permission: apply for it',
  13: 'the partner lacks a permission: apply for it',
  21: 'no method was named',
  22: 'the gateway does not know the method: check QIMEN_API_URL',
  23: 'the gateway does not know the format',
  24: 'the signature is missing',
  25: 'the signature is wrong: check QIMEN_APP_SECRET and QIMEN_SIGN_METHOD',
  26: 'the session is missing: set QIMEN_SESSION',
  27: 'the session is wrong or has expired: have the seller authorise the app again, set QIMEN_SESSION',
  28: 'the app key is missing: set QIMEN_APP_KEY',
  29: 'the app key is wrong: check QIMEN_APP_KEY and QIMEN_API_URL',
  30: 'the timestamp is missing',
  31: 'the timestamp is more than ten minutes off: set the clock of this machine',
  32: 'the version is missing',
  33: 'the version is wrong',
  34: 'the version is not supported',
  40: 'a parameter is missing',
  41: 'a parameter is wrong',
  42: 'the call is forbidden',
  43: 'a parameter is wrong'
}

/** Ends the hook as failed for good, from however deep inside `attempt`. */
exports.refuse = message => {
  throw Object.assign(new Error(message), { refused: true })
}

/** Runs a hook's work and gives its result; what `refuse` ended becomes a dead letter. */
exports.attempt = work => {
  try {
    return work()
  } catch (/** @type {any} */ error) {
    if (!error?.refused) throw error
    log.error('{}', error.message)
    return { success: false, retry: false, message: error.message }
  }
}

/** A setting that is a JSON object, or `fallback` where it is empty; refuses anything else. */
exports.objectIn = (key, fallback) => {
  const text = env.get(key)
  if (!text) return fallback
  try {
    const value = JSON.parse(text)
    if (value && typeof value === 'object' && !Array.isArray(value)) return value
  } catch {}
  return exports.refuse(`${key} is not a JSON object, such as {"name": "value"}`)
}

/** Which event means which status, and all statuses in the order in which they are sent. */
exports.statuses = () => {
  const byEvent = exports.objectIn('QIMEN_STATUSES', STATUSES)
  const named = Object.values(byEvent)
  if (!named.length || named.some(status => typeof status !== 'string' || !status)) {
    exports.refuse('QIMEN_STATUSES must give each event the name of a status')
  }
  return { byEvent, chain: [...new Set(named)] }
}

/** A time, in milliseconds since 1970, as TOP writes it: the clock of China, whatever this machine's is. */
exports.chinaTime = ms => new Date(ms + 8 * 3600000).toISOString().slice(0, 19).replace('T', ' ')

/**
 * Calls a method for a seller: `{ data }`, the method's own answer; `{ already: true }`, when Qimen has the status;
 * or `{ failure }`, a hook's result. A seller is `{ session }`, its authorisation. Network errors are failures too, so that
 * the hook can still note what went well before.
 */
exports.call = (method, params, { session }) => {
  const what = params.status ? `${method} ${params.status} of ${params.tid}` : method
  const signMethod = env.get('QIMEN_SIGN_METHOD') || 'md5'
  const sent = top.filled({
    ...params,
    method,
    session,
    app_key: env.get('QIMEN_APP_KEY'),
    timestamp: exports.chinaTime(Date.now()),
    format: 'json',
    v: '2.0',
    sign_method: signMethod
  })
  sent.sign = top.sign(sent, env.get('QIMEN_APP_SECRET'), signMethod)
  try {
    const { status, body } = http.request({
      method: 'POST',
      url: env.get('QIMEN_API_URL') || GATEWAY,
      // Not the run's own key: a repeated run has fewer calls to make, and its first one may be another than before.
      headers: { 'Idempotency-Key': crypto.sha256(JSON.stringify([method, session, params])) },
      form: sent,
      timeout: TIMEOUT_MS,
      throwOnError: false
    })
    return read(body, status, method, what)
  } catch (/** @type {any} */ error) {
    return { failure: { success: false, message: `Qimen ${what}: ${error.message}` } }
  }
}

/** What an error of TOP means: `{ already: true }` or `{ failure }`. `what` begins the message. */
exports.judge = ({ code, msg, sub_code = '', sub_msg = '' }, what) => {
  const said = [sub_code, sub_msg].filter(Boolean).join(': ')
  if (ALREADY.test(said)) return { already: true }
  const message = `Qimen ${what}: ${said || msg || 'no reason given'}${code === undefined ? '' : ` (code ${code})`}`
  const failed = more => ({ failure: { success: false, message, ...more } })
  const dead = (meaning, remedy) =>
    failed({ retry: false, message: [message, meaning, remedy && `remedy: ${remedy}`].filter(Boolean).join('; ') })

  if (LIMITS.includes(String(code)) || /^accesscontrol\.limited/i.test(sub_code)) {
    return failed({ retryAfterMs: Math.max(60, Number(/(\d+) (?:more )?seconds/i.exec(said)?.[1] ?? 0)) * 1000 })
  }
  if (/^isp\./i.test(sub_code)) return failed({})
  const documented = DOCUMENTED.find(({ words }) => words.test(said))
  if (documented) return dead(documented.meaning, documented.remedy)
  if (/^isv\./i.test(sub_code)) return dead(GATEWAY_CODES[code])
  return GATEWAY_CODES[code] ? dead(GATEWAY_CODES[code]) : failed({})
}

/** `true` and "true": gateways are known to answer both. */
exports.isTrue = value => String(value).toLowerCase() === 'true'

const read = (body, status, method, what) => {
  if (body?.error_response) return exports.judge(body.error_response, what)
  const data = body?.[`${method.replace('taobao.', '').replaceAll('.', '_')}_response`]
  if (data && status < 400) return { data }
  const excerpt = (JSON.stringify(body) ?? 'nothing').slice(0, 200)
  return { failure: { success: false, message: `Qimen ${what}: unexpected answer, HTTP ${status}: ${excerpt}` } }
}
