import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createMask, maskJson, visible } from '../../runtime/host/mask.ts'
import type { Json } from '../../runtime/model.ts'
import { freshSqlite } from '../support/databases.ts'
import { eventually, startSandhookProcess } from '../support/sandhook.ts'
import { hostileShop } from './hostile.ts'

const site = hostileShop()
const SECRET = 'k/ey+S3cr"et & välue'
const PLAIN = 'sk_live_0123456789abcdef'

/** Every way to write a secret down that a partner's protocol asks for; none of them may be stored or shown. */
const FORMS: [what: string, expression: string][] = [
  ['itself', 'k'],
  ['within a text', "'key is ' + k + '!'"],
  ['as JSON', 'JSON.stringify({ k })'],
  ['as JSON in JSON', 'JSON.stringify({ body: JSON.stringify({ k }) })'],
  ['as PHP’s JSON', "JSON.stringify({ k }).replaceAll('/', '\\\\/')"],
  ['in an address', "'https://x/?k=' + encodeURIComponent(k)"],
  ['in an address with small letters', 'encodeURIComponent(k).replace(/%../g, c => c.toLowerCase())'],
  ['in a form', "encodeURIComponent(k).replaceAll('%20', '+')"],
  ['in HTML', "k.replaceAll('&', '&amp;').replaceAll('\"', '&quot;')"],
  ['in Base64', 'crypto.base64Encode(k)'],
  ['as user and password', "'Basic ' + crypto.base64Encode('user:' + k)"],
  ['in a longer Base64', 'crypto.base64Encode(\'{"a":"\' + k + \'"}\')'],
  ['as a name', '({ [k]: 1 })'],
  ['deep inside', '({ a: [{ b: { c: k } }] })']
]
const SECRETS = { env: { API_KEY: SECRET, PLAIN_KEY: PLAIN, COLOR: 'red' }, secrets: [SECRET, PLAIN] }

/** What is left of a secret in a text, in any form. */
const traces = (value: unknown): string[] => {
  const text = JSON.stringify(value)
  const encoded = encodeURIComponent(SECRET)
  const pieces = [
    SECRET,
    JSON.stringify(SECRET).slice(1, -1),
    encoded,
    encoded.toLowerCase(),
    PLAIN,
    'S3cr',
    'UzNjc',
    'NyZ',
    'TM2Ny'
  ]
  return pieces.filter(piece => text.includes(piece) || text.includes(JSON.stringify(piece).slice(1, -1)))
}

describe('secrets', () => {
  test.each(FORMS)('are masked %s: in logs, results, answers, errors and calls', async (_what, expression) => {
    const head = `const k = env.get('API_KEY'); const value = ${expression}; const text = typeof value === 'string' ? value : JSON.stringify(value);`
    const runs = await Promise.all(
      [
        `${head} log.info('{} and {}', value, { nested: { value } }); log.warn(value); log.error('e', new Error(text)); return { value }`,
        `${head} response.json({ value }).setHeader('x-a', text); return value`,
        `${head} throw new Error('failed with ' + text)`,
        `${head} throw { value }`,
        `${head} Promise.reject(new Error(text)); return 1`,
        `${head} exit(200, 'x', value)`,
        `${head} exit(400, text, value)`,
        `${head} return { success: false, message: text }`,
        `${head} try { db.select('SELECT nope AS "' + text + '"') } catch {} try { http.get('__SRV__/ok/' + (/%/.test(text) ? text : encodeURI(text))) } catch {} return 1`,
        `${head} db.select(text)`
      ].map(script => site.run(script, SECRETS))
    )
    for (const { result, error, logs, calls, report } of runs)
      expect(traces([result, error, logs, calls, report.response, report.error?.message, report.error?.data])).toEqual(
        []
      )
  })

  test('env-04: split among the arguments of a line, one after the other, and plain ones beside it', async () => {
    const { result, error, logs } = await site.run(
      "const k=env.get('API_KEY');await log.info('key is '+k);await log.info({nested:{k}});await log.info('{}{}', k.slice(0, 5), k.slice(5));await log.info(btoaLike(k));await log.info('{} {}', env.get('COLOR'), env.get('PLAIN_KEY'));function btoaLike(s){return encodeURIComponent(s)}throw new Error('failed with '+k);",
      SECRETS
    )
    expect(result).toBeNull()
    expect(error?.message).toBe('Error: failed with ***')
    expect(logs.map(({ message }) => message)).toEqual([
      'key is ***',
      '{"nested":{"k":"***"}}',
      '***',
      '***',
      'red ***'
    ])
  })

  test('that are numbers are masked as numbers; text that only holds a short one is left alone', async () => {
    const { result, logs } = await site.run(
      "log.info('pin {} abc', 123456); return [Number(env.get('PIN')), 1234567, 'abc', env.get('SHORT')]",
      {
        env: { PIN: '123456', SHORT: 'abc' },
        secrets: ['123456', 'abc']
      }
    )
    expect(result).toEqual(['***', 1234567, 'abc', 'abc'])
    expect(logs[0]?.message).toBe('pin *** abc')
  })

  test('never survive the mask, whatever stands around them', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 4, unit: 'binary' }), fc.string(), fc.string(), (given, before, after) => {
        const secret = given.toWellFormed()
        const mask = createMask([secret])
        const text = `${before}${secret}${after}`
        expect(mask(text).length).toBeLessThanOrEqual(
          text.length - secret.length + 3 * (before.length + after.length + 1)
        )
        for (const form of [
          secret,
          JSON.stringify(secret).slice(1, -1),
          encodeURIComponent(secret),
          Buffer.from(secret).toString('hex')
        ])
          expect(mask(`${before}${form}${after}`)).not.toBe(`${before}${form}${after}`)
        const whole = Buffer.from(`${before}${secret}${after}`)
        if (Buffer.byteLength(secret) >= 8) expect(mask(whole.toString('base64'))).not.toBe(whole.toString('base64'))
      }),
      { numRuns: 100 }
    )
  })

  test('may be many and long, such as keys in PEM', () => {
    const secrets = Array.from({ length: 50 }, (_, i) => `-----BEGIN ${i}\n${'aB+/"&'.repeat(1_000)}${i}\n-----END`)
    const mask = createMask(secrets)
    expect(mask(`a ${secrets[7]} b ${JSON.stringify(secrets[49])} c`)).toBe('a *** b "***" c')
  })

  test('maskJson keeps what is no secret, with names that are the language’s own', () => {
    const value = JSON.parse(
      '{"__proto__":{"a":"hush"},"constructor":{"prototype":{"x":1}},"toJSON":1,"hush":[null,true,1.5]}'
    )
    const masked = maskJson(value, createMask(['hush']))
    expect(JSON.stringify(masked)).toBe(
      '{"__proto__":{"a":"***"},"constructor":{"prototype":{"x":1}},"toJSON":1,"***":[null,true,1.5]}'
    )
    expect(({} as Record<string, unknown>).a).toBeUndefined()
  })
})

describe('env', () => {
  test('env-02: shows what was granted, and no name of the language or the machine', async () => {
    const { result } = await site.run(
      "return ['PATH','HOME','DB_PASSWORD','MYSQL_PWD','RABBITMQ_URL','NODE_OPTIONS','__proto__','constructor','toString','hasOwnProperty','valueOf','__defineGetter__',''].map(k=>{try{return [env.get?env.get(k):env[k], env.has(k), env[k] === ({})[k] || env[k] === undefined]}catch(e){return 'denied'}});",
      { env: { COLOR: 'red' } }
    )
    expect(result).toEqual(Array.from({ length: 13 }, () => [null, false, true]))
  })

  test('a key is read once, whatever it is', async () => {
    const { result } = await site.run(
      "let n = 0; const shifty = { toString: () => (n++ ? 'TOKEN' : 'COLOR') }; return [env.get(shifty), n, env.get(Symbol('COLOR')), env.get(['COLOR']), env.get('NONE', 5), env.get('__proto__', 'x')]",
      { env: { COLOR: 'red', TOKEN: 'no' } }
    )
    expect(result).toEqual(['red', 1, null, 'red', 5, 'x'])
  })

  test('keys with names of the language are values like others', async () => {
    const granted = JSON.parse('{"__proto__":"p","constructor":"c","toString":"t"}')
    const { result } = await site.run(
      "return [env.get('__proto__'), env.get('constructor'), env.get('toString'), env.has('valueOf')]",
      { env: granted }
    )
    expect(result).toEqual(['p', 'c', 't', false])
  })

  test('env-03: each run sees its own, also in a warm isolate', async () => {
    const hook = { id: 'env-03' }
    const first = await site.run("globalThis.kept = env.get('API_KEY'); env.kept = kept; return kept && 'ok'", {
      hook,
      env: { API_KEY: 'a' }
    })
    const second = await site.run("return [env.get('API_KEY'), typeof kept, env.kept]", { hook, env: {} })
    const third = await site.run("return env.get('API_KEY')", { hook: { ...hook, merId: 7 }, env: { API_KEY: 'b' } })
    expect([first.result, second.result, third.result]).toEqual(['ok', [null, 'undefined', null], 'b'])
  })
})

/** What may steer a terminal, forge a line or hide what is there. */
const FORGERY =
  '\u001b[2J\u001b]0;pwn\u0007\u001b[31mred\u009b31m \u202Eevil \u2028 \u2029 \r\n{"level":60} \0 \u007f \u2066x\u2069 \ufeff \u200b \u{e0041}'
// biome-ignore lint/suspicious/noControlCharactersInRegex: what must not be there
const UNSAFE = /[\0-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]|[\u{e0000}-\u{e007f}]/u

describe('text that forges', () => {
  test('log-02: is spelled out wherever it is stored', async () => {
    const literal = JSON.stringify(FORGERY)
    const runs = await Promise.all(
      [
        `log.info(${literal}); log.warn('{}', { a: ${literal} }); log.error('x', new Error(${literal})); return 1`,
        `throw new Error(${literal})`,
        `class E extends Error {}; Object.defineProperty(E.prototype, 'name', { value: ${literal} }); throw new E('m')`,
        `const evil${'\u200c'}Name = null; evil${'\u200c'}Name.x /* \u202e \u2066 \u001b[2J */`,
        `return { success: false, message: ${literal} }`,
        `exit(500, ${literal})`,
        `try { db.select(${literal}) } catch {} try { http.get('__SRV__/' + ${literal}) } catch {} emit(${literal}, 1); return 1`,
        `require(${literal})`
      ].map(script => site.run(script))
    )
    for (const { error, logs, calls, report } of runs) {
      const texts = [
        error?.message,
        error?.excerpt,
        error?.stack,
        report.error?.message,
        ...logs.map(({ message }) => message)
      ]
      for (const { summary, error: failure } of calls) texts.push(summary, failure)
      for (const text of texts) expect(text ?? '').not.toMatch(UNSAFE)
    }
    expect(runs[0]?.logs[0]?.message).toContain(
      '\\u001b[2J\\u001b]0;pwn\\u0007\\u001b[31mred\\u009b31m \\u202eevil \\u2028'
    )
  })

  test('keeps its line feeds, tabs, joiners and every letter', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), text => {
        expect(visible(text)).not.toMatch(UNSAFE)
        expect(JSON.parse(visible(JSON.stringify(text)))).toBe(text)
      })
    )
    expect(visible('\u{e0000}\u{e0fff}\u2065\u3164')).toBe('\\udb40\\udc00\\udb43\\udfff\\u2065\\u3164')
    for (const text of ['辻\u{e0100}', '❤\ufe0f', 'a\n\tb', '订单 😀 👨‍👩‍👧 é ÿ', '\\u001b', 'می‌خواهم'])
      expect(visible(text)).toBe(text)
  })

  test('bnd-09 and bnd-11: any value is logged as readable text', async () => {
    const { logs, error } = await site.run(`
      log.info({toJSON(){return this}, get x(){throw new Proxy({}, {get(){for(;;);}})}})
      const o={};o.self=o;log.info(o)
      for (const v of [10n, Symbol("s"), ()=>1, new Map([[1,2]]), new Date(NaN), -0, NaN, undefined, null, new Proxy({}, { get() { throw 1 } }), Object.create(null), { toJSON: () => undefined }]) log.info('{}', v)
      log.info(Symbol('p'), 1); log.info(); log.info('{} {}', { get a() { throw 1 } }, 2)`)
    expect(error).toBeNull()
    expect(logs.map(({ message }) => message)).toEqual([
      ...[
        '[unserialisable]',
        '[unserialisable]',
        '10',
        'Symbol(s)',
        '[function]',
        '{}',
        'null',
        '0',
        'NaN',
        'undefined'
      ],
      ...['null', '[unserialisable]', '{}', 'null', 'Symbol(p)', 'undefined', '[unserialisable] 2']
    ])
  })

  test('fld-05: lines are cut inside the guest, counted, and a getter that logs does not get around it', async () => {
    const { logs, report } = await site.run(
      "log.info('x'.repeat(1e6)); for (let i = 0; i < 20; i++) log.info('{}', { get a() { log.info('inner'); return i } }); return 1",
      { hook: { limits: { logLines: 10 } } }
    )
    expect(logs).toHaveLength(10)
    expect(logs[0]?.message).toMatch(/^x{8192}… \(991808 more characters\)$/)
    expect(report.attempt.logsCut).toBe(16)
  })

  test('the log’s bytes are bytes', async () => {
    const { logs, report } = await site.run("for (let i = 0; i < 100; i++) log.info('单'.repeat(1000)); return 1", {
      hook: { limits: { logBytes: 30_000 } }
    })
    expect(logs).toHaveLength(10)
    expect(report.attempt.logsCut).toBe(90)
  })
})

describe('what comes in', () => {
  test('evt-01: a payload with names of the language is plain data', async () => {
    const payload = JSON.parse(
      '{"__proto__":{"polluted":1},"constructor":{"prototype":{"p":1}},"toJSON":"x","then":"y"}'
    )
    const { result, error } = await site.run(
      'return [({}).polluted ?? null, Object.getPrototypeOf(event)===Object.prototype, Object.getPrototypeOf(event.payload)===Object.prototype, Object.keys(event.payload), ({}).p ?? null]',
      { event: { eventKey: 'TEST', payload } }
    )
    expect(error).toBeNull()
    expect(result).toEqual([null, true, true, ['__proto__', 'constructor', 'toJSON', 'then'], null])
    expect(({} as Record<string, unknown>).polluted).toBeUndefined()
  })

  test('globals of a call cannot take a name of ours away', async () => {
    const { result } = await site.run('return [typeof db.select, path, body, header, param]', {
      request: {
        request: {},
        globals: { path: { db: 'x' }, param: {}, body: null, header: JSON.parse('{"__proto__":"h"}') }
      }
    })
    expect(result).toEqual(['function', { db: 'x' }, null, { ['__proto__']: 'h' }, {}])
  })

  test('res-06: a result with names of the language is plain data, and nothing of ours is changed by it', async () => {
    const { result } = await site.run(
      `return JSON.parse('{"__proto__":{"admin":true},"constructor":{"prototype":{"x":1}}}')`
    )
    expect(JSON.stringify(result)).toBe('{"__proto__":{"admin":true},"constructor":{"prototype":{"x":1}}}')
    expect(({} as Record<string, unknown>).admin).toBeUndefined()
  })
})

describe('the whole product', () => {
  test('log-05, env-04, log-02: answers are JSON as text, without secrets, and its own log has no forged line', async () => {
    const sandhook = await startSandhookProcess({
      DATABASE_URL: await freshSqlite(),
      SANDHOOK_RUNNERS: '1',
      SANDHOOK_LOG_LEVEL: 'debug'
    })
    onTestFinished(() => void sandhook.end('SIGKILL'))
    await sandhook.call('PUT', '/admin/v1/env/API_KEY', { value: SECRET, secret: true })
    const script = `log.info('<img src=x onerror=alert(1)>'); log.info(env.get('API_KEY')); log.info(${JSON.stringify(FORGERY)});
      if (payload.request.query.fine) return { key: env.get('API_KEY') }
      throw new Error('<script>alert(1)</script>' + env.get('API_KEY') + ${JSON.stringify(FORGERY)})`
    const hook = { path: '/custom/hostile', name: 'hostile', script, enabled: true, events: [] }
    const made = await sandhook.call('POST', '/admin/v1/hooks', hook)
    expect(made.status).toBe(201)

    const failed = await sandhook.call('GET', '/custom/hostile')
    expect(failed.body).toMatchObject({ status: 500, code: 'HOOK_THREW' })
    expect(failed.body.detail ?? failed.body.message).toContain('<script>alert(1)</script>***')
    const fine = await sandhook.call('GET', '/custom/hostile?fine=1')
    expect(fine.body).toEqual({ key: '***' })

    const list = await eventually(async () => {
      const { body } = await sandhook.call('GET', `/admin/v1/executions?hook=${made.body.id}`)
      return body.items.length === 2 && body
    })
    const shown = await Promise.all(
      list.items.map(async ({ id }: { id: string }) => {
        const response = await fetch(`${sandhook.url}/admin/v1/executions/${id}`, {
          headers: { authorization: `Bearer ${sandhook.token}` }
        })
        expect(response.headers.get('content-type')).toMatch(/^application\/json/)
        expect(response.headers.get('x-content-type-options')).toBe('nosniff')
        return response.json()
      })
    )
    expect(traces([failed.body, fine.body, list, shown])).toEqual([])
    const logs = shown.flatMap(({ history }) => history[0].logs.map(({ message }: { message: Json }) => message))
    expect(logs).toContain('<img src=x onerror=alert(1)>')
    for (const message of logs) expect(message).not.toMatch(UNSAFE)
    expect(sandhook.output()).not.toMatch(UNSAFE)
    expect(traces(sandhook.output())).toEqual([])
  })
})
