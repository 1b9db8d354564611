// `http`: a request is copied out of its options once, and sent; the answer's body is parsed.
export function createHttp(captured, { ask, exposeAll, failure, invalid }) {
  const { parse, toJson, isArray, keys, own, pick, isSafeInteger, matches, text, encodePart } = captured
  const OPTIONS = [
    'headers',
    'query',
    'body',
    'form',
    'timeout',
    'responseType',
    'whenFull',
    'throwOnError',
    'method',
    'url'
  ]

  const isNothing = value => value === undefined || value === null
  /** The names of an options' member that must be an object. */
  const namesOf = (what, object) => {
    if (typeof object === 'object' && object !== null) return keys(object)
    throw invalid(`http: ${what} must be an object.`)
  }

  /** `a=1&b=2`; an array's members one by one. */
  function encode(what, pairs) {
    const names = namesOf(what, pairs)
    let line = ''
    const add = (name, value) => {
      if (!isNothing(value)) line += `${line ? '&' : ''}${encodePart(name)}=${encodePart(value)}`
    }
    for (let i = 0; i < names.length; i++) {
      const value = pairs[names[i]]
      if (!isArray(value)) add(names[i], value)
      else for (let j = 0; j < value.length; j++) add(names[i], value[j])
    }
    return line
  }

  function headersOf({ headers, form, body }) {
    const sent = { __proto__: null }
    if (form !== undefined) sent['content-type'] = 'application/x-www-form-urlencoded;charset=UTF-8'
    else if (!isNothing(body) && typeof body !== 'string') sent['content-type'] = 'application/json;charset=UTF-8'
    const names = isNothing(headers) ? [] : namesOf('headers', headers)
    for (let i = 0; i < names.length; i++) {
      const value = headers[names[i]]
      if (!isNothing(value)) sent[text.lower(names[i])] = text.of(value)
    }
    return sent
  }

  function bodyOf({ body, form }) {
    if (form !== undefined) return encode('form', form)
    if (isNothing(body)) return null
    return typeof body === 'string' ? body : toJson(body)
  }

  function addressOf(url, query) {
    if (typeof url !== 'string') throw invalid('http: the address must be a text.')
    if (!query) return url
    const line = encode('query', query)
    return line === '' ? url : `${url}${text.indexOf(url, '?') < 0 ? '?' : '&'}${line}`
  }

  /**
   * JSON with integers that a number can't hold kept as text, as `db` does; and without members called __proto__, which
   * Object.assign would make the prototype of a copy.
   */
  function parseExact(json) {
    if (!matches(/\d{16}|__proto__|\\u/, json)) return parse(json)
    return parse(json, (key, value, context) => {
      if (key === '__proto__') return undefined
      return typeof value === 'number' && !isSafeInteger(value) && matches(/^-?\d+$/, context.source)
        ? context.source
        : value
    })
  }

  function readBody({ headers, text: body }, responseType) {
    if (responseType === 'text' || responseType === 'base64') return body
    const type = own(headers, 'content-type') ?? ''
    if (responseType !== 'json' && !matches(/json/i, type) && !matches(/^\s*[[{]/, body)) return body
    try {
      return body === '' ? null : parseExact(body)
    } catch (error) {
      if (responseType !== 'json') return body
      throw failure('HTTP_ERROR', 'HttpError', `The answer is not JSON: ${error.message}`)
    }
  }

  /** `options`: own members, read already. */
  function send(method, url, options) {
    const { timeout, responseType, whenFull, throwOnError = true } = options
    const request = {
      __proto__: null,
      method: text.upper(text.of(method)),
      url: addressOf(url, options.query),
      headers: headersOf(options),
      body: bodyOf(options),
      timeout,
      responseType,
      whenFull
    }
    const answer = ask('http.send', `[${toJson(request)}]`)
    const { status, headers } = answer
    const result = { status, headers, body: readBody(answer, responseType) }
    if (status < 400 || !throwOnError) return result
    throw failure('HTTP_ERROR', 'HttpError', `${request.method} ${answer.origin}: answered ${status}`, result)
  }

  const short = method => (url, options) => send(method, url, pick(options, OPTIONS)).body
  return exposeAll({
    request(first, second) {
      const options = pick(typeof first === 'string' ? second : first, OPTIONS)
      return send(options.method ?? 'GET', typeof first === 'string' ? first : options.url, options)
    },
    get: short('GET'),
    post: short('POST'),
    put: short('PUT'),
    patch: short('PATCH'),
    delete: short('DELETE')
  })
}
