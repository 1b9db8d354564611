/**
 * What a hook script may use: the whole contract between a script and Sandhook.
 *
 * A script is the body of a function. It is called with a `payload`; what it returns at the top level is its result.
 * It is plain JavaScript (ES2023) or TypeScript and written as if everything were synchronous: `db` and `http` wait for
 * their answer. `await` is allowed as well.
 *
 * ```js
 * const orderNo = payload.event.payload
 * const order = db.selectOne('SELECT uid, pay_price FROM eb_store_order WHERE order_id = ?', orderNo)
 * if (!order) return { success: false, message: `order ${orderNo} is not in the database` }
 * log.info('order {} was paid: {} fen', orderNo, order.pay_price)
 * return { success: true }
 * ```
 *
 * How a run ends:
 *
 * | the script                                             | the execution                                            |
 * |--------------------------------------------------------|----------------------------------------------------------|
 * | returns anything else than below, or nothing           | succeeded; its writes are committed                      |
 * | returns `{ success: false, message }`                  | retried after a rest that grows; its writes are committed |
 * | returns `{ success: false, retryAfterMs: 60000, … }`   | the same, but not before that many milliseconds          |
 * | returns `{ success: false, retry: false, message }`    | a dead letter at once; its writes are committed          |
 * | throws, or passes a limit                              | its writes are rolled back; retried                      |
 *
 * Without other settings it is tried 8 times within about five and a half hours; then it is a dead letter, which a person
 * may replay. Events of one order reach one hook one after the other. The same event may come more than once, and
 * different hooks do not wait for each other.
 *
 * All writes of a run are one transaction: they are committed together when the script returns, along with a marker that
 * keeps the same execution from being run again. HTTP calls cannot be rolled back: a retry sends them again.
 *
 * Limits of one run (defaults; a hook may lower them, an admin may raise them). Past one, the run ends with the error in
 * the right column, which the script cannot catch:
 *
 * | what                                                   | limit                         | error                 |
 * |--------------------------------------------------------|-------------------------------|-----------------------|
 * | wall clock, waiting included                           | 30 s                          | HOOK_TIMEOUT          |
 * | processor time                                         | 1 s                           | HOOK_CPU_LIMIT        |
 * | memory                                                 | 32 MB                         | HOOK_MEMORY_LIMIT     |
 * | `db` calls; rows and size of one result                | 100; 10 000 and 8 MB          | HOOK_DB_LIMIT         |
 * | `http` calls; body sent, body received by one of them  | 50; 1 MB, 5 MB                | HOOK_HTTP_LIMIT       |
 * | result                                                 | 256 KB of JSON                | HOOK_RESULT_LIMIT     |
 * | events and messages raised                             | 100, 1 MB in all              | HOOK_OUTPUT_LIMIT     |
 * | log                                                    | 1 000 lines, 256 KB           | none: the rest is cut |
 *
 * There is no `process`, no Node module, no timer, no dynamic `import`, no WebAssembly, SharedArrayBuffer, WeakRef,
 * FinalizationRegistry or Temporal. Nothing is kept from one run to the next.
 *
 * What is handed to a function below is copied at once: as its JSON, with an object's own members only. The functions
 * themselves cannot be changed. Values of secret env keys are masked (`***`) in logs, errors, stored calls, results and
 * answers over HTTP, also within JSON, addresses, HTML, hexadecimal and Base64; not if shorter than four characters, and
 * not when a script makes them unrecognisable on purpose.
 */

// biome-ignore-all lint/suspicious/noExplicitAny: rows and answers have the shape that a table or a partner gives them

/** What the script was called with. */
declare const payload: {
  /** The event that the hook handles; undefined when the hook is called over HTTP. */
  readonly event: HookEvent
  /** The HTTP request that the hook answers; undefined when it handles an event. */
  readonly request: HookRequest
}

/** Something that happened in the shop. */
interface HookEvent {
  /** Unique. The same event sent twice with one id is handled once. */
  readonly id: string
  /** For example `ORDER_PAY_SUCCESS`. */
  readonly eventKey: string
  /** Order events: the order number as text; refund events: the refund number; others: a number or an object. */
  readonly payload: any
  /** When it happened, in milliseconds since 1970. */
  readonly timestamp: number
  /** The merchant that it concerns; null: unknown, or the platform. */
  readonly merId: number | string | null
  /** Events with the same key reach one hook one after the other; null: in any order. */
  readonly key: string | null
  /** What the sender said beyond the payload: a message's body, what `emit` was given; undefined: nothing. */
  readonly data?: any
  /** 1 on the first try, 2 on the first retry, and so on. */
  readonly attempt: number
}

/** A call of the hook over HTTP. */
interface HookRequest {
  readonly method: string
  /** Without the query: `/custom/user/42`. */
  readonly path: string
  readonly query: Readonly<Record<string, string>>
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  /** Parsed when it is JSON or a form, else text; null without one. */
  readonly body: any
}

/** Only when called over HTTP: the path's variables. For a hook at `/custom/user/{id}`: `path.id`. */
declare const path: Readonly<Record<string, string>>

/** Only when called over HTTP: the query's and the form's fields: `param.page`. */
declare const param: Readonly<Record<string, string>>

/** Only when called over HTTP: the body, parsed when it is JSON, else text; null without one. */
declare const body: any

/** Only when called over HTTP: the request's headers, names in lower case: `header['user-agent']`. */
declare const header: Readonly<Record<string, string>>

/** When called over HTTP: the answer, where it should be another than the returned value as JSON with status 200. */
declare const response: {
  /** Answers with this value as JSON, unwrapped. The script goes on; what it returns is then only recorded. */
  json(value: unknown): typeof response
  /** Sets a header of the answer. */
  setHeader(name: string, value: string): typeof response
  /** Sets the status, 200 to 599: `response.status(201)`. */
  status(code: number): typeof response
}

/**
 * Ends the script at once, from however deep. Over HTTP the answer has this status (200 to 599) and message. For an event
 * it is a failure, which is retried, unless the code is below 400.
 *
 * ```js
 * if (!param.id) exit(400, 'id is missing')
 * ```
 */
declare function exit(code: number, message?: string): never

/** A row as a plain object, by column name. Of two columns with one name the later one wins: name them with AS. */
type Row = Record<string, any>

/**
 * `undefined` is sent as NULL, a Date as its local `YYYY-MM-DD HH:mm:ss`, `true` and `false` as 1 and 0, an object as its
 * JSON text. NaN, Infinity and invalid Dates are refused (`ARGUMENT_INVALID`), as are more than 65 535 in one statement.
 */
type Param = string | number | bigint | boolean | object | null | undefined

/**
 * The shop's database. One statement per call: SELECT, INSERT, UPDATE, DELETE or REPLACE, in MySQL's dialect.
 *
 * Values go in as parameters, one for each `?`; a single array stands for all of them. Never put them into the text.
 *
 * ```js
 * db.select('SELECT * FROM eb_store_order WHERE uid = ? AND status = ?', uid, 1)
 * db.select('SELECT * FROM eb_store_order WHERE uid = ? AND status = ?', [uid, 1])
 * ```
 *
 * What comes back: numbers as numbers; integers beyond 2^53, and DECIMALs that a number cannot hold exactly, as text;
 * dates and times as text, `YYYY-MM-DD HH:mm:ss`; JSON columns as text (use JSON.parse); binary columns as Base64 text.
 *
 * Reads before the first write run outside any transaction; the first write, `FOR UPDATE` or `transaction` opens the run's.
 * It holds its locks until the script ends: make HTTP calls before writing where you can.
 *
 * Errors that a script may catch: `DB_ERROR` (with `errno` and `sqlState`: 1062 for a duplicate key), `DB_DENIED`
 * (a statement that scripts may not use), `ARGUMENT_INVALID`. A deadlock or a lost connection ends the run, which is
 * started again without using up an attempt.
 */
declare const db: {
  /** All rows; an empty array when there are none. */
  select<T extends object = Row>(sql: string, ...params: Param[] | [Param[]]): T[]
  /** The first row, or null. */
  selectOne<T extends object = Row>(sql: string, ...params: Param[] | [Param[]]): T | null
  /** The first column of the first row, or null. */
  selectValue<T = any>(sql: string, ...params: Param[] | [Param[]]): T | null
  /** The first column of the first row as a whole number (a fraction is cut off), or null. */
  selectInt(sql: string, ...params: Param[] | [Param[]]): number | null
  /** The new row's id; for a table without automatic ids the number of rows written. */
  insert(sql: string, ...params: Param[] | [Param[]]): number | string
  /** How many rows the condition met, changed or not. */
  update(sql: string, ...params: Param[] | [Param[]]): number
  /** How many rows were deleted. */
  delete(sql: string, ...params: Param[] | [Param[]]): number
  /**
   * Runs one statement once for each row of parameters (100 000 at most), and gives the rows affected in all.
   *
   * ```js
   * db.batch('UPDATE eb_store_order SET status = ? WHERE order_id = ?', [[1, 'A1'], [1, 'A2']])
   * ```
   */
  batch(sql: string, rows: Param[][]): number
  /**
   * One page of a SELECT without LIMIT: `page` counts from 1 (default 1), `size` is 10 unless given; `total` counts the rows
   * of all pages.
   *
   * ```js
   * const { total, list } = db.page('SELECT * FROM eb_user WHERE status = ?', { page: 2, size: 20 }, 1)
   * ```
   */
  page<T extends object = Row>(
    sql: string,
    window: { page?: number; size?: number },
    ...params: Param[] | [Param[]]
  ): { total: number; list: T[] }
  /**
   * Calls `fn` and gives what it returns. If it throws, what it wrote is undone (a savepoint in the run's transaction), and
   * the error goes on: caught, the run continues with what was written before. Locks taken inside stay until the end.
   *
   * ```js
   * db.transaction(() => {
   *   const user = db.selectOne('SELECT brokerage_price FROM eb_user WHERE uid = ? FOR UPDATE', uid)
   *   db.update('UPDATE eb_user SET brokerage_price = ? WHERE uid = ?', user.brokerage_price + 100, uid)
   * })
   * ```
   */
  transaction<T>(fn: () => T): T
}

/** How a request is sent. */
interface HttpOptions {
  /** `{ Authorization: 'Bearer …' }`. Content-Type follows from the body unless it is given. */
  headers?: Record<string, string>
  /** Appended to the address, encoded: `{ page: 1, q: 'a b' }`. */
  query?: Record<string, string | number | boolean | null | undefined>
  /** An object or array is sent as JSON, text as it is. */
  body?: unknown
  /** Sent as application/x-www-form-urlencoded, instead of `body`. */
  form?: Record<string, string | number | boolean | null | undefined>
  /** Milliseconds from the start to the last byte of the answer; default 10 000. */
  timeout?: number
  /**
   * Default: parsed when the answer is JSON, else text. `json` throws for an answer that is none; `base64` is for binary
   * answers. Whole numbers beyond 2^53 in JSON stay text.
   */
  responseType?: 'json' | 'text' | 'base64'
  /** false: a status of 400 and more is an answer like any other. Default true: it throws HttpError. */
  throwOnError?: boolean
  /**
   * What to do when the server takes no more calls now: its limits in `config/targets.json` are reached, or it has failed
   * so often in a row that it is left alone for a while. `queue`: this run is put off until there is room, which costs
   * it no attempt. `throw`: HttpError `HTTP_FULL` with `retryAfterMs`; a run that then fails, by throwing or in its own
   * words, is put off as well. Default: as the server's `full` says there; for any other server `throw`.
   */
  whenFull?: 'queue' | 'throw'
}

/** What a server answered. */
interface HttpAnswer {
  readonly status: number
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  /** Parsed when it is JSON, else text. */
  readonly body: any
}

/**
 * Calls to partners, over http and https. The plain methods give the answer's body.
 *
 * Every call that can change something (all but GET) carries the header `Idempotency-Key`, unless `headers` has one: the
 * execution's id and the call's number in the run. It is the same when the execution is tried again, so that a partner
 * that honours it does nothing twice. A script that leaves calls out when it is tried again (because it noted that they
 * were done) numbers the rest differently: let it send a key of its own, made of what is asked for. Up to five redirects
 * are followed.
 *
 * Errors that a script may catch (see HttpError): `HTTP_ERROR` (a status of 400 and more; or no connection or no valid
 * answer, and then whether the call took effect is unknown), `HTTP_TIMEOUT`, `HTTP_DENIED` (an address that scripts may
 * not reach), `ARGUMENT_INVALID`. Many partners report a failure with status 200: look into the answer.
 *
 * ```js
 * const answer = http.post(env.get('ERP_API_URL') + '/order/create', {
 *   headers: { Authorization: 'Bearer ' + env.get('ERP_API_KEY') },
 *   body: { sourceOrderNo: orderNo },
 *   timeout: 5000
 * })
 * if (answer.code !== 0) return { success: false, message: answer.message }
 * ```
 */
declare const http: {
  get(url: string, options?: HttpOptions): any
  post(url: string, options?: HttpOptions): any
  put(url: string, options?: HttpOptions): any
  patch(url: string, options?: HttpOptions): any
  delete(url: string, options?: HttpOptions): any
  /** The whole answer: `http.request({ method: 'GET', url, throwOnError: false }).status`. The method is GET by default. */
  request(options: HttpOptions & { method?: string; url: string }): HttpAnswer
}

/**
 * Raises an event, which goes to the hooks that subscribe to its key as if it had come from outside. It is raised once the
 * script has returned and its writes are committed; a run that fails raises nothing.
 *
 * A repeated run raises the same event, not another one. `id` says more: of all events with the same id one is accepted,
 * whoever raises it. `key`: events with the same key reach one hook one after the other; default: the payload. `data` is
 * kept beside the payload as `payload.event.data`. Hooks may raise events for hooks eight times in a row.
 *
 * ```js
 * emit('PURCHASE_REVERSE_REFUNDED', refundNo, { id: 'purchase:' + refundNo, data: body })
 * ```
 */
declare function emit(
  eventKey: string,
  payload: unknown,
  options?: { id?: string; key?: string; merId?: number | string; data?: unknown }
): { id: string }

/**
 * Messages to RabbitMQ, for the platform's hooks only: sent once the script has returned and its writes are committed: at least once each, persistent
 * and confirmed by the broker. A run that fails sends nothing. The exchange is `amq.topic` unless `exchange` names another.
 *
 * ```js
 * mq.publish('erp.updateInvoicePdfUrl', { orderCode: orderNo, pdfUrl: url })
 * ```
 */
declare const mq: {
  publish(
    routingKey: string,
    body: unknown,
    options?: { exchange?: string; headers?: Record<string, string | number | boolean> }
  ): { id: string }
}

/**
 * Lines that are kept with the run and shown beside it. Each `{}` takes the next argument; objects are printed as JSON; an
 * Error at the end prints its stack; what cannot be printed is `[unserialisable]`. A line is cut after 8 192 characters.
 * Control characters, and those that change the direction of text, are kept spelled out, as `\u001b`.
 *
 * ```js
 * log.info('order {} sent, answer {}', orderNo, answer)
 * ```
 */
declare const log: {
  debug(format: unknown, ...args: unknown[]): void
  info(format: unknown, ...args: unknown[]): void
  warn(format: unknown, ...args: unknown[]): void
  error(format: unknown, ...args: unknown[]): void
}

/** Settings of the merchant or the platform: addresses, keys. Only those that the hook was granted are seen. */
declare const env: {
  /** The value as text; without one `fallback`, or null. */
  get(key: string): string | null
  get(key: string, fallback: string): string
  has(key: string): boolean
}

/** How a digest is written; `hex`, in lower case, unless given. */
type DigestEncoding = 'hex' | 'base64' | 'base64url'

/**
 * What partners' signatures need. Text is taken as UTF-8. Of a digest the key comes first, then what is signed.
 * Errors: `ARGUMENT_INVALID` for an unknown encoding or a size out of range.
 *
 * ```js
 * const sign = crypto.md5('a=1&b=2&key=' + env.get('PARTNER_SECRET')).toUpperCase()
 * const seal = crypto.hmacSha256(env.get('PARTNER_SECRET'), `${timestamp}.${text}`, 'base64')
 * ```
 */
declare const crypto: {
  md5(text: string, encoding?: DigestEncoding): string
  sha1(text: string, encoding?: DigestEncoding): string
  sha256(text: string, encoding?: DigestEncoding): string
  /** The key is text unless `keyEncoding` says how its bytes are written: for signatures made in a chain. */
  hmacMd5(key: string, text: string, encoding?: DigestEncoding, keyEncoding?: 'utf8' | DigestEncoding): string
  hmacSha1(key: string, text: string, encoding?: DigestEncoding, keyEncoding?: 'utf8' | DigestEncoding): string
  hmacSha256(key: string, text: string, encoding?: DigestEncoding, keyEncoding?: 'utf8' | DigestEncoding): string
  base64Encode(text: string): string
  /** Characters that are not Base64 are skipped. */
  base64Decode(base64: string): string
  /** A random version 4 UUID. */
  uuid(): string
  /** So many random bytes, 1 to 1024, as twice as many hexadecimal digits. */
  randomHex(bytes: number): string
}

/**
 * A library script of the same owner or of the platform, by its path; nothing else can be required. A library sees the same
 * globals, sets `exports` or `module.exports`, and is evaluated once in a run. Errors: `LIBRARY_MISSING`.
 *
 * ```js
 * const money = require('/lib/money')
 * money.format(12345) // '¥123.45'
 * ```
 */
declare function require(path: `/lib/${string}`): any

/** In a library: what `require` gives. */
declare let exports: any
declare const module: { exports: any }

/**
 * What a call of `db`, `http`, `crypto` or `require` throws. Uncaught, it ends the run, which is retried. Its `name` is
 * `DbError`, `HttpError` or another.
 */
interface HostError extends Error {
  /** What went wrong, by name: `DB_ERROR`, `HTTP_TIMEOUT`, … */
  readonly code: string
  /** With `DB_ERROR`: the database's own number and state. */
  readonly errno?: number
  readonly sqlState?: string
}

/**
 * What `http` throws: for a status of 400 and more with the answer in it, else without.
 *
 * ```js
 * try {
 *   http.delete(url)
 * } catch (error) {
 *   if (error.status !== 404) throw error
 * }
 * ```
 */
interface HttpError extends HostError {
  readonly name: 'HttpError'
  readonly code: 'HTTP_ERROR' | 'HTTP_TIMEOUT' | 'HTTP_DENIED' | 'HTTP_FULL'
  /** With `HTTP_FULL`: when there will be room, in milliseconds from now. */
  readonly retryAfterMs?: number
  /** With `HTTP_FULL`: whether the server is left alone because it has failed. */
  readonly resting?: boolean
  /** Without an answer: the cause's own name, `ECONNREFUSED` for one. */
  readonly reason?: string
  /** None when the server could not be reached, or gave no valid answer. */
  readonly status?: number
  /** Names in lower case. */
  readonly headers?: Readonly<Record<string, string>>
  /** Parsed when it is JSON, else text. */
  readonly body?: any
}
