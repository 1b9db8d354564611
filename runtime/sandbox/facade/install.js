import { createCalls } from './calls.js'
import { capture } from './capture.js'
import { createDb } from './db.js'
import { createCrypto, createEnv, createReply, createRequire, createTelling, withhold } from './globals.js'
import { createHttp } from './http.js'
import { createLog } from './log.js'

// Evaluated inside every realm before a script: builds the globals that hooks/hook.d.ts documents. Nothing of the host
// leaves these closures; what decides anything is captured before the script runs (capture.js).
export function install(callHost, emitLog, settings) {
  const captured = capture()
  const { parse, toJson, apply, ownKeys, keys, define, isError, chain, text, AsyncFunction } = captured
  withhold()

  const calls = createCalls(captured, callHost)
  const { log, show, cut, missing } = createLog(captured, emitLog, settings)
  const values = { __proto__: null }
  const reply = createReply(captured, calls)
  const globals = {
    db: createDb(captured, calls),
    http: createHttp(captured, calls),
    log,
    env: createEnv(captured, values),
    crypto: createCrypto(captured, calls),
    ...createTelling(captured, calls),
    require: createRequire(captured, calls),
    response: reply.response,
    exit: reply.exitNow,
    HttpError: calls.HttpError
  }
  for (const name of keys(globals)) define(globalThis, name, globals[name])

  /** Room for what is around a result: its envelope, an answer's headers. */
  const AROUND = 4096
  /** The run's end as JSON (RunEnd in wire.ts), made member by member: no prototype has a say in it. */
  let outcome = '{"end":"pending"}'
  const oversized = length => {
    outcome = `{"end":"oversized","bytes":${length}}`
  }
  const settle = json => {
    if (json.length > settings.resultBytes + AROUND) oversized(json.length)
    else outcome = json
  }

  const textOf = (value, most) => toJson(cut(text.of(value), most))
  const describe = error => {
    if (!isError(error)) return `{"name":"Error","message":${textOf(show(error), 8000)},"code":"","stack":""}`
    const { name, message, code = '', stack } = error
    return `{"name":${textOf(name, 200)},"message":${textOf(message, 8000)},"code":${textOf(code, 200)},"stack":${textOf(stack, 16_000)}}`
  }
  const UNSHOWN = '{"name":"Error","message":"(the thrown value cannot be shown)","code":"","stack":""}'
  const fail = error => {
    if (reply.exit) return finish()
    let shown = UNSHOWN
    try {
      shown = describe(error)
    } catch {
      // Looking at it threw.
    }
    outcome = `{"end":"threw","error":${shown}}`
  }
  const finish = value => {
    try {
      const { answer } = reply
      if (typeof value === 'string' && value.length > settings.resultBytes + AROUND) return oversized(value.length)
      if (reply.exit) settle(toJson(reply.exit))
      else settle(`{"end":"returned","value":${toJson(value)}${answer ? `,"response":${toJson(answer)}` : ''}}`)
    } catch (error) {
      reply.exit = null
      fail(error)
    }
  }

  /** Starts the script; its outcome is there when the microtasks have run. */
  function start(script, input) {
    const { payload, env, globals: given } = parse(input)
    for (const key of ownKeys(env)) values[key] = env[key]
    for (const name of keys(given)) define(globalThis, name, given[name])
    define(globalThis, 'payload', payload)
    let body
    try {
      body = new AsyncFunction('payload', `${script}\n//# sourceURL=hook:script`)
    } catch (error) {
      outcome = `{"end":"syntax","message":${toJson(error.message)},"line":1,"column":1}`
      return
    }
    const run = apply(body, undefined, [payload])
    // Else `then` would ask the promise's constructor, and so the script, what to make.
    define(run, 'constructor', undefined)
    chain(run, finish, fail)
  }

  return { start, collect: () => outcome, logsCut: missing }
}
