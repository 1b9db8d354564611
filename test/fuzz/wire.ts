import { connect } from 'node:net'

/** What came back over a socket. */
export interface Wired {
  /** Statuses of all answers, in order. */
  statuses: number[]
  text: string
}

const HUNG_MS = 20_000

/**
 * Writes bytes as they are to a server and says that no more will come. Resolves when the server has closed the
 * connection too; rejects when it has not within 20 s.
 */
export function sendRaw(url: string, bytes: Uint8Array | string): Promise<Wired> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    const socket = connect(Number(port), hostname)
    const seen = () => Buffer.concat(chunks).toString('latin1')
    const timer = setTimeout(() => {
      socket.destroy()
      reject(new Error(`The server still holds the connection after ${HUNG_MS} ms; so far: ${seen()}`))
    }, HUNG_MS)
    socket.on('data', chunk => chunks.push(Buffer.from(chunk)))
    // A server that has heard enough hangs up while we are still writing.
    socket.on('error', () => {})
    socket.on('close', () => {
      clearTimeout(timer)
      try {
        resolve({ text: seen(), statuses: statusesOf(seen()) })
      } catch (error) {
        reject(error)
      }
    })
    socket.end(bytes)
  })
}

/** Reads answers one after the other, each to its own end, as a client must. */
function statusesOf(text: string): number[] {
  if (text === '') return []
  const head = /^HTTP\/1\.1 (\d{3})[^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n/.exec(text)
  if (!head) throw new Error(`This is no answer of HTTP: ${text.slice(0, 300)}`)
  const [whole, status, headers = ''] = head
  const rest = text.slice(whole.length)
  const chunked = /^transfer-encoding: *chunked/im.test(headers)
  const end = chunked ? rest.indexOf('0\r\n\r\n') + 5 : Number(/^content-length: *(\d+)/im.exec(headers)?.[1] ?? 0)
  return [Number(status), ...statusesOf(rest.slice(end))]
}
