/** Names that something of ours might look for in an object, and find in its prototype. */
const LOOKED_FOR =
  'get set value writable enumerable configurable code name message data error cause stack status headers body timeout method ' +
  'url query form responseType whenFull throwOnError maxBytes socketPath end response page size total list id key merId script ' +
  'text origin affected insertId content-type payload env globals logLines logBytes resultBytes exit answer source json raw ' +
  'arguments result reference promise copy ignored release 0 1 2 3 -1 index input groups species retry success executionId'

/**
 * Replaces every function, getter and setter of every object that the language has by one that notes its name and throws,
 * and gives Object.prototype and Array.prototype accessors for every name that somebody might look for.
 */
export const POISON_ALL = `
  let touched = ''
  const { ownKeys, getOwnPropertyDescriptor, defineProperty, getPrototypeOf, apply } = Reflect
  const text = String, isFunction = v => typeof v === 'function', isObject = v => v !== null && (typeof v === 'object' || isFunction(v))
  const seen = new Set(), has = seen.has.bind(seen), add = seen.add.bind(seen)
  // What the probe's own syntax needs, and what the language itself asks of a value: a promise's then, JSON's toJSON.
  const spared = new Set(['globalThis', 'Function.prototype']), isSpared = spared.has.bind(spared)
  const targets = []
  const collect = (object, path, depth) => {
    if (!isObject(object) || has(object) || depth > 4) return
    add(object)
    targets[targets.length] = [object, path]
    const keys = ownKeys(object)
    for (let i = 0; i < keys.length; i++) {
      const d = getOwnPropertyDescriptor(object, keys[i])
      const name = path + '.' + text(keys[i])
      collect(d.value, name, depth + 1), collect(d.get, name, depth + 1), collect(d.set, name, depth + 1)
    }
    collect(getPrototypeOf(object), path + '.__proto__', depth + 1)
  }
  const names = ownKeys(globalThis), ours = ['db', 'http', 'log', 'env', 'crypto', 'emit', 'mq', 'require', 'response', 'exit', 'HttpError', 'payload', 'globalThis']
  for (let i = 0; i < names.length; i++) if (!ours.includes(names[i])) collect(globalThis[names[i]], text(names[i]), 0)
  for (const [value, name] of [[function* () {}, 'generator'], [async () => {}, 'async'], [async function* () {}, 'asyncGenerator'], [[][Symbol.iterator](), 'arrayIterator'], [''[Symbol.iterator](), 'stringIterator'], [new Map().keys(), 'mapIterator'], ['a'.matchAll(/a/g), 'regExpIterator']]) collect(value, name, 0)
  const accessors = []
  const lookedFor = ${JSON.stringify(LOOKED_FOR.split(' '))}
  const trap = (name, evil) => function () { touched += name + ' '; if (evil) throw name; return undefined }
  let patched = 0
  for (let t = 0; t < targets.length; t++) {
    const object = targets[t][0], path = targets[t][1]
    const keys = ownKeys(object)
    for (let i = 0; i < keys.length; i++) {
      const d = getOwnPropertyDescriptor(object, keys[i])
      const name = path + '.' + text(keys[i])
      if (!d.configurable && !d.writable) continue
      if (isFunction(d.value) && keys[i] !== 'constructor') patched += defineProperty(object, keys[i], { value: trap(name, true), writable: true }) ? 1 : 0
      else if (d.get || d.set) patched += defineProperty(object, keys[i], { get: trap(name, true), set: trap(name, true), configurable: true }) ? 1 : 0
    }
  }
  const objectPrototype = getPrototypeOf({}), arrayPrototype = getPrototypeOf([])
  for (let i = 0; i < lookedFor.length; i++) {
    defineProperty(objectPrototype, lookedFor[i], { __proto__: null, get: trap('Object.prototype.' + lookedFor[i]), set: trap('Object.prototype.' + lookedFor[i] + '=') })
    defineProperty(arrayPrototype, lookedFor[i], { __proto__: null, get: trap('Array.prototype.' + lookedFor[i]), set: trap('Array.prototype.' + lookedFor[i] + '=') })
  }
  const replaced = ['Object', 'Array', 'String', 'Number', 'Boolean', 'Function', 'Error', 'TypeError', 'Promise', 'RegExp', 'Date', 'JSON', 'Math', 'Reflect', 'Proxy', 'Map', 'Set', 'WeakMap', 'Symbol', 'encodeURIComponent', 'parseInt']
  for (let i = 0; i < replaced.length; i++) defineProperty(globalThis, replaced[i], { __proto__: null, value: trap(replaced[i], true) })
`

/** Uses everything that a script is given, itself nothing but syntax. */
export const PROBE = `
  const row = db.selectOne('SELECT ? AS a, ? AS b, ? AS c', 'x', 7, true)
  const listed = db.select('SELECT ? AS a', ['y'])
  const number = db.selectInt('SELECT ?', 42.9)
  const day = db.selectValue('SELECT ?', day0)
  const changed = db.update('UPDATE eb_user SET nickname = ? WHERE uid = 0', null)
  const batched = db.batch('UPDATE eb_user SET nickname = ? WHERE uid = 0', [['a'], ['b']])
  const page = db.page('SELECT order_id FROM eb_store_order WHERE 1 = ?', { page: 1, size: 1 }, 0)
  const within = db.transaction(() => db.selectInt('SELECT 5'))
  const answer = http.request({ method: 'post', url: base + '/echo?x=1', headers: { 'X-A': 'h' }, query: { q: 'a b', r: [1, 2] }, body: { n: 1 } })
  const formed = http.post(base + '/echo', { form: { f: 'ü&', g: null } })
  const short = http.get(base + '/ok')
  log.info('token={} {} {}', 'abc', { k: 1 }, 2)
  log.warn('thrown', error0)
  const sums = [crypto.md5('a'), crypto.hmacSha256('k', 'd', 'base64'), crypto.base64Encode('ü'), crypto.base64Decode('w7w=')]
  const settings = [env.get('COLOR'), env.get('NONE', 'none'), env.has('NONE'), env.get('__proto__'), env.get('constructor')]
  const lib = require('/lib/probe').x
  const raised = emit('PROBE', { a: 1 }, { key: 'k' }) && mq.publish('a.b', 'm') && true
  const codes = []
  let i = 0
  const note = work => { try { work() } catch (e) { define(codes, i++, { value: e.code, enumerable: true }) } }
  note(() => db.select('SELECT nope FROM nowhere'))
  note(() => db.select(1))
  note(() => http.get(base + '/fail'))
  note(() => http.get('ftp://x'))
  note(() => require('/lib/none'))
  note(() => crypto.randomHex(0))
  note(() => crypto.md5('a', 'rot13'))
  note(() => db.transaction(() => { throw { code: 'undone' } }))
  response.setHeader('x-b', 'c').status(201)
  return { row, listed, number, day, changed, batched, total: page.total, list: page.list, within, status: answer.status, echoed: answer.body, formed, short, sums, settings, lib, raised, codes, touched }
`

/** What the probe needs, made while the language is whole. */
export const BEFORE = `const base = env.get('BASE'), day0 = new Date(2024, 0, 2, 3, 4, 5), error0 = new Error('m'), define = (o, k, { value }) => defineProp(o, k, { __proto__: null, value, enumerable: true }), defineProp = Reflect.defineProperty; error0.stack;`

/** One patch each, quietly wrong instead of throwing, as hand-written attacks are. */
export const PATCHES: Record<string, string> = {
  'Array.prototype index setter':
    "Object.defineProperty(Array.prototype, '0', { set(v) { touched += 'set ' }, get() { return 'evil' } })",
  'Object.prototype getters of options':
    "for (const k of ['timeout', 'headers', 'body', 'form', 'query', 'url', 'method']) Object.defineProperty(Object.prototype, k, { get() { touched += k; return 1e9 }, set() {} })",
  'Object.prototype.then': 'Object.prototype.then = undefined',
  'Promise.prototype.then': "Promise.prototype.then = function () { touched += 'then'; throw 1 }",
  'Promise species':
    "Object.defineProperty(Promise, Symbol.species, { get() { touched += 'species'; return function (ex) { ex(() => {}, () => {}) } } })",
  'Promise.prototype.constructor':
    "Object.defineProperty(Promise.prototype, 'constructor', { get() { touched += 'constructor'; throw 1 } })",
  'Symbol.hasInstance':
    "for (const C of [Error, Promise, Date, Array, Object]) Object.defineProperty(C, Symbol.hasInstance, { value() { touched += 'hasInstance'; return true } })",
  'RegExp.prototype.exec and flags':
    "RegExp.prototype.exec = function () { touched += arguments[0]; return null }; for (const k of ['flags', 'global', 'source']) Object.defineProperty(RegExp.prototype, k, { get() { touched += k } })",
  'RegExp.prototype[Symbol.replace]':
    'for (const s of [Symbol.replace, Symbol.match, Symbol.split, Symbol.search]) RegExp.prototype[s] = function (v) { touched += v }',
  'String.prototype':
    "for (const k of Object.getOwnPropertyNames(String.prototype)) if (typeof ''[k] === 'function' && k !== 'constructor') String.prototype[k] = function () { touched += k; return 'evil' }",
  'Array iterator':
    "Object.getPrototypeOf([][Symbol.iterator]()).next = function () { touched += 'next'; return { done: true } }; Array.prototype[Symbol.iterator] = function* () { touched += 'iterator' }",
  'Function.prototype.call, apply and bind':
    "for (const k of ['call', 'apply', 'bind', 'toString']) Function.prototype[k] = function () { touched += k }",
  JSON: "JSON.stringify = v => { touched += 'stringify'; return '{}' }; JSON.parse = v => { touched += 'parse'; return {} }",
  'Error statics':
    "Error.captureStackTrace = () => { touched += 'capture' }; Error.stackTraceLimit = 0; Error.isError = () => { touched += 'isError'; return true }",
  'Object and Reflect statics':
    "for (const O of [Object, Reflect]) for (const k of Object.getOwnPropertyNames(O)) if (typeof O[k] === 'function' && k !== 'getOwnPropertyNames' && k !== 'defineProperty') O[k] = () => { touched += k }",
  'Number, Math and Date':
    "for (const O of [Number, Math, Date.prototype, Number.prototype]) for (const k of Object.getOwnPropertyNames(O)) if (typeof O[k] === 'function' && k !== 'constructor') try { O[k] = () => { touched += k; return NaN } } catch {}",
  'Map, Set and WeakMap':
    "for (const C of [Map, Set, WeakMap, WeakSet]) for (const k of ['get', 'set', 'has', 'add', 'delete']) C.prototype[k] = () => { touched += k }",
  'Symbol.toPrimitive and valueOf':
    "Object.prototype[Symbol.toPrimitive] = undefined; String.prototype.toString = String.prototype.valueOf = () => { touched += 'valueOf'; return 'evil' }",
  'Symbol.isConcatSpreadable and unscopables':
    'Array.prototype[Symbol.isConcatSpreadable] = false; Object.prototype[Symbol.unscopables] = { payload: true }',
  'HttpError’s chain':
    "Object.setPrototypeOf(HttpError.prototype, null); try { Object.setPrototypeOf(HttpError, class { constructor() { touched += 'super' } }) } catch {} HttpError.prototype.constructor = null",
  'the globals themselves':
    'globalThis.JSON = globalThis.Reflect = globalThis.Object = globalThis.Promise = globalThis.Error = globalThis.Function = globalThis.String = undefined'
}

/** Looks at every value that it can get at, and lists what is not the realm's own or says something of the host. */
export const WALK = `
  const bad = [], seen = new Set()
  const native = ['applySync', 'applySyncPromise', 'copySync', 'derefInto', 'getSync', 'createContext', 'compileScriptSync', 'typeof']
  const walk = (value, path, depth) => {
    if (typeof value === 'string' && /node_modules|file:\\/\\/|\\.ts\\b|isolated.vm|\\/home\\/|\\/work\\//.test(value) && path !== 'source') bad.push(path + ' says ' + value.slice(0, 200))
    if (depth > 7 || value === null || (typeof value !== 'object' && typeof value !== 'function') || seen.has(value)) return
    seen.add(value)
    let chain = value
    for (let i = 0; chain !== null && i < 12; i++) {
      for (const name of native) if (Object.hasOwn(chain, name)) bad.push(path + ' has ' + name)
      if (chain === Object.prototype) break
      const next = Object.getPrototypeOf(chain)
      if (next === null && !allowed.has(chain)) bad.push(path + ' is of another realm')
      chain = next
    }
    for (const key of Reflect.ownKeys(value)) {
      const d = Object.getOwnPropertyDescriptor(value, key)
      for (const part of [d.value, d.get, d.set]) walk(part, path + '.' + String(key), depth + 1)
    }
    walk(Object.getPrototypeOf(value), path + '.__proto__', depth + 1)
  }
  // Objects without a prototype that are the language's own.
  const allowed = new Set([Array.prototype[Symbol.unscopables]])
  const caught = work => { try { return work() } catch (e) { return e } }
  const walkAll = when => {
    walk(globalThis, when + ' global', 0)
    walk(caught(() => { throw new Error('own') }), when + ' error', 0)
  }
  const look = { toJSON() { walkAll('toJSON'); walk(arguments, 'toJSON arguments', 0); walk(this, 'toJSON this', 0); return 1 } }
  const sites = []
  Error.prepareStackTrace = (error, list) => { for (const site of list) { sites.push(site); for (const m of Object.getOwnPropertyNames(Object.getPrototypeOf(site))) if (m !== 'constructor') walk(caught(() => site[m]()), 'site ' + m, 0) } return list }
  const values = {
    payload, arguments, rows: db.select('SELECT 1 AS a'), row: db.selectOne('SELECT 1 AS a'), value: db.select('SELECT ?', look),
    answer: http.request({ url: '__SRV__/echo', method: 'POST', body: look, headers: { get 'x-a'() { walkAll('getter'); return 'h' } } }),
    dbError: caught(() => db.select('nope')), argument: caught(() => db.select(1)), denied: caught(() => db.select('DROP TABLE a')),
    httpError: caught(() => http.get('__SRV__/fail')), unreachable: caught(() => http.get('http://127.0.0.1:1/')), refused: caught(() => http.get('ftp://x')),
    missing: caught(() => require('/lib/none')), lib: require('/lib/probe'), raised: emit('E', look), sent: mq.publish('a.b', look),
    digest: caught(() => crypto.randomHex(-1)), response: response.json(look),
    constructed: caught(() => new db.select()), circular: caught(() => { const o = {}; o.o = o; http.post('__SRV__/ok', { body: o }) }),
    overflow: caught(function deep() { return db.select(deep()) }), inner: caught(() => db.transaction(() => { throw new Error('in') })),
    asynchronous: await db.transaction(async () => 1), rejected: await db.transaction(async () => { throw new Error('late') }).catch(e => e),
    caller: (function f() { const inner = { toJSON() { return caught(() => [f.caller, inner.toJSON.caller, arguments.callee.caller]) } }; log.info(inner); return caught(() => f.caller) })()
  }
  for (const value of Object.values(values)) { if (value instanceof Error) void value.stack; walk(value, 'value', 0) }
  for (const [name, value] of Object.entries(values)) walk(value, name, 0)
  for (const site of sites) {
    if (typeof site.getThis() === 'object' && site.getThis() !== null && site.getThis() !== globalThis) walk(site.getThis(), 'this of a site', 0)
    const f = site.getFunction()
    if (f && !/hook:|eval/.test(site.getFileName() ?? site.getEvalOrigin() ?? 'eval')) bad.push('a function of ' + site.getFileName())
  }
  return [bad, seen.size, sites.length]
`
