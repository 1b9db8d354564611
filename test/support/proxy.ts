import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/**
 * What becomes of connections: `pass` relays them; `refuse` has nobody listening; `hang` accepts them, and holds back
 * whatever is said, in both directions, on the old ones as well.
 */
export type ProxyMode = 'pass' | 'refuse' | 'hang'

/**
 * What becomes of a message to the server that a connection is cut over: it is lost; the server has it; or it is held
 * up on the way and reaches the server so many milliseconds later.
 */
export type Fate = 'lost' | 'heard' | number

/** A TCP proxy that fails on demand. */
export interface Proxy {
  /** `url` with the proxy's host and port instead of the server's. */
  through: (url: string) => string
  set: (mode: ProxyMode) => Promise<void>
  /** Ends all connections at once, as a server that dies does. */
  cut: () => void
  /** Cuts the client's side of the connection over which the next message with this text goes; resolves when it has. */
  cutAt: (text: string, fate: Fate) => Promise<void>
  close: () => Promise<void>
}

/** Starts a proxy to the server of `target` (`mysql://…@host:port`) on a free port; it passes everything. */
export async function startProxy(target: string): Promise<Proxy> {
  const { hostname, port } = new URL(target)
  const pairs = new Set<{ near: Socket; far: Socket }>()
  let mode: ProxyMode = 'pass'
  let trap: { text: string; fate: Fate; sprung: () => void } | null = null

  /** Whether the message has sprung the trap. */
  function springs(chunk: Buffer | string, { near, far }: { near: Socket; far: Socket }): boolean {
    if (!trap || !chunk.includes(trap.text)) return false
    const { fate, sprung } = trap
    trap = null
    near.removeAllListeners('close')
    near.resetAndDestroy()
    const deliver = () => far.end(chunk)
    if (fate === 'lost') far.destroy()
    else if (fate === 'heard') deliver()
    else setTimeout(deliver, fate)
    sprung()
    return true
  }

  const server = createServer({ pauseOnConnect: true }, near => {
    const far = connect(Number(port), hostname)
    const pair = { near, far }
    pairs.add(pair)
    for (const [from, to] of [
      [near, far],
      [far, near]
    ] as const) {
      from.on('data', chunk => {
        if (from !== near || !springs(chunk, pair)) to.write(chunk)
      })
      from.on('error', () => {})
      from.on('close', () => {
        pairs.delete(pair)
        to.destroy()
      })
    }
    flow(pair)
  })
  const flow = ({ near, far }: { near: Socket; far: Socket }) => {
    for (const socket of [near, far])
      if (mode === 'hang') socket.pause()
      else socket.resume()
  }
  const listen = async (at: number) => {
    server.listen(at, '127.0.0.1')
    await once(server, 'listening')
    return (server.address() as AddressInfo).port
  }
  const cut = () => {
    for (const { near, far } of pairs) {
      near.resetAndDestroy()
      far.destroy()
    }
  }
  const own = await listen(0)
  return {
    through(url) {
      const address = new URL(url)
      address.host = `127.0.0.1:${own}`
      return address.href
    },
    async set(next) {
      mode = next
      if (next === 'refuse' && server.listening) {
        server.close()
        cut()
      }
      if (next !== 'refuse' && !server.listening) await listen(own)
      for (const pair of pairs) flow(pair)
    },
    cut,
    cutAt: (text, fate) =>
      new Promise(sprung => {
        trap = { text, fate, sprung }
      }),
    async close() {
      cut()
      if (server.listening) server.close()
    }
  }
}
