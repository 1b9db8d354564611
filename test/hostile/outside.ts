import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { type AddressInfo, createServer as createTcpServer, type Server } from 'node:net'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'

/** What hostile scripts find outside: a partner with every bad habit, and canaries on addresses that are none of theirs. */
export interface Outside {
  /** Host and port of the partner; the name `srv.test` is its. */
  host: string
  /** Requests that the partner has read to their end. */
  requests: { method: string; url: string; headers: IncomingMessage['headers']; body: string }[]
  /** Connections that the partner has open. */
  open: () => number
  /** A port on which every address of this machine has a canary. */
  canaryPort: number
  /** Connections that reached a canary. */
  reached: () => number
  close: () => Promise<void>
}

const ZEROS = Buffer.alloc(50_000_000)
const GZIP_BOMB = gzipSync(ZEROS, { level: 1 })
const BROTLI_BOMB = brotliCompressSync(ZEROS, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } })

const ROUTES: Record<string, (request: IncomingMessage, response: ServerResponse, query: URLSearchParams) => void> = {
  // By hand: Node refuses what servers of another make send.
  '/redirect': (_request, response, query) =>
    response.socket?.write(
      `HTTP/1.1 ${query.get('code') ?? 302} Elsewhere\r\nlocation: ${query.get('to')}\r\ncontent-length: 0\r\n\r\n`,
      () => response.socket?.end()
    ),
  '/redirect-loop': (_request, response) => response.writeHead(302, { location: '/redirect-loop' }).end(),
  '/gzip-bomb': (_request, response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end(GZIP_BOMB),
  '/brotli-bomb': (_request, response) => response.writeHead(200, { 'content-encoding': 'br' }).end(BROTLI_BOMB),
  '/many-encodings': (_request, response) =>
    response.writeHead(200, { 'content-encoding': Array(50).fill('gzip').join(', ') }).end(gzipSync('x')),
  '/endless': (_request, response) => {
    const more = () => {
      while (!response.destroyed && response.write(Buffer.alloc(65_536, 'x')));
    }
    response.on('drain', more)
    more()
  },
  '/drip': (_request, response, query) => {
    const drip = setInterval(() => response.write('.'), Number(query.get('every') ?? 20))
    response.on('close', () => clearInterval(drip))
  },
  '/never-headers': () => {},
  '/half-headers': (_request, response) => response.socket?.write('HTTP/1.1 200 OK\r\nx-a: '),
  '/header-flood': (_request, response, query) => {
    const kilobytes = Number(query.get('kb') ?? 20)
    response.socket?.end(`HTTP/1.1 200 OK\r\nx-flood: ${'y'.repeat(kilobytes * 1024)}\r\ncontent-length: 0\r\n\r\n`)
  },
  '/header-count': (_request, response, query) => {
    const lines = Array.from({ length: Number(query.get('n') ?? 5000) }, (_, i) => `x-${i}: 1`).join('\r\n')
    response.socket?.end(`HTTP/1.1 200 OK\r\n${lines}\r\ncontent-length: 0\r\n\r\n`)
  },
  '/early-hints': (_request, response) => {
    const hints = setInterval(() => response.socket?.write('HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n'), 10)
    response.on('close', () => clearInterval(hints))
    response.socket?.on('close', () => clearInterval(hints))
  },
  '/endless-chunks': (_request, response) => {
    response.socket?.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;')
    const more = setInterval(() => response.socket?.write('x'.repeat(16_384)), 1)
    response.socket?.on('close', () => clearInterval(more))
  },
  '/huge-length': (_request, response) =>
    response.socket?.write('HTTP/1.1 200 OK\r\ncontent-length: 99999999999999\r\n\r\nfew'),
  '/two-lengths': (_request, response) =>
    response.socket?.end('HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 5\r\n\r\nhello'),
  '/smuggle': (_request, response) =>
    response.socket?.end(
      'HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200'
    ),
  '/second-answer': (_request, response) =>
    response.socket?.write(
      'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\npoison!'
    ),
  '/reset-midway': (_request, response) => {
    response.writeHead(200, { 'content-length': '100' })
    response.write('half', () => response.socket?.resetAndDestroy())
  },
  '/reset-at-once': (_request, response) => response.socket?.resetAndDestroy(),
  '/invalid-utf8': (_request, response) => response.end(Buffer.from([0x6f, 0x6b, 0xff, 0xfe, 0xc3, 0x28])),
  '/nul-bytes': (_request, response) => response.end(Buffer.from([0, 1, 2, 0, 0x6f, 0x6b])),
  '/bad-header-bytes': (_request, response) =>
    response.socket?.end('HTTP/1.1 200 OK\r\nx-a: \xff\xfe\x80\r\ncontent-length: 2\r\n\r\nok', 'latin1'),
  '/json': (_request, response, query) =>
    response.writeHead(200, { 'content-type': 'application/json' }).end(query.get('body')),
  '/json-deep': (_request, response, query) => {
    const depth = Number(query.get('depth') ?? 100_000)
    response.writeHead(200, { 'content-type': 'application/json' }).end('['.repeat(depth) + ']'.repeat(depth))
  },
  '/echo': (request, response) =>
    response
      .writeHead(200, { 'content-type': 'application/json' })
      .end(JSON.stringify({ method: request.method, headers: request.headers }))
}

async function portOf(server: Server, host: string, port = 0): Promise<number> {
  server.listen(port, host)
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** Starts the partner and the canaries. `tls`: key and certificate of a server that nobody trusts, behind `/bad-cert`. */
export async function startOutside(tls: { key: string; cert: string } | null): Promise<Outside> {
  const requests: Outside['requests'] = []
  const untrusted = tls ? createTlsServer(tls, (_request, response) => response.end('trusted?')) : null
  const tlsPort = untrusted ? await portOf(untrusted, '127.0.0.1') : 0
  const partner = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const { method = '', url = '', headers } = request
    requests.push({ method, url, headers, body: Buffer.concat(chunks).toString() })
    const { pathname, searchParams } = new URL(url, 'http://srv.test')
    if (pathname === '/bad-cert')
      return void response.writeHead(302, { location: `https://srv.test:${tlsPort}/` }).end()
    const route = ROUTES[pathname]
    if (route) route(request, response, searchParams)
    else response.end('ok')
  })
  const port = await portOf(partner, '127.0.0.1')
  let open = 0
  partner.on('connection', socket => {
    open++
    socket.on('error', () => {})
    socket.on('close', () => open--)
  })

  let reached = 0
  const canary = createTcpServer(socket => {
    reached++
    socket.destroy()
  })
  const canaryPort = await portOf(canary, '::')
  return {
    host: `srv.test:${port}`,
    requests,
    open: () => open,
    canaryPort,
    reached: () => reached,
    async close() {
      partner.closeAllConnections()
      for (const server of [partner, canary, ...(untrusted ? [untrusted] : [])]) server.close()
    }
  }
}
