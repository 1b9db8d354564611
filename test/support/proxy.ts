import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/**
 * What becomes of connections: `pass` relays them; `refuse` has nobody listening; `hang` accepts them, and holds back
 * whatever is said, in both directions, on the old ones as well.
 */
export type ProxyMode = 'pass' | 'refuse' | 'hang'

/** A TCP proxy that fails on demand. */
export interface Proxy {
  /** `url` with the proxy's host and port instead of the server's. */
  through: (url: string) => string
  set: (mode: ProxyMode) => Promise<void>
  /** Ends all connections at once, as a server that dies does. */
  cut: () => void
  close: () => Promise<void>
}

/** Starts a proxy to the server of `target` (`mysql://…@host:port`) on a free port; it passes everything. */
export async function startProxy(target: string): Promise<Proxy> {
  const { hostname, port } = new URL(target)
  const pairs = new Set<{ near: Socket; far: Socket }>()
  let mode: ProxyMode = 'pass'

  const server = createServer({ pauseOnConnect: true }, near => {
    const far = connect(Number(port), hostname)
    const pair = { near, far }
    pairs.add(pair)
    for (const [from, to] of [
      [near, far],
      [far, near]
    ] as const) {
      from.on('data', chunk => void to.write(chunk))
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
    async close() {
      cut()
      if (server.listening) server.close()
    }
  }
}
