// How scripts get their functions, and how those reach the host: arguments leave as JSON text made inside the realm,
// answers come back as JSON text, errors are built here.
export function createCalls(captured, callHost) {
  const { method, apply, parse, toJson, keys, freeze, define, own, captureStackTrace, text } = captured
  const applySyncPromise = method(callHost.applySyncPromise)

  class HostError extends Error {}
  class HttpError extends HostError {}
  define(HttpError.prototype, 'name', 'HttpError')
  // Else a script could put a constructor of its own beneath them.
  freeze(HostError)
  freeze(HttpError)

  /** A failure on its way out of the facade; scripts never see one. */
  class Failure {
    #error
    constructor(error) {
      this.#error = error
    }
    /** What the failure is about; null when something else was thrown. */
    static of(thrown) {
      return typeof thrown === 'object' && thrown !== null && #error in thrown ? thrown.#error : null
    }
  }

  function toError({ code, name, message, data }) {
    const error = name === 'HttpError' ? new HttpError(message) : new HostError(message)
    if (name !== 'HttpError') define(error, 'name', name)
    define(error, 'code', code, true)
    const names = data ? keys(data) : []
    for (let i = 0; i < names.length; i++) define(error, names[i], data[names[i]], true)
    return error
  }

  /** What called the script is at the end of every stack. */
  function withoutOurs(error) {
    const { stack } = error
    const from = typeof stack === 'string' ? text.indexOf(stack, '\n    at start (facade') : -1
    if (from >= 0) define(error, 'stack', text.slice(stack, 0, from))
    return error
  }

  /**
   * A function as scripts get it: it ignores its receiver, refuses `new`, and the stack of its errors begins with the
   * script's own line.
   */
  const expose = work => {
    const exposed = (...args) => {
      try {
        return apply(work, undefined, args)
      } catch (thrown) {
        const failure = Failure.of(thrown)
        if (failure === null) throw thrown
        const error = toError(failure)
        captureStackTrace(error, exposed)
        throw withoutOurs(error)
      }
    }
    return freeze(exposed)
  }

  /** The functions of a global such as `db`, exposed; nothing can be changed in it. */
  const exposeAll = functions => {
    for (const name of keys(functions)) functions[name] = expose(functions[name])
    return freeze(functions)
  }

  const failure = (code, name, message, data) => new Failure({ code, name, message, data })
  const invalid = message => failure('ARGUMENT_INVALID', 'TypeError', message)

  /** The value of an answer: `{ value }` or `{ error }` as JSON. */
  const answerOf = json => {
    const answer = parse(json)
    const error = own(answer, 'error')
    if (error === undefined) return own(answer, 'value')
    throw failure(error.code, error.name, error.message, own(error, 'data'))
  }

  /** Blocks until the host has answered. `args`: a JSON array as text. */
  const ask = (name, args) => answerOf(applySyncPromise(callHost, undefined, [name, args]))

  /** A text argument as JSON; anything else is refused, so that nothing decides anew what it is each time it is read. */
  const textJson = (what, value) => {
    if (typeof value === 'string') return toJson(value)
    throw invalid(`${what} must be a text, not ${value === null ? 'null' : `a value of type ${typeof value}`}.`)
  }

  return { ask, expose, exposeAll, failure, invalid, textJson, HttpError, HostError }
}
