import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { pino } from 'pino'
import { describe, expect, type TestContext, test } from 'vitest'
import { createServer } from '../../runtime/admin/server.ts'
import { config } from './admin.ts'

const callers = {
  ...config.limits.callers,
  ...{ headMs: 300, requestMs: 800, answerMs: 1_000, idleMs: 300, connections: { all: 12, address: 6 } }
}
/** Far beyond all of these, and the second that the server takes between looks. */
const CUT_WITHIN_MS = 8_000
const LARGE = 'x'.repeat(16 * 1024 * 1024)

interface Served {
  app: FastifyInstance
  port: number
}

async function serve(test: TestContext, more: Partial<typeof callers> = {}): Promise<Served> {
  const logger = pino({ level: 'silent' })
  const app = await createServer({ logger, callers: { ...callers, ...more }, trustProxy: null })
  app.get('/quick', async () => ({ ok: true }))
  app.get('/large', async () => LARGE)
  app.get('/hung', { handlerTimeout: 300 }, () => new Promise(() => {}))
  app.post('/take', async () => ({ ok: true }))
  app.post('/refuse', { onRequest: async () => Promise.reject(new Error('no')) }, async () => ({ ok: true }))
  await app.listen({ host: '127.0.0.1', port: 0 })
  test.onTestFinished(() => {
    app.server.closeAllConnections()
    return app.close()
  })
  return { app, port: (app.server.address() as { port: number }).port }
}

interface Client {
  socket: Socket
  text: () => string
  /** Ends when the server has cut the connection. */
  closed: Promise<unknown>
}

function open({ port }: Served, localAddress = '127.0.0.1'): Client {
  const socket = connect({ port, host: '127.0.0.1', localAddress, allowHalfOpen: true })
  let text = ''
  socket.on('data', chunk => {
    text += chunk.toString('latin1')
  })
  // A connection that the server resets is cut as well.
  socket.on('error', () => {})
  const ended = once(socket, 'end').catch(() => {})
  const closed = Promise.race([ended, new Promise(resolve => socket.once('close', resolve))])
  return { socket, text: () => text, closed }
}

const cut = (closed: Promise<unknown>) => {
  const late = pause(CUT_WITHIN_MS, 'still open', { ref: false })
  return Promise.race([closed.then(() => 'cut'), late])
}

const HEAD = 'POST /take HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n'
const QUICK = 'GET /quick HTTP/1.1\r\nHost: localhost\r\n\r\n'

/** Writes a piece every few milliseconds, for as long as the connection takes it. */
async function trickle(socket: Socket, pieces: Iterable<string>): Promise<void> {
  for (const piece of pieces) {
    if (socket.destroyed || socket.closed) return
    socket.write(piece)
    await pause(20)
  }
}

function* forever(piece: (i: number) => string): Generator<string> {
  for (let i = 0; ; i++) yield piece(i)
}

describe.concurrent('a client is cut that', () => {
  test.for<[string, string, Iterable<string>, RegExp]>([
    ['says nothing', '', [], /^$|^HTTP\/1\.1 408 /],
    ['trickles its request line', '', forever(() => 'G'), /^HTTP\/1\.1 4(08|00) /],
    ['trickles its headers', 'GET /quick HTTP/1.1\r\n', forever(i => `X-${i}: 1\r\n`), /^HTTP\/1\.1 408 /],
    ['stops within its headers', 'GET /quick HTTP/1.1\r\nHost: a', [], /^HTTP\/1\.1 408 /],
    ['trickles its body', `${HEAD}Content-Length: 1000000\r\n\r\n`, forever(() => ' '), /^HTTP\/1\.1 408 /],
    ['stops within its body', `${HEAD}Content-Length: 9\r\n\r\n{`, [], /^HTTP\/1\.1 408 /],
    ['trickles chunks', `${HEAD}Transfer-Encoding: chunked\r\n\r\n`, forever(() => '1\r\n \r\n'), /^HTTP\/1\.1 408 /],
    [
      'trickles the body of a request that is refused',
      `${HEAD.replace('/take', '/refuse')}Content-Length: 1000000\r\n\r\n`,
      forever(() => ' '),
      /^HTTP\/1\.1 (408|500) /
    ],
    ['rests after an answer', QUICK, [], /^HTTP\/1\.1 200 /]
  ])('%s', async ([_what, first, pieces, answer], context) => {
    const { socket, text, closed } = open(await serve(context))
    socket.write(first)
    const writing = trickle(socket, pieces)
    expect(await cut(closed)).toBe('cut')
    socket.destroy()
    await writing
    expect(text()).toMatch(answer)
  })

  test('does not take its answer', async context => {
    const served = await serve(context)
    const { socket } = open(served)
    socket.pause()
    const [atServer] = (await Promise.all([
      once(served.app.server, 'connection'),
      socket.write('GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n')
    ])) as unknown as [[Socket]]
    expect(await cut(once(atServer[0], 'close'))).toBe('cut')
  })

  test('asks and asks, and takes no answer', async context => {
    const served = await serve(context)
    const { socket } = open(served)
    socket.pause()
    const [[atServer]] = (await Promise.all([
      once(served.app.server, 'connection'),
      socket.write('GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(200))
    ])) as unknown as [[Socket]]
    const { arrayBuffers, heapUsed } = process.memoryUsage()
    expect(await cut(once(atServer, 'close'))).toBe('cut')
    const grown = process.memoryUsage().arrayBuffers + process.memoryUsage().heapUsed - arrayBuffers - heapUsed
    expect(grown).toBeLessThan(500 * 1024 * 1024)
  })

  test.for<[string, string]>([
    ['sends garbage for a chunk', `${HEAD}Transfer-Encoding: chunked\r\n\r\nzz\r\n`],
    ['sends a chunk of an endless size', `${HEAD}Transfer-Encoding: chunked\r\n\r\n${'f'.repeat(40)}\r\n`],
    ['gives a body two lengths', `${HEAD}Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}`],
    ['gives a body both framings', `${HEAD}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
    ['gives a negative length', `${HEAD}Content-Length: -1\r\n\r\n`],
    ['sends too much of headers', `${QUICK.slice(0, -2)}X-A: ${'a'.repeat(64 * 1024)}\r\n\r\n`],
    ['sends too many headers', QUICK.slice(0, -2) + 'a: b\r\n'.repeat(20_000)],
    ['folds a header', `${QUICK.slice(0, -2)}X-A: a\r\n b: c\r\n\r\n`],
    ['ends a line by itself', 'GET /quick HTTP/1.1\nHost: localhost\n\n'],
    ['speaks TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'],
    ['speaks HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['wants another protocol', 'GET / HTTP/9.9\r\n\r\n']
  ])('%s', async ([_what, sent], context) => {
    const served = await serve(context)
    const { socket, text, closed } = open(served)
    socket.write(sent, 'latin1')
    expect(await cut(closed)).toBe('cut')
    if (text() !== '') expect(text()).toMatch(/^HTTP\/1\.1 4\d\d /)
    const next = open(served)
    next.socket.write(QUICK)
    await context.expect.poll(next.text).toMatch(/^HTTP\/1\.1 200 /)
  })

  test('is one connection too many, whatever the others do', async context => {
    const served = await serve(context, { headMs: 60_000, requestMs: 60_000 })
    const idle = Array.from({ length: callers.connections.address }, () => open(served))
    await Promise.all(idle.map(({ socket }) => once(socket, 'connect')))
    const more = open(served)
    expect(await cut(more.closed)).toBe('cut')
    const neighbour = open(served, '127.0.0.2')
    neighbour.socket.write(QUICK)
    await context.expect.poll(neighbour.text).toMatch(/^HTTP\/1\.1 200 /)
    idle[0]?.socket.destroy()
    await context.expect
      .poll(async () => {
        const again = open(served)
        again.socket.write(QUICK)
        await Promise.race([once(again.socket, 'data'), again.closed])
        return again.text()
      })
      .toMatch(/^HTTP\/1\.1 200 /)
  })
})

test('a client that closes its half and still reads is answered', async context => {
  const { socket, text, closed } = open(await serve(context))
  socket.end(QUICK)
  expect(await cut(closed)).toBe('cut')
  expect(text()).toMatch(/^HTTP\/1\.1 200 /)
})

test('a client that goes in the middle of its request leaves nothing behind', async context => {
  const served = await serve(context)
  for (const sent of ['GET /qui', `${HEAD}Content-Length: 100\r\n\r\n{`, HEAD]) {
    const { socket } = open(served)
    socket.write(sent)
    await once(served.app.server, 'connection')
    socket.resetAndDestroy()
  }
  await expect
    .poll(() => new Promise(resolve => served.app.server.getConnections((_e, count) => resolve(count))))
    .toBe(0)
})

test('many requests at once on one connection are all answered, in their order', async context => {
  const { socket, text } = open(await serve(context))
  socket.write(QUICK.repeat(500))
  await expect.poll(() => text().match(/HTTP\/1\.1 200 /g)?.length).toBe(500)
})

test('a handler that hangs is answered for', async context => {
  const { socket, text } = open(await serve(context))
  socket.write('GET /hung HTTP/1.1\r\nHost: localhost\r\n\r\n')
  await expect.poll(text).toMatch(/^HTTP\/1\.1 503 [\s\S]*Retry-After: 10[\s\S]*STORE_UNAVAILABLE/i)
})

test('an answer on the bare socket has the headers of all others', async context => {
  const { socket, text, closed } = open(await serve(context))
  socket.write('NONSENSE\r\n\r\n')
  await closed
  for (const header of ['content-security-policy: ', 'x-content-type-options: nosniff', 'connection: close'])
    expect(text().toLowerCase()).toContain(header)
})
