/**
 * The MD5 signature `sign` of Haidian-like interfaces. Their document says "MD5签名" and no more, so the recipe is a
 * setting: seven that are in public use.
 *
 *   kv-key    a=1&b=2&key=SECRET                        (the default; WeChat Pay's)
 *   kv-secret a=1&b=2&privateKey=SECRET                 (the name is a setting; `-`: a=1&b=2SECRET)
 *   top       SECRETa1b2SECRET                          (Taobao's)
 *   kv-plain  a1b2SECRET
 *   values    12SECRET                                  (values in the order of their names)
 *   double    upper(md5(a1b2…)) + SECRET, md5 again     (ShopEx's; nested fields are strung together as well)
 *   concat    METHOD + APP_ID + timestamp + JSON of the other fields + SECRET
 *
 * Env: HAIDIAN_SECRET        the shared secret
 *      HAIDIAN_SIGN_RECIPE   one of the seven, default kv-key
 *      HAIDIAN_SIGN_CASE     lower (default) or upper: the letters of the hex digits that we send; read in either case
 *      HAIDIAN_PHP_JSON      1: nested fields are written as PHP's json_encode writes them (\/ and \uXXXX); default 0
 *      HAIDIAN_SECRET_NAME   kv-secret's name for the secret, default privateKey
 *      HAIDIAN_APP_ID        concat's application id, default none
 *
 * Assumed: names are sorted by ASCII; `sign`, null and '' are left out (double keeps the name of an ''); nested lists and
 * objects are compact JSON in the order received; numbers are their JSON text; true and false are 1 and 0; UTF-8.
 * concat's method is the address's last part (order-add), its timestamp the field of that name (yyyy-MM-dd HH:mm:ss).
 */

const RECIPES = {
  'kv-key': fields => `${listed(fields)}&key=${secret()}`,
  'kv-secret': fields => listed(fields) + namedSecret(),
  top: fields => secret() + strung(fields) + secret(),
  'kv-plain': fields => strung(fields) + secret(),
  values: fields => sorted(fields).map(textAt(fields)).join('') + secret(),
  double: fields => crypto.md5(assembled(fields)).toUpperCase() + secret(),
  concat: ({ timestamp, ...others }, method) =>
    method + env.get('HAIDIAN_APP_ID', '') + (timestamp ?? '') + json(others) + secret()
}

/** The fields with their `sign` (and, for concat, with a `timestamp`), ready to be sent to this method. */
exports.signed = (fields, method) => {
  const all = recipeName() === 'concat' ? { timestamp: shanghaiNow(), ...fields } : fields
  const sign = exports.sign(all, method)
  return { ...all, sign: env.get('HAIDIAN_SIGN_CASE') === 'upper' ? sign.toUpperCase() : sign }
}

/** The signature of these fields, 32 hex digits in lower case. Throws when a setting is missing or unknown. */
exports.sign = (fields, method) => {
  if (!env.get('HAIDIAN_SECRET')) throw new Error('HAIDIAN_SECRET is not set')
  if (!Object.hasOwn(RECIPES, recipeName()))
    throw new Error(`HAIDIAN_SIGN_RECIPE is ${recipeName()}: it must be one of ${Object.keys(RECIPES).join(', ')}`)
  const { sign: _, ...signed } = fields
  return crypto.md5(RECIPES[recipeName()](signed, method))
}

/** Whether the fields carry the signature that they must have. Takes as long for a nearly right one as for any other. */
exports.verify = (fields, method) => {
  const given = String(fields.sign ?? '').toLowerCase()
  const right = exports.sign(fields, method)
  if (given.length !== right.length) return false
  let different = 0
  for (let at = 0; at < right.length; at++) different |= given.charCodeAt(at) ^ right.charCodeAt(at)
  return different === 0
}

const recipeName = () => env.get('HAIDIAN_SIGN_RECIPE') || 'kv-key'
const secret = () => env.get('HAIDIAN_SECRET')
const namedSecret = () => {
  const name = env.get('HAIDIAN_SECRET_NAME') || 'privateKey'
  return name === '-' ? secret() : `&${name}=${secret()}`
}

const sorted = fields =>
  Object.keys(fields)
    .filter(name => fields[name] !== null && fields[name] !== undefined && fields[name] !== '')
    .sort()
const listed = fields =>
  sorted(fields)
    .map(name => `${name}=${textAt(fields)(name)}`)
    .join('&')
const strung = fields =>
  sorted(fields)
    .map(name => name + textAt(fields)(name))
    .join('')
const textAt = fields => name => text(fields[name])

const text = value => {
  if (typeof value === 'boolean') return value ? '1' : '0'
  return typeof value === 'string' ? value : json(value)
}

const json = value => {
  const compact = JSON.stringify(value)
  if (env.get('HAIDIAN_PHP_JSON') !== '1') return compact
  return compact
    .replace(/\//g, '\\/')
    .replace(/[\u0080-\uffff]/g, unit => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

const assembled = fields =>
  Object.keys(fields)
    .filter(name => fields[name] !== null && fields[name] !== undefined)
    .sort()
    .map(name => name + (typeof fields[name] === 'object' ? assembled(fields[name]) : text(fields[name])))
    .join('')

const shanghaiNow = () => new Date(Date.now() + 8 * 3600000).toISOString().slice(0, 19).replace('T', ' ')
