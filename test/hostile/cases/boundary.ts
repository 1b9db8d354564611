import { type Case, ENDLESS } from './case.ts'

/** A value that loops or throws in the given way wherever it is looked at. */
const TRAPS: Record<string, string> = {
  'a getter': `{ get a() { TRAP } }`,
  toJSON: `{ toJSON() { TRAP } }`,
  'a getter for toJSON': `{ get toJSON() { TRAP } }`,
  'a proxy that lists its members': `new Proxy({ a: 1 }, { ownKeys() { TRAP } })`,
  'a proxy that describes its members': `new Proxy({ a: 1 }, { getOwnPropertyDescriptor() { TRAP } })`,
  'a proxy that gives its members': `new Proxy({ a: 1 }, { get() { TRAP } })`
}
const trap = (value: string, body: string) => value.replace('TRAP', body)

/** Where a value of the script's crosses to us, and does not have to be a text. */
const DOORS: Record<string, string> = {
  'a parameter': "db.select('SELECT ? AS v', VALUE)",
  'a list of parameters': "db.select('SELECT ? AS v', [VALUE])",
  'a row of a batch': "db.batch('UPDATE t SET a = ?', [[VALUE]])",
  'a body': "http.post('__SRV__/echo', { body: VALUE })",
  headers: "http.post('__SRV__/echo', { headers: VALUE })",
  'a query': "http.get('__SRV__/echo', { query: VALUE })",
  'a form': "http.post('__SRV__/echo', { form: VALUE })",
  'an event': "emit('E', VALUE)",
  'a message': "mq.publish('a.b', VALUE)",
  'a result': 'return VALUE',
  'an answer': 'response.json(VALUE)',
  'an exit': "exit(200, '', VALUE)"
}

/** These doors take members as text, so that `toJSON` is one member among others. */
const isText = (door: string) => ['headers', 'a query', 'a form'].includes(door)

const pairs = Object.entries(DOORS).flatMap(([door, call]) =>
  Object.entries(TRAPS)
    .filter(([what]) => what !== 'toJSON' || !isText(door))
    .map(([what, value]) => ({ door, call, what, value }))
)

/** Each door once with a value that never lets go of who looks at it (each costs its limit), and other ways to loop. */
export const ENDLESS_CASES: Case[] = [
  ...pairs
    .filter((_pair, i) => i % 6 === 0)
    .map(({ door, call, what, value }) => ({
      id: `${what} that loops in ${door}`,
      script: call.replace('VALUE', trap(value, 'for (;;);')),
      fails: ENDLESS
    })),
  {
    id: 'bnd-07',
    script: "await db.select('select 1',[{get a(){for(;;);}}]);",
    fails: ENDLESS
  },
  { id: 'bnd-08', script: "await http.post('__SRV__/echo',{body:{toJSON(){for(;;);}}});", fails: ENDLESS },
  { id: 'res-08', script: 'return {then(){for(;;);}};', fails: ENDLESS },
  { id: 'res-12', script: 'return new Proxy({}, {ownKeys(){for(;;);}});', fails: ENDLESS },
  { id: 'asy-03', script: "await db.select('select 1');for(;;);", fails: ENDLESS },
  { id: 'asy-05', script: '(function f(){Promise.resolve().then(f)})();await 1;return 1;', fails: ENDLESS },
  {
    id: 'asy-08',
    script:
      "async function* g(){try{for(;;)yield await db.select('select 1')}finally{for(;;);}}for await(const x of g())break;return 1;",
    fails: ENDLESS
  },
  {
    id: 'asy-09',
    script: 'const g=(function*(){try{yield 1}finally{while(true);}})();for(const x of g)break;return 1;',
    fails: ENDLESS
  },
  { id: 'err-02', script: "class E extends Error{get name(){for(;;);}};throw new E('m');", fails: ENDLESS },
  {
    id: 'err-03',
    script: "const e=new Error('m');Object.defineProperty(e,'stack',{get(){for(;;);}});throw e;",
    fails: ENDLESS
  },
  {
    id: 'a code that loops',
    script: "throw Object.defineProperty(new Error('m'), 'code', { get() { for (;;); } })",
    fails: ENDLESS
  },
  {
    id: 'a message that loops as text',
    script: 'const e = new Error(); e.message = { toString() { for (;;); } }; throw e',
    fails: ENDLESS
  },
  {
    id: 'Error.prepareStackTrace that loops',
    script: 'Error.prepareStackTrace = () => { for (;;); }; null.x',
    fails: ENDLESS
  },
  {
    id: 'a finally that never ends the stop',
    script: 'for (;;) try { for (;;); } finally { continue }',
    fails: ENDLESS
  },
  { id: 'a log argument that loops', script: 'log.info("{}", { get a() { for (;;); } }); return 1', fails: ENDLESS },
  {
    id: 'a header name getter by symbol',
    script: 'crypto.md5({ [Symbol.toPrimitive]() { for (;;); } })',
    fails: ENDLESS
  },
  {
    id: 'a thenable chain without end',
    script: 'const t = { then(resolve) { resolve(t) } }; return t',
    fails: ENDLESS
  },
  {
    id: 'an array without end',
    script:
      "db.select('SELECT 1', new Proxy([], { get: (t, k) => (k === 'length' ? { valueOf() { for (;;); } } : 1) }))",
    fails: ENDLESS
  }
]

/** Every door with a value that throws when it is looked at: the script may catch its own error, and goes on. */
export const THROWING_CASES: Case[] = pairs.map(({ door, call, what, value }) => ({
  id: `${what} that throws in ${door}`,
  ...(/^return|response|exit/.test(call)
    ? {
        script: call.replace('VALUE', trap(value, "throw new Error('mine')")),
        fails: { code: 'HOOK_THREW', message: 'Error: mine' }
      }
    : {
        script: `const mine = {}; try { ${call.replace('VALUE', trap(value, 'throw mine'))} } catch (e) { return [e === mine, db.selectInt('SELECT 1')] }`,
        gives: [true, 1]
      })
}))

export const BOUNDARY: Case[] = [
  {
    id: 'bnd-02',
    script:
      "let i=0;const p={toString(){return i++?'2; drop table orders':'1'}};return await db.select('select ? as v',[p]);",
    gives: [{ v: '{}' }]
  },
  {
    id: 'bnd-03',
    script: "return await db.select('select ? as v',[{toSqlString(){return 'user()'}}]);",
    gives: [{ v: '{}' }]
  },
  {
    id: 'bnd-05',
    script:
      "return await db.select('select order_id from eb_store_order where id in (?)',[[1,2,[3,'x) or 1=1 -- ']]]);",
    gives: []
  },
  {
    id: 'bnd-06',
    script: "const a=['select 1'];a.length=4294967295;try{await db.select(...[a])}catch(e){return e.name}",
    gives: 'TypeError'
  },
  {
    id: 'bnd-06 as parameters',
    script: "const a=[1];a.length=4294967295;try{await db.select('select ?', a)}catch(e){return [e.name, e.code]}",
    gives: ['TypeError', 'ARGUMENT_INVALID']
  },
  {
    id: 'bnd-06 as rows',
    script:
      "const a=[];a.length=4294967295;try{await db.batch('update t set a = ?', new Proxy(a, {}))}catch(e){return e.name}",
    gives: 'TypeError'
  },
  {
    id: 'bnd-10',
    script:
      "const d=n=>n?{a:d(n-1)}:1;await log.info(d(4000));await db.select('select ?',[JSON.stringify(d(4000))]);let x=[];for(let i=0;i<2e5;i++)x=[x];await log.info(x);return 'ok';",
    gives: 'ok'
  },
  {
    id: 'nesting of 200 000 as a result',
    script: 'let x=[];for(let i=0;i<2e5;i++)x=[x];return x',
    fails: { code: 'HOOK_THREW', message: /^RangeError/ }
  },
  {
    id: 'bnd-11',
    script:
      'const o={};o.self=o;await log.info(o);await log.info(10n, Symbol("s"), ()=>1, new Map([[1,2]]), new Date(NaN), -0, NaN, undefined);return 1;',
    gives: 1
  },
  { id: 'res-01', script: 'return ()=>1;', gives: null },
  { id: 'a symbol as result', script: 'return Symbol("s")', gives: null },
  {
    id: 'a class, a generator, a WeakMap, a Proxy of a function as results',
    script: 'return [class {}, (function* () {})(), new WeakMap(), new Proxy(() => 1, {})]',
    gives: [null, {}, {}, null]
  },
  {
    id: 'res-04',
    script: "return 'x'.repeat(64*1024*1024);",
    fails: { code: /^HOOK_(RESULT|MEMORY|CPU)_LIMIT$/ }
  },
  { id: 'a result of 300 000 characters', script: "return 'x'.repeat(300000)", fails: { code: 'HOOK_RESULT_LIMIT' } },
  {
    id: 'a result whose bytes are past the limit, though its characters are not',
    script: "return '单'.repeat(100000)",
    fails: { code: 'HOOK_RESULT_LIMIT' }
  },
  {
    id: 'an answer past the limit',
    script: "response.json('x'.repeat(300000)); return 1",
    fails: { code: 'HOOK_RESULT_LIMIT' }
  },
  {
    id: 'headers of an answer past the limit',
    script: "for (let i = 0; i < 3000; i++) response.setHeader('x-' + i, 'x'.repeat(100)); return 1",
    fails: { code: 'HOOK_RESULT_LIMIT' }
  },
  { id: 'an exit past the limit', script: "exit(200, 'x'.repeat(300000))", fails: { code: 'HOOK_RESULT_LIMIT' } },
  {
    id: 'res-05',
    script: "return Array.from({length:500000},(_,i)=>({a:i,b:'x'+i}));",
    fails: { code: /^HOOK_(RESULT|MEMORY|CPU)_LIMIT$/ }
  },
  {
    id: 'res-07',
    script: "return {then(res){res({then(r2){r2('inner')}})}};",
    gives: 'inner'
  },
  { id: 'res-09', script: 'return {then(){}};', fails: { code: 'HOOK_TIMEOUT' } },
  {
    id: 'res-14',
    script: 'let r={};for(let i=0;i<25;i++)r={a:r,b:r};return r;',
    fails: { code: /^HOOK_(RESULT|MEMORY|CPU)_LIMIT$/ }
  },
  { id: 'asy-04', script: 'await new Promise(()=>{});', fails: { code: 'HOOK_TIMEOUT' } },
  {
    id: 'asy-07',
    script: "for(;;)await db.select('select sleep(0.2)');",
    fails: { code: 'HOOK_THREW', message: /DB_/ }
  },
  { id: 'err-07', script: 'throw null;', fails: { code: 'HOOK_THREW', message: 'Error: null' } },
  { id: 'err-08', script: 'throw undefined;', fails: { code: 'HOOK_THREW', message: 'Error: undefined' } },
  { id: 'err-09', script: "throw Symbol('s');", fails: { code: 'HOOK_THREW', message: 'Error: Symbol(s)' } },
  {
    id: 'err-10',
    script: "throw 'x'.repeat(5*1024*1024);",
    fails: { code: 'HOOK_THREW', message: /^Error: x{3000,4000}.{0,40}$/ }
  },
  {
    id: 'err-10 as a message',
    script: "throw new Error('x'.repeat(5*1024*1024));",
    fails: { code: 'HOOK_THREW', message: /^Error: x{3000,4000}.{0,40}$/ }
  },
  {
    id: 'err-10 as a rejection',
    script: "Promise.reject(new Error('x'.repeat(1024*1024))); return 1",
    fails: { code: 'HOOK_THREW', message: /^Error: x{3000,4000}.{0,40}$/ }
  },
  {
    id: 'err-10 as a name',
    script: "throw Object.assign(new Error('m'), { name: 'n'.repeat(1e6) })",
    fails: { code: 'HOOK_THREW', message: /^n{200}… / }
  },
  {
    id: 'err-15',
    script: `throw {message:'{"level":"fatal","msg":"forged"}\\n{"level":"info"}',stack:'at /etc/shadow:1'};`,
    fails: { code: 'HOOK_THREW', message: /^Error: \{"message":"\{\\"level\\":\\"fatal\\".*\\n.*"\}$/ }
  },
  ...[
    'new Proxy({}, { get() { throw 1 } })',
    'new Proxy(new Error("x"), {})',
    'Object.create(null)',
    'Object.create(Error.prototype)',
    '{ toString() { throw 1 }, toJSON() { throw 2 } }',
    '(() => 1)',
    '10n',
    'NaN',
    "Object.setPrototypeOf(new Error('m'), null)",
    'new AggregateError([new Error("a")], "m")',
    "Object.assign(new Error('m'), { cause: globalThis })",
    '[new Error("inner")]',
    'payload',
    "(() => { const e = new Error('m'); e.cause = e; return e })()"
  ].map(value => ({ id: `throws ${value}`, script: `throw ${value}`, fails: { code: 'HOOK_THREW' } })),
  ...['null', 'undefined', '1', 'Symbol("s")', '{}', '() => 1', '"text"', 'Object.create(null)'].map(value => ({
    id: `rejects with ${value} and goes on`,
    script: `Promise.reject(${value}); return 1`,
    fails: { code: 'HOOK_THREW' }
  })),
  {
    id: 'a rejection that claims to be a limit',
    script: "Promise.reject(new Error('Script execution timed out.')); return 1",
    fails: { code: 'HOOK_THREW', message: /timed out/ }
  },
  {
    id: 'an error that claims to be a limit',
    script: "throw new Error('Isolate was disposed during execution due to memory limit')",
    fails: { code: 'HOOK_THREW' }
  },
  {
    id: 'an error that claims a code of ours',
    script: "throw Object.assign(new Error('m'), { code: 'DB_CONFLICT' })",
    fails: { code: 'HOOK_THREW' }
  },
  {
    id: 'hrj-01',
    script:
      "const ps=[];const A=async f=>f();for(let i=0;i<50;i++)ps.push(A(()=>db.select('syntax error here')));return (await Promise.allSettled(ps)).length;",
    gives: 50
  },
  {
    id: 'hrj-03',
    script:
      "for(const a of [undefined,null,1,{},[],()=>1,Symbol.iterator])try{await db.select(a)}catch{};for(const a of [undefined,null,'',1,{},'http://'])try{await http.get(a)}catch{};return 'alive';",
    gives: 'alive'
  },
  {
    id: 'misuse of every function is an ordinary error',
    script: `const odd = [], values = [undefined, null, '', 0, NaN, 1n, {}, [], () => 1, Symbol.iterator, new Date(NaN), new Proxy({}, {}), 'x'.repeat(1000)]
      for (const [name, space] of Object.entries({ db, http, crypto, mq, env, alone: { emit, require } }))
        for (const key of Object.keys(space).filter(key => key !== 'transaction' && name !== 'db'))
          for (const a of values) for (const b of [undefined, null, 1, {}, []])
            try { space[key](a, b) } catch (e) { if (!(e instanceof Error)) odd.push([name, key, String(e)]) }
      return odd`,
    fails: { code: /^HOOK_(HTTP|OUTPUT)_LIMIT$/ }
  },
  {
    id: 'tmp-02',
    script:
      "try { Object.getPrototypeOf(log).info=()=>{};Object.setPrototypeOf(http,{get:()=>'x'}) } catch (e) { return [e.name, [http, log, env, db, crypto, mq, response].every(Object.isFrozen)] }",
    gives: ['TypeError', true]
  },
  {
    id: 'a global’s function can be replaced for the script itself only, and not within the global',
    script:
      "db.select = () => 'mine'; http.get.x = 1; log.info = null; log.info('kept'); return db.select('SELECT 1 AS a')",
    gives: [{ a: 1 }]
  },
  {
    id: 'an invalid date is refused',
    script: "try { db.select('SELECT ?', new Date(NaN)) } catch (e) { return e.code }",
    gives: 'ARGUMENT_INVALID'
  },
  {
    id: 'an object that says that it is a Date is none',
    script: "return db.selectValue('SELECT ? AS v', Object.create(Date.prototype))",
    fails: { code: 'HOOK_THREW', message: /TypeError/ }
  },
  {
    id: 'a fake promise in a transaction undoes it',
    script:
      "try { db.transaction(() => { db.update('UPDATE eb_user SET nickname = ? WHERE uid = 1', 'evil'); return Object.create(Promise.prototype) }) } catch (e) { return [e.name, db.selectValue('SELECT nickname FROM eb_user WHERE uid = 1') === 'evil'] }",
    gives: ['TypeError', false]
  },
  {
    id: 'a promise with a constructor of its own in a transaction',
    script:
      'const seen = []; const p = Promise.resolve(5); p.constructor = { [Symbol.species]: function (ex) { ex(v => seen.push(v), v => seen.push(v)) } }; db.transaction(() => p); await 1; await 1; return seen',
    gives: [5]
  },
  {
    id: 'a nested host call from within an argument',
    script: "return db.selectValue('SELECT ? AS v', { toJSON: () => db.selectInt('SELECT 7') })",
    gives: '7'
  },
  {
    id: 'an exit that is caught is an exit nevertheless, with its data as JSON',
    script: "try { exit(201, 'made', { a: 1 }) } catch {} return 'other'",
    gives: { code: 201, message: 'made', data: { a: 1 } }
  },
  ...['1e999', '-1', '99', '200.5', "'abc'", '{}', 'null', '1n << 70n'].map(code => ({
    id: `exit(${code}) is a failure`,
    script: `exit(${code}, 'x')`,
    fails: { code: 'HOOK_EXITED' }
  }))
]
