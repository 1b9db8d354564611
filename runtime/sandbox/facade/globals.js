// The smaller globals: `env`, `crypto`, `emit`, `mq`, `require`, `response`, `exit`, and what is taken away.

/** What would see other runs, other threads, the garbage collector, or time finer than a millisecond. */
export function withhold() {
  for (const name of [
    ...['WebAssembly', 'SharedArrayBuffer', 'Atomics', 'FinalizationRegistry', 'WeakRef'],
    ...['Temporal', 'console']
  ])
    delete globalThis[name]
  delete Date.prototype.toTemporalInstant
  withholdResizing()
}

/** Buffers that can grow: V8 does not count what they hold. `ArrayBuffer` becomes one that ignores its options. */
function withholdResizing() {
  const Native = ArrayBuffer
  const { construct, defineProperty, getOwnPropertyDescriptor } = Reflect
  function Fixed(length) {
    if (!new.target) throw new TypeError("Constructor ArrayBuffer requires 'new'")
    return construct(Native, [length], new.target)
  }
  defineProperty(Fixed, 'name', { value: 'ArrayBuffer', configurable: true })
  defineProperty(Fixed, 'prototype', { value: Native.prototype, writable: false })
  for (const key of ['isView', Symbol.species]) defineProperty(Fixed, key, getOwnPropertyDescriptor(Native, key))
  for (const key of ['resize', 'resizable', 'maxByteLength']) delete Native.prototype[key]
  defineProperty(Native.prototype, 'constructor', { value: Fixed, writable: true, configurable: true })
  defineProperty(globalThis, 'ArrayBuffer', { value: Fixed, writable: true, configurable: true })
}

export function createEnv({ text, freeze }, values) {
  return freeze({
    get: freeze((key, fallback = null) => {
      const name = text.of(key)
      return name in values ? values[name] : fallback
    }),
    has: freeze(key => text.of(key) in values)
  })
}

export function createCrypto({ toJson, text, toNumber }, { ask, exposeAll }) {
  const of = value => toJson(text.of(value))
  const compute = (operation, args) => ask(`crypto.${operation}`, `[${args}]`)
  const hash =
    algorithm =>
    (data, encoding = 'hex') =>
      compute('hash', `"${algorithm}",${of(data)},${of(encoding)}`)
  const hmac =
    algorithm =>
    (key, data, encoding = 'hex', keyEncoding = 'utf8') =>
      compute('hmac', `"${algorithm}",${of(key)},${of(data)},${of(encoding)},${of(keyEncoding)}`)
  return exposeAll({
    md5: hash('md5'),
    sha1: hash('sha1'),
    sha256: hash('sha256'),
    hmacMd5: hmac('md5'),
    hmacSha1: hmac('sha1'),
    hmacSha256: hmac('sha256'),
    uuid: () => compute('uuid', ''),
    randomHex: size => compute('randomHex', toJson(toNumber(size))),
    base64Encode: data => compute('base64Encode', of(data)),
    base64Decode: data => compute('base64Decode', of(data))
  })
}

export function createTelling({ toJson, text, pick }, { ask, expose, exposeAll }) {
  const tell = (name, key, data, options) =>
    ask(name, `[${toJson(text.of(key))},${toJson(data ?? null)},${toJson(options)}]`)
  return {
    emit: expose((eventKey, data, options) =>
      tell('events.emit', eventKey, data, pick(options, ['id', 'key', 'merId', 'data']))
    ),
    mq: exposeAll({
      publish: (routingKey, body, options) =>
        tell('mq.publish', routingKey, body, pick(options, ['exchange', 'headers']))
    })
  }
}

export function createRequire({ apply, RealmFunction }, { ask, expose, textJson }) {
  const modules = { __proto__: null }
  const require = expose(path => {
    const asked = textJson('require: the path', path)
    if (path in modules) return modules[path].exports
    const { script } = ask('lib.load', `[${asked}]`)
    const module = { exports: {} }
    modules[path] = module
    try {
      const load = new RealmFunction('exports', 'module', 'require', `${script}\n//# sourceURL=hook:${path}`)
      apply(load, undefined, [module.exports, module, require])
    } catch (error) {
      delete modules[path]
      throw error
    }
    return module.exports
  })
  return require
}

/** `response` and `exit`, and what they were told. */
export function createReply({ freeze, text, toNumber, isInteger, define }, { expose, HostError }) {
  const answer = { __proto__: null, status: 200, headers: { __proto__: null } }
  const reply = { __proto__: null, answer: null, exit: null }
  const response = {
    json(body) {
      answer.body = body ?? null
      reply.answer = answer
      return response
    },
    setHeader(name, value) {
      answer.headers[text.of(name)] = text.of(value)
      reply.answer = answer
      return response
    },
    status(code) {
      answer.status = toNumber(code)
      reply.answer = answer
      return response
    }
  }
  for (const name of ['json', 'setHeader', 'status']) response[name] = expose(response[name])

  reply.response = freeze(response)
  reply.exitNow = expose((code = 200, message = '', data = null) => {
    const given = toNumber(code)
    const status = isInteger(given) && given >= 200 && given <= 599 ? given : 500
    const said = text.of(message)
    reply.exit = { __proto__: null, end: 'exited', code: status, message: said, data }
    const end = new HostError(`exit ${status} ${said}`)
    define(end, 'name', 'Exit')
    throw end
  })
  return reply
}
