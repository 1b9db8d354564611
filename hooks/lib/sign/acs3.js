/**
 * Aliyun's signature, version 3 (ACS3-HMAC-SHA256), for RPC-style calls: all parameters in the query.
 *
 *   const acs3 = require('/lib/sign/acs3')
 *   const request = { method: 'POST', host, path: '/', query: acs3.encode(params), body: '', action, version }
 *   const headers = acs3.headers(request, { id, secret }, { date: acs3.now(), nonce: crypto.uuid() })
 */

const ALGORITHM = 'ACS3-HMAC-SHA256'

/** Parameters as the signature wants them: sorted by name, encoded by RFC 3986. */
exports.encode = params =>
  Object.keys(params)
    .sort()
    .map(name => `${escape3986(name)}=${escape3986(params[name])}`)
    .join('&')

/** The time as the signature wants it: 2023-10-26T10:22:32Z. Aliyun refuses one that is 15 minutes off. */
exports.now = () => new Date().toISOString().replace(/\.\d+Z$/, 'Z')

/** The headers to send, the signature in `Authorization`. `host` is the one that the request goes to. */
exports.headers = ({ method, host, path, query, body, action, version }, { id, secret }, { date, nonce }) => {
  const bodyHash = crypto.sha256(body)
  const headers = {
    'x-acs-action': action,
    'x-acs-content-sha256': bodyHash,
    'x-acs-date': date,
    'x-acs-signature-nonce': nonce,
    'x-acs-version': version
  }
  const signed = { host, ...headers }
  const names = Object.keys(signed).sort()
  const lines = names.map(name => `${name}:${signed[name].trim()}\n`).join('')
  const canonical = [method, path, query, lines, names.join(';'), bodyHash].join('\n')
  const signature = crypto.hmacSha256(secret, `${ALGORITHM}\n${crypto.sha256(canonical)}`)
  return {
    ...headers,
    Authorization: `${ALGORITHM} Credential=${id},SignedHeaders=${names.join(';')},Signature=${signature}`
  }
}

const escape3986 = value =>
  encodeURIComponent(value).replace(/[!'()*]/g, sign => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`)
