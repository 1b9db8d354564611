/**
 * The ERP's interface: JSON by POST with a bearer token; `code` 0 or 200 in the answer means accepted,
 * anything else is a refusal although the HTTP status is 200.
 *
 * Env: ERP_API_URL, ERP_API_KEY, ERP_SOURCE_SYSTEM (default MISEB)
 */

/** The name under which the ERP knows this shop. */
exports.sourceSystem = () => env.get('ERP_SOURCE_SYSTEM') || 'MISEB'

/**
 * Sends a document to the ERP, waiting at most 10 s: `{ accepted, data, message }`, where `message` is the ERP's reason
 * for a refusal. Throws HttpError for a status of 400 and more, and when the ERP cannot be reached.
 */
exports.post = (endpoint, document) => {
  const answer = http.post(env.get('ERP_API_URL', '').replace(/\/+$/, '') + endpoint, {
    headers: { Authorization: `Bearer ${env.get('ERP_API_KEY')}` },
    body: document,
    timeout: 10000
  })
  const accepted = ['0', '200'].includes(String(answer?.code))
  const message = accepted ? '' : `ERP ${endpoint}: ${answer?.message || `unexpected answer ${excerpt(answer)}`}`
  return { accepted, data: answer?.data ?? {}, message }
}

/** The ERP number that an earlier run left in an order's `mark`; null when there is none. */
exports.numberIn = mark => /(?:^|\s)ERP:(\S+)/.exec(mark ?? '')?.[1] ?? null

/**
 * Appends the ERP's number to the order's `mark`, unless it is there already. The column holds 512 characters:
 * a longer remark loses its end rather than the number.
 */
exports.writeNumber = (orderNo, erpNumber) => {
  const tag = ` ERP:${erpNumber}`
  db.update(
    `UPDATE eb_store_order
        SET mark = CONCAT(SUBSTR(IFNULL(mark, ''), 1, ?), ?)
      WHERE order_id = ? AND INSTR(IFNULL(mark, ''), ?) = 0`,
    512 - tag.length,
    tag,
    orderNo,
    tag
  )
}

const excerpt = answer => (JSON.stringify(answer) ?? 'nothing').slice(0, 200)
