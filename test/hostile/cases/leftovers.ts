/** A way to leave something behind for the hook's next run, and an expression that would show it. */
export const LEFTOVERS: [id: string, leave: string, look: string][] = [
  [
    'tmp-05',
    'JSON.stringify=function(v){globalThis.cap=v;return \'{"ok":1,"r":"forged"}\'};String.prototype.slice=()=>\'forged\';return {real:1};',
    "[JSON.stringify([1]), 'abc'.slice(1), typeof cap].join() === '[1],bc,undefined'"
  ],
  ['a global by assignment', 'left = 1', "typeof left === 'undefined'"],
  [
    'a global by var in eval',
    '(0, eval)("var left = 1; function leftToo() {}; let leftLet = 1")',
    "typeof left + typeof leftToo + typeof leftLet === 'undefinedundefinedundefined'"
  ],
  ['a global by this', '(function () { this.left = 1 })()', "!('left' in globalThis)"],
  [
    'a global that cannot be deleted',
    "Object.defineProperty(globalThis, 'left', { value: 1 })",
    "!('left' in globalThis)"
  ],
  ['a frozen global object', 'Object.freeze(globalThis)', '((globalThis.x = 1), x === 1)'],
  ['a replaced global', "db = http = log = payload = 'mine'", "typeof db === 'object' && typeof payload === 'object'"],
  [
    'a member of a global of ours',
    'try { db.left = 1; log.info.left = 1; payload.left = 1 } catch {}',
    '!db.left && !log.info.left && !payload.left'
  ],
  ['Object.prototype', 'Object.prototype.left = 1', '!({}).left'],
  [
    'Array.prototype and its iterator',
    'Array.prototype[Symbol.iterator] = null; Array.prototype.left = 1',
    '[...[1]].length === 1 && ![].left'
  ],
  ['Function.prototype', 'Function.prototype.call = null', "typeof (() => 1).call === 'function'"],
  ['Promise.prototype.then', 'Promise.prototype.then = null', "typeof Promise.prototype.then === 'function'"],
  ['RegExp.prototype.exec', 'RegExp.prototype.exec = null', '/a/.test("a")'],
  [
    'generator and async prototypes',
    'Object.getPrototypeOf(async () => {}).left = 1; Object.getPrototypeOf(function* () {}).left = 1',
    '!(async () => {}).left && !(function* () {}).left'
  ],
  ['typed arrays', 'Object.getPrototypeOf(Uint8Array.prototype).left = 1', '!new Uint8Array(1).left'],
  [
    'Intl',
    'Intl.left = 1; Intl.NumberFormat.prototype.format = null',
    "!Intl.left && new Intl.NumberFormat('en').format(1) === '1'"
  ],
  ['Date', 'Date.now = () => 5; Date.prototype.getTime = null', 'Date.now() > 5 && new Date(7).getTime() === 7'],
  ['Math', 'Math.random = () => 0.5; Math.PI2 = 1', 'Math.random() !== Math.random() && !Math.PI2'],
  [
    'Symbol.for',
    "Symbol.for('left').description; Object.prototype[Symbol.for('left')] = 1",
    "({})[Symbol.for('left')] === undefined"
  ],
  ['a well-known symbol', 'Array[Symbol.left = Symbol()] = 1', 'Symbol.left === undefined'],
  [
    'RegExp.$1 and lastMatch',
    '/(s)(ecret)/.exec("secret")',
    "[RegExp.$1, RegExp.lastMatch, RegExp.input, RegExp['$`']].join('') === ''"
  ],
  [
    'lastIndex of a literal',
    "function again() { const r = /a/g; r.exec('a'); return r }; again()",
    '(() => { const r = /a/g; return r.lastIndex === 0 })()'
  ],
  ['a template object', 'globalThis.keep = (s => s)`x`; try { keep.left = 1 } catch {}', '!(s => s)`x`.left'],
  ['Error.stackTraceLimit', 'Error.stackTraceLimit = 0', 'Error.stackTraceLimit === 10'],
  ['Error.prepareStackTrace', "Error.prepareStackTrace = () => 'forged'", "new Error('x').stack !== 'forged'"],
  ['a cached library', "require('/lib/probe').x = 'left'", "require('/lib/probe').x === 'lib'"],
  ['a settled answer', "response.json('left').status(500).setHeader('x-left', '1')", 'true'],
  ['an exit', "try { exit(500, 'left') } catch {}", 'true'],
  [
    'HttpError',
    'HttpError.prototype.left = 1; Object.getPrototypeOf(HttpError.prototype).left = 1',
    '!Object.create(HttpError.prototype).left'
  ],
  ['the lines of its log', "for (let i = 0; i < 2000; i++) log.info('left')", "(log.info('mine'), true)"],
  [
    'its count of calls',
    "for (let i = 0; i < 99; i++) db.selectValue('SELECT 1')",
    "(db.selectValue('SELECT 1'), db.selectValue('SELECT 2') === 2)"
  ],
  [
    'a microtask that it did not wait for',
    'let n = 0; (async () => { while (n++ < 1000) await 0; globalThis.late = 1; Object.prototype.late = 1 })()',
    "typeof late === 'undefined'"
  ],
  [
    'an async generator that hangs',
    '(async function* () { try { yield 1 } finally { globalThis.late = 1 } })().next()',
    "typeof late === 'undefined'"
  ],
  [
    'a promise that never settles, with a then on it',
    'globalThis.p = new Promise(() => {}); p.then(() => { late = 1 })',
    "typeof p === 'undefined'"
  ],
  [
    'what a finalizer would see (tmp-10)',
    "return [typeof WeakRef, typeof FinalizationRegistry].join() === 'undefined,undefined' ? 1 : leak()",
    "typeof WeakRef === 'undefined'"
  ],
  ['a file name of its source', '//# sourceURL=left', "!new Error('x').stack.includes('left')"],
  [
    'an open transaction',
    "try { db.transaction(() => { db.update('UPDATE eb_user SET nickname = ? WHERE uid = 1', 'left'); throw 1 }) } catch {}",
    "db.selectValue('SELECT nickname FROM eb_user WHERE uid = 1') !== 'left'"
  ],
  ['memory near its limit', 'globalThis.big = new Array(1e6).fill(1.5)', "typeof big === 'undefined'"]
]
