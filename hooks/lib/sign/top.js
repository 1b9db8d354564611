/**
 * The signature of the Taobao open platform (TOP, gw.api.taobao.com).
 *
 *   const sign = require('/lib/sign/top').sign(params, env.get('MY_APP_SECRET'), 'hmac-sha256')
 *
 * Recipe: all parameters, common and of the method, but not `sign` and none that is empty, by name in ASCII order;
 * name and value of each, one after the other with nothing in between; then MD5 of secret + text + secret, or HMAC of
 * the text with the secret as key; hexadecimal, upper case. Checked against the vectors that TOP has published.
 */

const DIGESTS = {
  md5: (secret, text) => crypto.md5(secret + text + secret),
  hmac: (secret, text) => crypto.hmacMd5(secret, text),
  'hmac-sha256': (secret, text) => crypto.hmacSha256(secret, text)
}

/** The parameters that are sent and signed: those with a name and a value, the values as text. */
exports.filled = params => {
  const pairs = Object.entries(params).filter(
    ([name, value]) => name !== '' && value !== undefined && value !== null && value !== ''
  )
  return Object.fromEntries(pairs.map(([name, value]) => [name, String(value)]))
}

/**
 * Signs parameters. `method` is what is sent as sign_method: md5, hmac or hmac-sha256. Throws for any other.
 * A list or an object among the values must be JSON text already, the very text that is sent.
 */
exports.sign = (params, secret, method = 'md5') => {
  const digest = Object.hasOwn(DIGESTS, method) ? DIGESTS[method] : null
  if (!digest) throw new Error(`sign method ${method} is not one of ${Object.keys(DIGESTS).join(', ')}`)
  const { sign, ...signed } = exports.filled(params)
  const names = Object.keys(signed).sort()
  return digest(secret, names.map(name => name + signed[name]).join('')).toUpperCase()
}
