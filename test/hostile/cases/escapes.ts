import type { Case } from './case.ts'

/** Ways to a function constructor; each must be the realm's own, which knows no `process`. */
const CONSTRUCTORS = [
  'log.info.constructor',
  'db.select.constructor',
  'http.get.constructor',
  'env.get.constructor',
  'crypto.md5.constructor',
  'require.constructor',
  'exit.constructor',
  'emit.constructor',
  'mq.publish.constructor',
  'response.json.constructor',
  'HttpError.constructor',
  'Object.getPrototypeOf(HttpError).constructor',
  'payload.constructor.constructor',
  'event.constructor.constructor',
  'db.constructor.constructor',
  "db.select('SELECT 1 AS a').constructor.constructor",
  "db.selectOne('SELECT 1 AS a').constructor.constructor",
  "db.selectOne('SELECT 1 AS a').a.constructor.constructor",
  "http.request({ url: '__SRV__/ok' }).headers.constructor.constructor",
  "http.get('__SRV__/ok').constructor.constructor",
  "emit('E', 1).constructor.constructor",
  "require('/lib/probe').constructor.constructor",
  "caught(() => db.select('nope')).constructor.constructor",
  "caught(() => http.get('__SRV__/fail')).body.constructor.constructor",
  'caught(() => crypto.randomHex(0)).constructor.constructor',
  'caught(() => new db.select()).constructor.constructor',
  'caught(() => null.x).constructor.constructor',
  '(async () => {}).constructor',
  '(function* () {}).constructor',
  '(async function* () {}).constructor',
  '(function () { return this })().Function',
  'globalThis.constructor.constructor',
  'Reflect.getPrototypeOf(Reflect.getPrototypeOf(async () => {})).constructor',
  "Object.getOwnPropertyDescriptor(Object.prototype, '__proto__').get.constructor",
  "Object.getOwnPropertyDescriptor(RegExp, '$1').get.constructor",
  'arguments[0].constructor.constructor',
  'Symbol.prototype[Symbol.toPrimitive].constructor',
  'Intl.NumberFormat.constructor',
  'Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]())).constructor.constructor'
]

const CAUGHT = 'const caught = work => { try { work() } catch (e) { return e } };'

export const CONSTRUCTOR_CASES: Case[] = CONSTRUCTORS.map(way => ({
  id: `${way} is the realm's own`,
  script: `${CAUGHT} const F = ${way}; const made = F('return [typeof process, typeof require, typeof module, typeof globalThis.ivm]'); const got = await made.call(undefined); return got.next ? (await got.next()).value : got`,
  gives: ['undefined', 'function', 'undefined', 'undefined']
}))

/** Names that are no global of a script. */
const ABSENT =
  'ShadowRealm Worker MessageChannel structuredClone queueMicrotask performance process Buffer global setTimeout setInterval ' +
  'setImmediate fetch WebSocket XMLHttpRequest Deno Bun ivm isolated_vm importScripts module exports __filename __dirname ' +
  'WebAssembly SharedArrayBuffer Atomics FinalizationRegistry WeakRef Temporal console gc d8 print read load quit version'

export const ESCAPES: Case[] = [
  {
    id: 'esc-02',
    script: "return typeof log.info.constructor('return typeof process+typeof require')();",
    gives: 'string'
  },
  {
    id: 'esc-05',
    script:
      'try{await db.select(null)}catch(e){return [Object.getOwnPropertyNames(e).sort(),e.constructor===Error||e instanceof Error,/at (ask|expose|select)|facade|runtime|node_modules|file:/.test(e.stack), /hook:script/.test(e.stack)]}',
    gives: [['code', 'message', 'name', 'stack'], true, false, true]
  },
  {
    id: 'esc-07',
    script:
      "let e;try{await db.select('nope')}catch(x){e=x};const f=Object.getOwnPropertyDescriptor(e,'stack');return f&&f.get?f.get.constructor('return typeof process')():'data';",
    oneOf: ['data', 'undefined']
  },
  {
    id: 'esc-08',
    script:
      "const r=await db.select('select 1 as a');return r.constructor===Array&&r[0].constructor===Object&&Object.getPrototypeOf(r[0])===Object.prototype;",
    gives: true
  },
  {
    id: 'esc-09',
    script:
      "const p=db.select('select 1');if(typeof p.then!=='function')return 'undefined';p.constructor={[Symbol.species]:function(ex){ex(v=>globalThis.got=v,v=>globalThis.got=v)}};p.then();await 0;await 0;return typeof (globalThis.got&&globalThis.got.constructor&&globalThis.got.constructor.constructor('return typeof process')());",
    gives: 'undefined'
  },
  {
    id: 'esc-10',
    script:
      "const rs=[];for(const m of ['fs','node:fs','child_process','data:text/javascript,export default 1','file:///etc/passwd','./x.js']){try{await import(m);rs.push(m)}catch{}}return rs;",
    gives: []
  },
  {
    id: 'esc-12',
    script: "class X extends Function{};try{return typeof new X('return process')()}catch(e){return e.name}",
    gives: 'ReferenceError'
  },
  {
    id: 'esc-13',
    script:
      "return Reflect.ownKeys(console).map(k=>k+':'+typeof console[k]).concat(typeof console._stdout, typeof console.log.constructor('return typeof process')());",
    fails: { code: 'HOOK_THREW', message: /console is not defined/ }
  },
  {
    id: 'esc-15',
    script:
      "const o={};o.__defineGetter__('sql',function(){return arguments.callee.caller});try{await db.select(o)}catch(e){return [e.name, e.code]}",
    gives: ['TypeError', 'ARGUMENT_INVALID']
  },
  {
    id: 'esc-17',
    script:
      "const t=db.select;try{t.call({__proto__:http},'select 1')}catch(e){};try{return await Reflect.construct(db.select,['select 1'])}catch(e){return e.name}",
    gives: 'TypeError'
  },
  {
    id: 'esc-18',
    script: "new Function.prototype.constructor('}); globalThis.broke=1; (function(){');return globalThis.broke;",
    fails: { code: 'HOOK_THREW', message: /^SyntaxError/ }
  },
  {
    id: 'every function ignores its receiver and refuses new',
    script: `const odd = []
      for (const [name, space] of Object.entries({ db, http, log, env, crypto, mq, response, alone: { emit, require, exit } }))
        for (const key of Object.keys(space)) {
          try { new space[key](); odd.push(name + '.' + key) } catch (e) { if (!(e instanceof TypeError)) odd.push(name + '.' + key + ' ' + e.name) }
          if ('prototype' in space[key] || 'caller' in space[key] && !Object.hasOwn(Function.prototype, 'caller')) odd.push(key)
        }
      return [odd, db.selectInt.call(null, 'SELECT 2'), Reflect.apply(crypto.md5, new Proxy({}, { get() { throw 1 } }), ['a'])]`,
    gives: [[], 2, '0cc175b9c0f1b6a831c399e269772661']
  },
  {
    id: 'the globals are a closed list',
    script:
      'return Object.fromEntries(Object.entries({ db, http, log, env, crypto, mq, response }).map(([n, s]) => [n, Object.keys(s).join()]))',
    gives: {
      db: 'select,selectOne,selectValue,selectInt,insert,update,delete,batch,page,transaction',
      http: 'request,get,post,put,patch,delete',
      log: 'debug,info,warn,error',
      env: 'get,has',
      crypto: 'md5,sha1,sha256,hmacMd5,hmacSha1,hmacSha256,uuid,randomHex,base64Encode,base64Decode',
      mq: 'publish',
      response: 'json,setHeader,status'
    }
  },
  {
    id: 'nothing but the language and the contract is global',
    script: `const language = new Set(${JSON.stringify(
      (
        'Object Function Array Number parseFloat parseInt Infinity NaN undefined Boolean String Symbol Date Promise RegExp Error ' +
        'AggregateError EvalError RangeError ReferenceError SyntaxError TypeError URIError globalThis JSON Math Intl ArrayBuffer ' +
        'Uint8Array Int8Array Uint16Array Int16Array Uint32Array Int32Array BigUint64Array BigInt64Array Uint8ClampedArray ' +
        'Float32Array Float64Array Float16Array DataView Map BigInt Set Iterator WeakMap WeakSet Proxy Reflect decodeURI ' +
        'decodeURIComponent encodeURI encodeURIComponent escape unescape eval isFinite isNaN SuppressedError DisposableStack ' +
        'AsyncDisposableStack'
      ).split(' ')
    )}); return Reflect.ownKeys(globalThis).map(String).filter(name => !language.has(name)).sort()`,
    gives: ['HttpError', 'crypto', 'db', 'emit', 'env', 'exit', 'http', 'log', 'mq', 'payload', 'require', 'response']
  },
  {
    id: 'was-05',
    script: `return ${JSON.stringify(ABSENT.split(' '))}.filter(name => name in globalThis || eval('typeof ' + name) !== 'undefined')`,
    gives: []
  },
  {
    id: 'was-02 (and by its flag, by a view, by a prototype)',
    script:
      "const found = []; for (const way of ['WebAssembly.Memory', 'new (Object.getPrototypeOf(Uint8Array))', '(function(){return this})().WebAssembly.x', 'new Uint8Array(1).buffer.constructor.prototype.grow.x', 'Date.prototype.toTemporalInstant.call(new Date())']) try { eval(way); found.push(way) } catch {} return found",
    gives: []
  },
  {
    id: 'was-04',
    script:
      'let t=[];for(let i=0;i<20;i++){const a=Date.now();while(Date.now()===a);t.push(Date.now()-a)}return [Math.min(...t) >= 1, new Date().getTime() % 1];',
    gives: [true, 0]
  },
  {
    id: 'cmp-03',
    script: "return eval('('.repeat(1e6)+'1'+')'.repeat(1e6));",
    fails: { code: 'HOOK_THREW', message: /^(RangeError|SyntaxError)/ }
  },
  {
    id: 'cmp-07',
    script: "await 0; const f = (()=>{ 'use asm'; function f(){} return f })()(); return f === undefined",
    gives: true
  },
  {
    id: 'cmp-08',
    script: "const \\u{70}rocess = 1; return \\u{70}rocess + (typeof globalThis['proc'+'ess']);",
    gives: '1undefined'
  },
  {
    id: 'the script closes the function that it is the body of',
    script: 'return 1 }); globalThis.broke = 1; (async function () {',
    fails: { code: 'HOOK_SYNTAX' }
  },
  {
    id: 'an address for sources of its own does not move its errors',
    script: 'null.x\n//# sourceURL=file:///etc/passwd\n//# sourceMappingURL=file:///etc/passwd',
    fails: { code: 'HOOK_THREW', message: /^TypeError/ }
  },
  {
    id: 'super, import.meta and import defer are syntax errors',
    script:
      "const r = []; for (const s of ['super.x', 'import.meta', 'import.meta.url', 'import defer \"fs\"']) try { r.push(eval(s) === undefined) } catch (e) { r.push(e.name) } return r",
    gives: ['SyntaxError', 'SyntaxError', 'SyntaxError', 'SyntaxError']
  },
  {
    id: 'strange paths of require load nothing',
    script: `const loaded = []
      for (const path of ['fs', 'node:fs', '/etc/passwd', '../../runtime/main.ts', '/lib/../custom/test', '/lib/probe\\0', '/lib/probe\\n', '/custom/test', '__proto__', 'constructor', 'toString', '', '/lib/', 'file:///etc/passwd', 1, null, undefined, {}, ['/lib/probe'], { toString: () => '/lib/probe' }])
        try { require(path); loaded.push(path) } catch (e) { if (e.code !== 'LIBRARY_MISSING' && e.code !== 'ARGUMENT_INVALID') loaded.push([path, e.message]) }
      return loaded`,
    gives: []
  },
  {
    id: 'a library gets nothing that its hook does not have',
    script: "return require('/lib/look')",
    gives: ['undefined', 'undefined', true]
  }
]
