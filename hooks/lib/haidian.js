/**
 * What all hooks for a Haidian-like ERP share: requests that it sends us are verified and answered in the document's
 * shape; requests that we send it are signed, and its answers read.
 *
 * Env: HAIDIAN_API_URL          the ERP's address, without /api (outgoing hooks do nothing without it)
 *      HAIDIAN_MER_ID           only this merchant's orders are exchanged; default: all merchants' orders
 *      HAIDIAN_USER_ID          lookup (default): the ERP's user_id is asked for by the buyer's mobile; shop: our own uid
 *      HAIDIAN_GUEST_USER_ID    user_id for buyers whom the ERP does not know; default none: such an order is not sent
 *      HAIDIAN_DUPLICATE_WORDS  a refusal with one of these in its msg means "you have sent this before", which is
 *                               success; default 已存在,重复
 *      HAIDIAN_SECRET and those of /lib/sign/haidian. Tables: sql/shop/haidian.sql.
 *
 * Assumed: every answer has HTTP status 200; a repeated message is told by its order number; -1 is a refusal that a
 * repetition does not change.
 */

const signature = require('/lib/sign/haidian')
const money = require('/lib/money')
const fields = require('/lib/haidian-fields')

const DUPLICATE_KEY = 1062

/**
 * Answers the request (`payload.request`) that the hook was called with. `work` gets the body once its signature is verified, and gives the
 * rest of the answer (`{ data }` or `{ msg }`); a Refusal becomes `{ code: -1, msg }`. Anything else that goes wrong is
 * answered without saying what; the run counts as failed, and its log says why. What `work` writes stays only if it ends well.
 */
exports.answer = (method, request, work) => {
  try {
    const body = authentic(method, request)
    const answer = { code: 0, ...work(body) }
    response.json(answer)
    return answer
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    if (error instanceof fields.Refusal) {
      log.warn('{} refused: {}', method, message)
      return respond({ code: -1, msg: message })
    }
    log.error('{} failed: {}', method, error)
    respond({ code: -1, msg: '系统繁忙，请稍后再试' })
    return { success: false, message }
  }
}

/** The same for a method that writes: a failure undoes what it wrote. */
exports.answerWriting = (method, request, work) =>
  exports.answer(method, request, body => db.transaction(() => work(body)))

const respond = answer => {
  response.json(answer)
  return answer
}

const authentic = (method, { method: verb, body: sent }) => {
  if (verb !== 'POST') fields.refuse('请求方式错误：请使用 POST')
  if (sent === null || typeof sent !== 'object' || Array.isArray(sent)) fields.refuse('参数错误：请求体应为 JSON 对象')
  if (!env.get('HAIDIAN_SECRET')) fields.refuse('接口未开通')
  if (typeof sent.sign !== 'string' || sent.sign === '') fields.refuse('参数错误：sign 不能为空')
  if (!signature.verify(sent, method)) fields.refuse('签名错误')
  return sent
}

/**
 * Sends a signed request: `{ accepted, data, failure }`, where `failure` is the hook's result for an answer that is no
 * success. Throws HttpError, which is retried, when the ERP cannot be reached or has trouble of its own (429, 5xx).
 */
exports.call = (method, document, address = `/api/${method}`) => {
  const answer = post(method, document, address)
  if (answer.failure) return { accepted: false, data: null, failure: answer.failure }
  const { code, msg, data = null } = answer.body ?? {}
  if (String(code) === '0') return { accepted: true, data, failure: null }
  const message = `Haidian ${method}: ${msg || `unexpected answer ${JSON.stringify(answer.body)?.slice(0, 200)}`}`
  if (String(code) !== '-1') return { accepted: false, data, failure: { success: false, message } }
  if (isDuplicate(msg)) return { accepted: true, data, failure: null }
  return { accepted: false, data, failure: { success: false, retry: false, message } }
}

const post = (method, document, address) => {
  const url = env.get('HAIDIAN_API_URL', '').replace(/\/+$/, '') + address
  try {
    return { body: http.post(url, { body: signature.signed(document, method), timeout: 10000 }), failure: null }
  } catch (error) {
    const { status } = /** @type {HttpError} */ (error)
    if (!status || status < 400 || status >= 500 || status === 408 || status === 429) throw error
    const message = `Haidian ${method}: HTTP ${status}, look at HAIDIAN_API_URL and replay`
    return { body: null, failure: { success: false, retry: false, message } }
  }
}

const isDuplicate = msg =>
  env
    .get('HAIDIAN_DUPLICATE_WORDS', '已存在,重复')
    .split(',')
    .some(word => word.trim() !== '' && String(msg ?? '').includes(word.trim()))

/** The ERP's number for a buyer: `{ userId, failure }`, one of them null. */
exports.userIdOf = ({ uid, phone }) => {
  if (env.get('HAIDIAN_USER_ID') === 'shop') return { userId: uid, failure: null }
  const guest = env.get('HAIDIAN_GUEST_USER_ID')
  const found = phone ? exports.call('user-info', { mobile: phone }) : null
  const userId = (found?.accepted && found.data?.uid) || null
  if (userId) return { userId: numeric(userId), failure: null }
  // Only "I don't know that member" makes a guest of a buyer.
  if (found?.failure && found.failure.retry !== false) return { userId: null, failure: found.failure }
  if (guest) return { userId: numeric(guest), failure: null }
  const message = `Haidian does not know the buyer ${uid}: add the member there, or set HAIDIAN_GUEST_USER_ID, and replay`
  return { userId: null, failure: { success: false, retry: false, message } }
}

// The document's type for user_id is int.
const numeric = id => (Number.isSafeInteger(Number(id)) ? Number(id) : id)

/** Fen as the document's amounts: 1205 → '12.05'. */
exports.yuan = fen => money.format(money.fen(fen, 'amount')).replace('¥', '')

/** The merchant whose orders are exchanged, or null for all. */
exports.merchant = () => env.get('HAIDIAN_MER_ID') || null

/** Whether an order belongs to another merchant than the one that exchanges orders. */
exports.isForeign = order => exports.merchant() !== null && String(order.mer_id) !== exports.merchant()

/** Notes that something was exchanged, once for all. Gives false when it was noted before, by whomever. */
exports.note = (what, number) =>
  insertOnce(() => db.insert('INSERT INTO haidian_done (what, number, create_time) VALUES (?, ?, NOW())', what, number))

/** Whether that was noted. */
exports.isNoted = (what, number) =>
  db.selectOne('SELECT 1 AS noted FROM haidian_done WHERE what = ? AND number = ?', what, number) !== null

/** Inserts a row, or gives false, with nothing changed, when there is one with the same key. */
const insertOnce = insert => {
  try {
    db.transaction(insert)
    return true
  } catch (error) {
    if (/** @type {HostError} */ (error).errno !== DUPLICATE_KEY) throw error
    return false
  }
}
exports.insertOnce = insertOnce
