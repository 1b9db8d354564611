import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { type AddressInfo, createServer as createTcpServer, type Socket, type Server as TcpServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { brotliCompressSync, constants, createGzip, deflateRawSync, deflateSync, gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { RuntimeError } from '../../runtime/errors.ts'
import { createAddressGuard } from '../../runtime/host/address-guard.ts'
import { createHttpClient, type HttpClient, type Resolve } from '../../runtime/host/http-client.ts'

const LIMIT = 1_000_000

let servers: TcpServer[] = []
let clients: HttpClient[] = []

beforeEach(() => {
  servers = []
  clients = []
})

/** Every client must give up all its connections, or the servers would never finish closing. */
afterEach(async () => {
  await Promise.all(clients.map(client => client.close()))
  for (const server of servers) if ('closeIdleConnections' in server) (server as Server).closeIdleConnections()
  await Promise.all(servers.map(server => new Promise(closed => server.close(closed))))
})

async function listening<S extends TcpServer>(server: S, address = '127.0.0.1', port = 0): Promise<number> {
  servers.push(server)
  server.listen(port, address)
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** A local server and a client that may reach it, and nothing else on this machine. */
async function serve(handler: RequestListener, resolve?: Resolve) {
  const seen: { method: string; url: string; headers: IncomingMessage['headers']; body: string }[] = []
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const { method = '', url = '', headers } = request
    seen.push({ method, url, headers, body: Buffer.concat(chunks).toString() })
    handler(request, response)
  })
  const port = await listening(server)
  return { server, seen, port, origin: `http://127.0.0.1:${port}`, ...clientFor([`127.0.0.1:${port}`], resolve) }
}

function clientFor(allow: string[], resolve?: Resolve) {
  const client = createHttpClient({ guard: createAddressGuard(allow), ...(resolve && { resolve }) })
  clients.push(client)
  const send = (
    url: string,
    more: Partial<Parameters<HttpClient['send']>[0] & Parameters<HttpClient['send']>[1]> = {}
  ) => {
    const { method = 'GET', headers = {}, body = null, timeoutMs = 5000 } = more
    const { maxSentBytes = LIMIT, maxReceivedBytes = LIMIT, signal = new AbortController().signal } = more
    return client.send({ method, url, headers, body, timeoutMs }, { maxSentBytes, maxReceivedBytes, signal })
  }
  return { client, send }
}

/** A server below HTTP: it answers each connection with these bytes, then does `then` with the socket. */
async function serveRaw(bytes: string, then: (socket: Socket) => void = () => {}) {
  const server = createTcpServer(socket => {
    socket.on('error', () => {})
    socket.once('data', () => socket.write(bytes, 'latin1', () => then(socket)))
  })
  const port = await listening(server)
  return { server, origin: `http://127.0.0.1:${port}`, ...clientFor([`127.0.0.1:${port}`]) }
}

/** Settles when the first connection to the server has ended, in whatever way. */
const connectionClosed = (server: TcpServer) =>
  new Promise(closed => server.once('connection', socket => socket.once('close', closed)))

const failure = async (sent: Promise<unknown>): Promise<RuntimeError> =>
  sent.then(
    () => expect.fail('the request succeeded'),
    error => error
  )

const redirect = (response: ServerResponse, status: number, location: string) =>
  response.writeHead(status, { location }).end('elsewhere')

describe('an answer', () => {
  test('comes with status, headers and bytes, whatever the status', async () => {
    const { origin, send } = await serve((_request, response) => {
      response.writeHead(418, { 'X-Kind': 'teapot', 'set-cookie': ['a=1', 'b=2'] }).end('{"name":"Grüße 订单"}')
    })
    const answer = await send(`${origin}/orders?id=1`)
    expect(answer.status).toBe(418)
    expect(answer.headers).toMatchObject({ 'x-kind': 'teapot', 'set-cookie': 'a=1, b=2' })
    expect(JSON.parse(answer.body.toString())).toEqual({ name: 'Grüße 订单' })
  })

  test('keeps bytes that are no UTF-8', async () => {
    const bytes = Buffer.from([0, 0xff, 0xfe, 0x80, 0, 0xc3])
    const { origin, send } = await serve((_request, response) => response.end(bytes))
    expect((await send(origin)).body).toEqual(bytes)
  })

  test('may be empty', async () => {
    const { origin, send } = await serve((_request, response) =>
      response.writeHead(204, { 'content-encoding': 'gzip' }).end()
    )
    expect(await send(origin)).toMatchObject({ status: 204, body: Buffer.alloc(0) })
    expect(await send(origin, { method: 'HEAD' })).toMatchObject({ status: 204, body: Buffer.alloc(0) })
  })

  test('with a header called __proto__ pollutes nothing', async () => {
    const { origin, send } = await serveRaw(
      'HTTP/1.1 200 OK\r\n__proto__: polluted\r\nconstructor: x\r\ncontent-length: 0\r\n\r\n'
    )
    const { headers } = await send(origin)
    expect(Object.getPrototypeOf(headers)).toBe(Object.prototype)
    expect(Object.entries(headers)).toContainEqual(['__proto__', 'polluted'])
  })

  test.each([
    ['gzip', gzipSync],
    ['x-gzip', gzipSync],
    ['GZIP', gzipSync],
    ['br', brotliCompressSync],
    ['deflate', deflateSync],
    ['deflate', deflateRawSync],
    ['identity', (text: string) => Buffer.from(text)]
  ])('in %s is decoded', async (coding, encode) => {
    const { origin, send, seen } = await serve((_request, response) => {
      response.writeHead(200, { 'content-encoding': coding }).end(encode('order '.repeat(1000)))
    })
    expect((await send(origin)).body.toString()).toBe('order '.repeat(1000))
    expect(seen[0]?.headers['accept-encoding']).toBe('gzip, deflate, br')
  })

  test.each(['gzip, gzip', 'gzip, br, gzip', 'zstd', 'compress'])('in "%s" is refused', async coding => {
    const { origin, send } = await serve((_request, response) => {
      response.writeHead(200, { 'content-encoding': coding }).end(gzipSync(gzipSync('x')))
    })
    expect(await failure(send(origin))).toMatchObject({
      code: 'HTTP_ERROR',
      message: expect.stringMatching(/content-encoding/)
    })
  })

  test.each([
    ['no gzip at all', Buffer.from('plain text')],
    ['cut short', gzipSync('order '.repeat(1000)).subarray(0, 20)]
  ])('whose gzip is %s is an error', async (_what, bytes) => {
    const { origin, send } = await serve((_request, response) => {
      response.writeHead(200, { 'content-encoding': 'gzip' }).end(bytes)
    })
    expect(await failure(send(origin))).toMatchObject({ code: 'HTTP_ERROR', message: expect.stringMatching(/damaged/) })
  })
})

describe('a request', () => {
  test('carries method, path, headers and body', async () => {
    const { origin, send, seen } = await serve((_request, response) => response.end())
    await send(`${origin}/a b?q=1#part`, {
      method: 'post',
      headers: { 'X-Sign': 'abc', 'Content-Type': 'text/plain' },
      body: '订单'
    })
    expect(seen).toMatchObject([{ method: 'POST', url: '/a%20b?q=1', body: '订单' }])
    expect(seen[0]?.headers).toMatchObject({ 'x-sign': 'abc', 'content-type': 'text/plain', 'content-length': '6' })
  })

  test.each([
    ['x-a', '1\r\nx-evil: 2'],
    ['x-a', '1\nx-evil: 2'],
    ['x-a', 'a\0b'],
    ['x-a', '订单'],
    ['x a\n', '1'],
    ['x:a', '1'],
    ['', '1']
  ])('with the header %j: %j is refused', async (name, value) => {
    const { origin, send, seen } = await serve((_request, response) => response.end())
    expect(await failure(send(origin, { headers: { [name]: value } }))).toMatchObject({ code: 'ARGUMENT_INVALID' })
    expect(seen).toEqual([])
  })

  test.each([
    'Host',
    'Content-Length',
    'transfer-encoding',
    'CONNECTION',
    'Keep-Alive',
    'Upgrade',
    'TE',
    'Trailer',
    'Expect',
    'Proxy-Authorization',
    'proxy-connection'
  ])('may not set %s', async name => {
    const { origin, send, seen } = await serve((_request, response) => response.end())
    const error = await failure(send(origin, { headers: { [name]: '1' } }))
    expect(error).toMatchObject({ code: 'HTTP_DENIED', message: expect.stringContaining(name) })
    expect(seen).toEqual([])
  })

  test('may not give a header twice, nor too many', async () => {
    const { origin, send } = await serve((_request, response) => response.end())
    expect(await failure(send(origin, { headers: { 'X-A': '1', 'x-a': '2' } }))).toMatchObject({
      code: 'ARGUMENT_INVALID'
    })
    const flood = Object.fromEntries(Array.from({ length: 5000 }, (_, index) => [`x${index}`, 'v'.repeat(100)]))
    expect(await failure(send(origin, { headers: flood }))).toMatchObject({ code: 'ARGUMENT_INVALID' })
  })

  test.each(['CONNECT', 'TRACE', 'TRACK', '', 'GET /x HTTP/1.1\r\nA: b', 'constructor'])(
    'may not have the method %j',
    async method => {
      const { origin, send, seen } = await serve((_request, response) => response.end())
      expect(await failure(send(origin, { method }))).toMatchObject({ code: 'HTTP_DENIED' })
      expect(seen).toEqual([])
    }
  )

  test.each([
    ['not an address', 'ARGUMENT_INVALID'],
    ['', 'ARGUMENT_INVALID'],
    ['http://', 'ARGUMENT_INVALID'],
    ['http://example.com:65536/', 'ARGUMENT_INVALID'],
    [`http://example.com/${'a'.repeat(8192)}`, 'ARGUMENT_INVALID'],
    ['http://example.com:0/', 'HTTP_DENIED'],
    ['http://user@example.com/', 'HTTP_DENIED'],
    ['http://allowed.example@127.0.0.1/', 'HTTP_DENIED'],
    ['ftp://example.com/', 'HTTP_DENIED'],
    ['file:///etc/passwd', 'HTTP_DENIED'],
    ['data:text/plain,x', 'HTTP_DENIED'],
    ['javascript:1', 'HTTP_DENIED']
  ])('to %j is refused as %s', async (url, code) => {
    expect(await failure(clientFor([]).send(url))).toMatchObject({ code })
  })

  test('whose address holds line breaks sends exactly one request', async () => {
    const { origin, send, seen } = await serve((_request, response) => response.end())
    await send(`${origin}/a b\r\nX: 1`)
    expect(seen).toHaveLength(1)
    expect(seen[0]?.headers).not.toHaveProperty('x')
  })

  test('with too large a body is refused with the numbers, and without the query', async () => {
    const { origin, send, seen, port } = await serve((_request, response) => response.end())
    const error = await failure(
      send(`${origin}/?key=secret`, { method: 'POST', body: 'é'.repeat(6), maxSentBytes: 11 })
    )
    expect(error.code).toBe('HOOK_HTTP_LIMIT')
    expect(error.message).toBe(
      `POST 127.0.0.1:${port}: the body has 12 bytes, above the limit of 11; send less at a time`
    )
    expect(seen).toEqual([])
    expect((await send(origin, { method: 'POST', body: 'é'.repeat(6), maxSentBytes: 12 })).status).toBe(200)
  })
})

describe('the guard', () => {
  /** Forms that all mean this machine or its neighbours; `PORT` is where a canary listens. */
  const FORMS = [
    'http://127.0.0.1:PORT/',
    'http://localhost:PORT/',
    'http://2130706433:PORT/',
    'http://0x7f000001:PORT/',
    'http://0177.0.0.1:PORT/',
    'http://127.1:PORT/',
    'http://0:PORT/',
    'http://0.0.0.0:PORT/',
    'http://127.0.0.1.:PORT/',
    'http://127。0。0。1:PORT/',
    'http://①②⑦.0.0.1:PORT/',
    'http://[::1]:PORT/',
    'http://[::]:PORT/',
    'http://[::127.0.0.1]:PORT/',
    'http://[::ffff:127.0.0.1]:PORT/',
    'http://[0:0:0:0:0:ffff:7f00:1]:PORT/',
    'http://[64:ff9b::7f00:1]:PORT/',
    'http://[2002:7f00:1::]:PORT/',
    'http:\\\\127.0.0.1:PORT\\',
    'http://169.254.169.254/latest/meta-data/iam/',
    'http://0xA9FEA9FE/',
    'http://[fd00:ec2::254]/'
  ]
  test.each(FORMS)('keeps %s from being reached', async form => {
    const canary = createTcpServer()
    let reached = 0
    canary.on('connection', socket => {
      reached++
      socket.destroy()
    })
    const port = await listening(canary)
    const error = await failure(clientFor([`127.0.0.1:${port + 1}`]).send(form.replace('PORT', String(port))))
    expect(error).toMatchObject({ code: 'HTTP_DENIED', message: expect.stringContaining('SANDHOOK_HTTP_ALLOW') })
    expect(reached).toBe(0)
  })

  test('looks a name up once a connection, and connects to what it has checked', async () => {
    const canary = createServer((_request, response) => response.end('canary'))
    const server = createServer((_request, response) => response.writeHead(200, { connection: 'close' }).end('good'))
    // 127.0.0.2 stands for a public address: it is the only one that the guard lets through.
    const port = await listening(server, '127.0.0.2')
    await listening(canary, '127.0.0.1', port)
    let reached = 0
    canary.on('connection', () => reached++)
    const answers = ['127.0.0.2', '127.0.0.1']
    let asked = 0
    const resolve: Resolve = async () => [{ address: answers[asked++] ?? '127.0.0.1', family: 4 }]
    const { send } = clientFor(['127.0.0.2'], resolve)

    expect((await send(`http://rebind.test:${port}/`)).body.toString()).toBe('good')
    expect(asked).toBe(1)
    expect(await failure(send(`http://rebind.test:${port}/`))).toMatchObject({ code: 'HTTP_DENIED' })
    expect(asked).toBe(2)
    expect(reached).toBe(0)
  })

  test('keeps using open connections: it looks up once for each of them, not for each request', async () => {
    let asked = 0
    const resolve: Resolve = async () => {
      asked++
      return [{ address: '127.0.0.1', family: 4 }]
    }
    const { port, send, seen, server } = await serve((_request, response) => response.end(), resolve)
    let connections = 0
    server.on('connection', () => connections++)
    for (let count = 0; count < 10; count++) await send(`http://shop.test:${port}/`)
    expect(seen).toHaveLength(10)
    expect(seen[9]?.headers.host).toBe(`shop.test:${port}`)
    expect(asked).toBe(connections)
    expect(asked).toBeLessThan(10)
  })

  test('refuses a name as soon as one of its addresses is refused', async () => {
    const { port, send, seen } = await serve(
      (_request, response) => response.end(),
      async () => [
        { address: '127.0.0.1', family: 4 },
        { address: '10.0.0.1', family: 4 }
      ]
    )
    expect(await failure(send(`http://mixed.test:${port}/`))).toMatchObject({ code: 'HTTP_DENIED' })
    expect(seen).toEqual([])
  })

  test('tells each of several waiting callers about its own request', async () => {
    const { send } = clientFor([], async () => [{ address: '10.0.0.1', family: 4 }])
    const errors = await Promise.all(['GET', 'POST'].map(method => failure(send('http://shop.test/', { method }))))
    expect(errors.map(error => error.message.split(':')[0])).toEqual(['GET shop.test', 'POST shop.test'])
  })
})

describe('a redirect', () => {
  test.each([
    [301, 'GET', 'GET', ''],
    [302, 'GET', 'GET', ''],
    [303, 'GET', 'GET', ''],
    [307, 'GET', 'GET', ''],
    [308, 'GET', 'GET', ''],
    [301, 'HEAD', 'HEAD', ''],
    [303, 'HEAD', 'HEAD', ''],
    [301, 'POST', 'GET', ''],
    [302, 'POST', 'GET', ''],
    [303, 'POST', 'GET', ''],
    [307, 'POST', 'POST', 'order'],
    [308, 'POST', 'POST', 'order'],
    [302, 'PUT', 'PUT', 'order'],
    [303, 'DELETE', 'GET', '']
  ])('%i after %s is followed by %s', async (status, method, expected, body) => {
    const { origin, send, seen } = await serve((request, response) => {
      if (request.url === '/old') redirect(response, status, '/new?x=1')
      else response.end('arrived')
    })
    const given = method === 'GET' || method === 'HEAD' ? null : 'order'
    const answer = await send(`${origin}/old`, {
      method,
      body: given,
      headers: { 'content-type': 'text/plain', authorization: 'x' }
    })
    expect(answer.status).toBe(200)
    expect(seen).toMatchObject([
      { method },
      { method: expected, url: '/new?x=1', body, headers: { authorization: 'x' } }
    ])
    expect('content-type' in (seen[1]?.headers ?? {})).toBe(method === expected)
  })

  test.each([
    [300, 'there'],
    [304, 'there'],
    [302, undefined]
  ])('status %i with location %s is handed over as it is', async (status, location) => {
    const { origin, send } = await serve((_request, response) =>
      response.writeHead(status, location ? { location } : {}).end()
    )
    expect(await send(origin)).toMatchObject({ status })
  })

  test('loop ends after five', async () => {
    const { origin, send, seen } = await serve((_request, response) => redirect(response, 302, '/again'))
    expect(await failure(send(origin))).toMatchObject({
      code: 'HTTP_ERROR',
      message: expect.stringMatching(/more than 5 redirects/)
    })
    expect(seen).toHaveLength(6)
  })

  test('to another origin leaves credentials behind, for good', async () => {
    const other = await serve((_request, response) => redirect(response, 307, `${first.origin}/back`))
    const first = await serve((request, response) => {
      if (request.url === '/back') response.end()
      else redirect(response, 307, other.origin)
    })
    const { send } = clientFor(['127.0.0.1'])
    const secrets = ['Authorization', 'Cookie', 'X-Api-Key', 'X-Auth-Token', 'X-Sign', 'App-Secret', 'Idempotency-Key']
    const headers = Object.fromEntries([
      ...secrets.map(name => [name, 's']),
      ['X-Trace', 'kept'],
      ['content-type', 'text/plain']
    ])
    await send(first.origin, { method: 'POST', headers, body: 'order' })
    expect(other.seen).toMatchObject([
      { method: 'POST', body: 'order', headers: { 'x-trace': 'kept', 'content-type': 'text/plain' } }
    ])
    for (const name of secrets) {
      expect(first.seen[0]?.headers).toHaveProperty(name.toLowerCase())
      expect(other.seen[0]?.headers).not.toHaveProperty(name.toLowerCase())
      expect(first.seen[1]?.headers).not.toHaveProperty(name.toLowerCase())
    }
  })

  test.each([
    ['http://169.254.169.254/', 'HTTP_DENIED'],
    ['http://localhost:1/', 'HTTP_DENIED'],
    ['http://user:pass@example.com/', 'HTTP_DENIED'],
    ['ftp://example.com/', 'HTTP_DENIED'],
    ['http://example.com:99999/', 'HTTP_ERROR']
  ])('to %s is refused', async (location, code) => {
    const { origin, send } = await serve((_request, response) => redirect(response, 302, location))
    expect(await failure(send(origin))).toMatchObject({ code })
  })

  test('with an endless body does not hold the request up', async () => {
    const { origin, send } = await serve((request, response) => {
      if (request.url === '/new') return response.end('arrived')
      response.writeHead(302, { location: '/new' })
      endless(response)
    })
    expect((await send(origin)).body.toString()).toBe('arrived')
  })
})

/** Writes for as long as somebody reads. */
function endless(response: ServerResponse) {
  const block = Buffer.alloc(65_536, 'x')
  const more = () => {
    while (!response.destroyed && response.write(block));
  }
  response.on('drain', more)
  more()
}

describe('limits', () => {
  test.each([
    ['gzip', () => gzipSync(Buffer.alloc(50_000_000))],
    ['br', () => brotliCompressSync(Buffer.alloc(50_000_000), { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } })],
    ['deflate', () => deflateSync(Buffer.alloc(50_000_000))]
  ])('a %s bomb ends at the limit', async (coding, encode) => {
    const { origin, send, port } = await serve((_request, response) => {
      response.writeHead(200, { 'content-encoding': coding }).end(encode())
    })
    const error = await failure(send(origin))
    expect(error.code).toBe('HOOK_HTTP_LIMIT')
    expect(error.message).toBe(`GET 127.0.0.1:${port}: the answer has more than 1000000 bytes; ask for less at a time`)
  })

  test('an endless body ends at the limit and its connection is closed', async () => {
    const { origin, send, server } = await serve((_request, response) => endless(response))
    const closed = connectionClosed(server)
    expect(await failure(send(origin))).toMatchObject({ code: 'HOOK_HTTP_LIMIT' })
    await closed
  })

  test('an endless compressed stream ends, whether it decodes to much or to nothing', async () => {
    const { origin, send } = await serve((request, response) => {
      response.writeHead(200, { 'content-encoding': 'gzip' })
      if (request.url === '/much') {
        const gzip = createGzip()
        gzip.pipe(response)
        response.on('close', () => gzip.destroy())
        const more = () => {
          while (!gzip.destroyed && gzip.write(Buffer.alloc(65_536)));
        }
        gzip.on('drain', more).on('error', () => {})
        more()
      } else {
        const nothing = Buffer.concat(Array.from({ length: 1000 }, () => gzipSync('')))
        const more = () => {
          while (!response.destroyed && response.write(nothing));
        }
        response.on('drain', more)
        more()
      }
    })
    expect(await failure(send(`${origin}/much`))).toMatchObject({ code: 'HOOK_HTTP_LIMIT' })
    expect(await failure(send(`${origin}/nothing`))).toMatchObject({ code: 'HOOK_HTTP_LIMIT' })
  })

  test('a body of exactly the limit passes, compressed or not', async () => {
    const text = 'x'.repeat(1000)
    const { origin, send } = await serve((request, response) => {
      if (request.url === '/gzip') response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync(text))
      else response.end(text)
    })
    expect((await send(origin, { maxReceivedBytes: 1000 })).body).toHaveLength(1000)
    expect((await send(`${origin}/gzip`, { maxReceivedBytes: 1000 })).body).toHaveLength(1000)
    expect(await failure(send(origin, { maxReceivedBytes: 999 }))).toMatchObject({ code: 'HOOK_HTTP_LIMIT' })
    expect(await failure(send(`${origin}/gzip`, { maxReceivedBytes: 999 }))).toMatchObject({ code: 'HOOK_HTTP_LIMIT' })
  })

  test('a flood of headers is an error', async () => {
    const { origin, send } = await serveRaw(
      `HTTP/1.1 200 OK\r\nx-flood: ${'y'.repeat(20_000)}\r\ncontent-length: 0\r\n\r\n`
    )
    expect(await failure(send(origin))).toMatchObject({
      code: 'HTTP_ERROR',
      message: expect.stringMatching(/more than 16384 bytes/)
    })
  })

  test.each([
    ['never sends headers', () => {}],
    [
      'sends half the headers',
      (_: unknown, response: ServerResponse) => response.socket?.write('HTTP/1.1 200 OK\r\nx: ')
    ],
    [
      'drips its body',
      (_: unknown, response: ServerResponse) => {
        const drip = setInterval(() => response.write('.'), 20)
        response.on('close', () => clearInterval(drip))
      }
    ],
    [
      'drips the body of a redirect',
      (_: unknown, response: ServerResponse) => {
        response.writeHead(302, { location: '/' })
        const drip = setInterval(() => response.write('.'), 20)
        response.on('close', () => clearInterval(drip))
      }
    ]
  ])('a server that %s ends at the total time, and its connection is closed', async (_what, handler) => {
    const { origin, send, port, server } = await serve(handler as RequestListener)
    const closed = connectionClosed(server)
    const error = await failure(send(`${origin}/?token=secret`, { method: 'POST', timeoutMs: 200 }))
    expect(error.code).toBe('HTTP_TIMEOUT')
    expect(error.message).toBe(`POST 127.0.0.1:${port}: no answer within 200 ms`)
    await closed
  })

  test.each([
    ['before its answer', ''],
    ['within its answer', 'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf']
  ])('a server that is silent %s ends it before its own time is over', async (_when, bytes) => {
    const { origin } = await serveRaw(bytes)
    const client = createHttpClient({ guard: createAddressGuard(['127.0.0.1']), silenceMs: 100 })
    clients.push(client)
    const request = { method: 'GET', url: origin, headers: {}, body: null, timeoutMs: 60_000 }
    const options = { maxSentBytes: LIMIT, maxReceivedBytes: LIMIT, signal: new AbortController().signal }
    const error = await failure(client.send(request, options))
    expect(error).toMatchObject({ code: 'HTTP_TIMEOUT', message: expect.stringMatching(/silent for too long/) })
  })

  test('time spent on a name counts, and the request is not sent afterwards', async () => {
    const looked = Promise.withResolvers<void>()
    const { port, send, client, seen } = await serve(
      (_request, response) => response.end(),
      async () => {
        await looked.promise
        return [{ address: '127.0.0.1', family: 4 }]
      }
    )
    const late = send(`http://slow.test:${port}/late`, { method: 'POST', timeoutMs: 50 })
    expect(await failure(late)).toMatchObject({ code: 'HTTP_TIMEOUT' })
    looked.resolve()
    await send(`http://slow.test:${port}/next`)
    await client.close()
    expect(seen.map(({ url }) => url)).toEqual(['/next'])
  })
})

describe('failures', () => {
  test('a name that does not resolve', async () => {
    const resolve: Resolve = async () => {
      throw Object.assign(new Error('getaddrinfo ENOTFOUND'), { code: 'ENOTFOUND' })
    }
    const error = await failure(clientFor([], resolve).send('http://nowhere.example/?key=secret'))
    expect(error).toMatchObject({ code: 'HTTP_ERROR', data: { reason: 'ENOTFOUND' } })
    expect(error.message).toBe('GET nowhere.example: its name cannot be resolved (ENOTFOUND)')
  })

  test('a port that nobody listens on', async () => {
    const server = createServer()
    const port = await listening(server)
    servers = []
    server.close()
    await once(server, 'close')
    const error = await failure(clientFor(['127.0.0.1']).send(`http://127.0.0.1:${port}`))
    expect(error).toMatchObject({ code: 'HTTP_ERROR', data: { reason: 'ECONNREFUSED' } })
  })

  test.each([
    ['before its answer', ''],
    ['midway through its headers', 'HTTP/1.1 200 OK\r\ncontent-le'],
    ['midway through its body', 'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf'],
    ['midway through a chunk', 'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n40\r\nhalf'],
    ['midway through gzip', 'HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 100\r\n\r\n\x1f\x8b']
  ])('a server that hangs up %s', async (_when, bytes) => {
    let connections = 0
    const { origin, send, server } = await serveRaw(bytes, socket => socket.resetAndDestroy())
    server.on('connection', () => connections++)
    const error = await failure(send(origin, { method: 'POST', body: 'order' }))
    expect(error.code).toBe('HTTP_ERROR')
    expect(error.message).toMatch(/whether it took effect is unknown/)
    expect(connections).toBe(1)
  })

  test.each([
    'SSH-2.0-OpenSSH\r\n',
    'HTTP/1.1 abc\r\n\r\n',
    'HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab'
  ])('an answer that is no HTTP: %j', async bytes => {
    const { origin, send } = await serveRaw(bytes)
    expect(await failure(send(origin))).toMatchObject({
      code: 'HTTP_ERROR',
      message: expect.stringMatching(/no valid HTTP/)
    })
  })

  test('never carry bytes of the answer', async () => {
    const { origin, send } = await serveRaw('no HTTP, but token=secret\r\n')
    const { message, cause, data } = await failure(send(origin))
    expect(message).not.toContain('secret')
    expect(cause).toEqual(expect.any(String))
    expect(JSON.stringify([cause, data])).not.toContain('secret')
  })
})

describe('breaking off', () => {
  test('ends a request at once with the reason given, and closes its connection', async () => {
    const { origin, send, server } = await serve(() => stop.abort(reason))
    const stop = new AbortController()
    const { RuntimeError } = await import('../../runtime/errors.ts')
    const reason = new RuntimeError('HOOK_TIMEOUT', 'the run is over')
    const closed = connectionClosed(server)
    expect(await failure(send(origin, { signal: stop.signal }))).toBe(reason)
    await closed
  })

  test('midway through a body', async () => {
    const { origin, send } = await serve((_request, response) => {
      response.write('half', () => stop.abort())
    })
    const stop = new AbortController()
    expect(await failure(send(origin, { signal: stop.signal }))).toMatchObject({
      code: 'HTTP_ERROR',
      message: expect.stringMatching(/broken off/)
    })
  })

  test('before the start sends nothing', async () => {
    const { origin, send, seen } = await serve((_request, response) => response.end())
    expect(await failure(send(origin, { signal: AbortSignal.abort() }))).toMatchObject({ code: 'HTTP_ERROR' })
    await send(origin)
    expect(seen).toHaveLength(1)
  })

  test('by closing the client ends what is under way, and what comes later', async () => {
    const { origin, send, client, server } = await serve(() => void client.close())
    const closed = connectionClosed(server)
    expect(await failure(send(origin))).toMatchObject({ code: 'SHUTTING_DOWN' })
    await closed
    expect(await failure(send(origin))).toMatchObject({ code: 'SHUTTING_DOWN' })
  })

  test('idle connections are kept, at most 1024 an origin, and end with the client', async () => {
    const waiting: ServerResponse[] = []
    const { origin, send, client, server } = await serve((_request, response) => {
      waiting.push(response)
      if (waiting.length >= 1024) for (const held of waiting.splice(0, 1024)) held.end()
    })
    const sockets: Socket[] = []
    server.on('connection', socket => sockets.push(socket))
    await Promise.all(Array.from({ length: 2048 }, () => send(origin)))
    expect(sockets).toHaveLength(1024)
    const closed = sockets.map(socket => once(socket, 'close'))
    await client.close()
    await Promise.all(closed)
  })
})

describe('TLS', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sandhook-tls-'))
  const openssl = (() => {
    try {
      const names = ['-subj', '/CN=shop.test', '-addext', 'subjectAltName=DNS:shop.test']
      const files = ['-keyout', join(folder, 'key.pem'), '-out', join(folder, 'cert.pem')]
      const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
      execFileSync('openssl', ['req', ...kind, ...names, ...files], { stdio: 'ignore' })
      return true
    } catch {
      return false
    }
  })()
  const [key, cert] = openssl ? ['key.pem', 'cert.pem'].map(name => readFileSync(join(folder, name), 'utf8')) : []
  rmSync(folder, { recursive: true })
  const authorities = getCACertificates('default')

  afterEach(() => {
    setDefaultCACertificates(authorities)
    delete process.env.NODE_TLS_REJECT_UNAUTHORIZED
  })

  const serveTls = async () => {
    const seen: string[] = []
    const server = createTlsServer({ key, cert }, (request, response) => {
      seen.push(request.url ?? '')
      if (request.url === '/down') redirect(response, 302, 'http://shop.test/')
      else response.end('safe')
    })
    const port = await listening(server)
    return { port, seen, ...clientFor([`127.0.0.1:${port}`], async () => [{ address: '127.0.0.1', family: 4 }]) }
  }

  test.skipIf(!openssl)('a self-signed certificate is refused, whatever the environment says', async () => {
    process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'
    const { port, seen, send } = await serveTls()
    const error = await failure(send(`https://shop.test:${port}/`))
    expect(error).toMatchObject({ code: 'HTTP_ERROR', data: { reason: 'DEPTH_ZERO_SELF_SIGNED_CERT' } })
    expect(error.message).toMatch(/its certificate is not trusted/)
    expect(seen).toEqual([])
  })

  test.skipIf(!openssl)(
    'a trusted certificate counts for its own name only, and https does not lead back to http',
    async () => {
      setDefaultCACertificates([...authorities, cert ?? ''])
      const { port, seen, send } = await serveTls()
      expect((await send(`https://shop.test:${port}/`)).body.toString()).toBe('safe')
      const error = await failure(send(`https://other.test:${port}/`))
      expect(error).toMatchObject({ code: 'HTTP_ERROR', data: { reason: 'ERR_TLS_CERT_ALTNAME_INVALID' } })
      expect(await failure(send(`https://shop.test:${port}/down`))).toMatchObject({
        code: 'HTTP_DENIED',
        message: expect.stringMatching(/https to http/)
      })
      expect(seen).toEqual(['/', '/down'])
    }
  )

  test('a server that speaks no TLS', async () => {
    const { port } = await serve((_request, response) => response.end())
    const { send } = clientFor([`127.0.0.1:${port}`])
    expect(await failure(send(`https://127.0.0.1:${port}/`))).toMatchObject({
      code: 'HTTP_ERROR',
      message: expect.stringMatching(/TLS/)
    })
  })
})
