import { Pool } from 'undici'

/** A request as it goes over the wire. */
export interface Sent {
  method: string
  /** As it stands, not normalised. */
  path: string
  headers: Record<string, string>
  body: string | Buffer | null
}

export interface Received {
  status: number
  headers: Record<string, string | string[] | undefined>
  text: string
}

export type Send = (request: Sent) => Promise<Received>

/** For an answer on a machine with much else to do: who is later than this hangs. */
const HUNG_MS = 20_000

/** A client that sends what it is given. Rejects when there is no whole answer within 20 s. */
export function openClient(url: string): { send: Send; close: () => Promise<void> } {
  const pool = new Pool(url, { connections: 8, headersTimeout: HUNG_MS, bodyTimeout: HUNG_MS })
  return {
    async send({ method, path, headers, body }) {
      const {
        statusCode,
        headers: got,
        body: stream
      } = await pool.request({ method: method as 'GET', path, headers, body })
      return { status: statusCode, headers: got, text: await stream.text() }
    },
    close: () => pool.close()
  }
}
