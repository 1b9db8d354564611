/**
 * Tencent Cloud's signature, version 3 (TC3-HMAC-SHA256), for calls by POST with a JSON body.
 *
 *   const tc3 = require('/lib/sign/tc3')
 *   const request = { service: 'sms', host, path: '/', body: JSON.stringify(document), action, version, region }
 *   const headers = tc3.headers(request, { id, secret }, Math.floor(Date.now() / 1000))
 */

const ALGORITHM = 'TC3-HMAC-SHA256'
const CONTENT_TYPE = 'application/json; charset=utf-8'

/**
 * The headers to send, the signature in `Authorization`. `body` is the exact text that is sent, `host` the one that it
 * goes to, `timestamp` in seconds: Tencent refuses one that is 5 minutes off. `region` may be left out.
 */
exports.headers = ({ service, host, path, body, action, version, region }, { id, secret }, timestamp) => {
  const names = 'content-type;host;x-tc-action'
  const lines = `content-type:${CONTENT_TYPE}\nhost:${host}\nx-tc-action:${action.toLowerCase()}\n`
  const canonical = ['POST', path, '', lines, names, crypto.sha256(body)].join('\n')
  // The day is UTC's, whatever the shop's clock shows.
  const day = new Date(timestamp * 1000).toISOString().slice(0, 10)
  const scope = `${day}/${service}/tc3_request`
  const text = [ALGORITHM, timestamp, scope, crypto.sha256(canonical)].join('\n')
  const signature = chain(secret, [day, service, 'tc3_request', text])
  return {
    'Content-Type': CONTENT_TYPE,
    'X-TC-Action': action,
    'X-TC-Version': version,
    'X-TC-Timestamp': String(timestamp),
    ...(region ? { 'X-TC-Region': region } : {}),
    Authorization: `${ALGORITHM} Credential=${id}/${scope}, SignedHeaders=${names}, Signature=${signature}`
  }
}

// Each digest is the key of the next one.
const chain = (secret, steps) => {
  const [first, ...rest] = steps
  return rest.reduce(
    (key, step) => crypto.hmacSha256(key, step, 'hex', 'hex'),
    crypto.hmacSha256(`TC3${secret}`, first)
  )
}
