import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { drawFor } from './random.ts'

/** One call as the partner saw it. */
export interface PartnerCall {
  key: string
  orderNo: string
  at: number
  /** When its answer was given to the connection, or the connection broken. */
  until: number
  /** `ok` was answered with a number, `failed` with 500; `reset` broke the connection. */
  outcome: 'ok' | 'failed' | 'reset'
  body: string
}

/** An ERP: at times slow, at times failing, at times gone in the middle. */
export interface Partner {
  url: string
  calls: PartnerCall[]
  /** The number that it gave an order's call; one per idempotency key, however often that came. */
  numberOf: (key: string) => string | undefined
  close: () => Promise<void>
}

const FAILED = 0.03
const RESET = 0.03
const SLOW = 0.05
const SLOW_MS = 1_500

/** Starts the partner on a free port. Its moods follow from seed, key and the how-manieth call of the key it is. */
export async function startPartner(seed: number): Promise<Partner> {
  const calls: PartnerCall[] = []
  const received = new Map<string, number>()
  const numbers = new Map<string, string>()

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const at = Date.now()
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = Buffer.concat(chunks).toString()
    const key = String(request.headers['idempotency-key'] ?? '')
    const nth = (received.get(key) ?? 0) + 1
    received.set(key, nth)
    const mood = drawFor(seed, `${key} ${nth}`)
    const outcome = mood < FAILED ? 'failed' : mood < FAILED + RESET ? 'reset' : 'ok'
    const call: PartnerCall = { key, orderNo: JSON.parse(body).sourceOrderNo, at, until: Infinity, outcome, body }
    calls.push(call)
    // A partner that knows its trade does a thing once per key, whatever becomes of its answer.
    if (outcome !== 'failed' && !numbers.has(key)) numbers.set(key, `E${numbers.size + 1}`)
    const slow = drawFor(seed, `${key} ${nth} slow`)
    if (slow < SLOW) await new Promise(resolve => setTimeout(resolve, 100 + (slow / SLOW) * SLOW_MS))
    call.until = Date.now()
    if (outcome === 'reset') request.socket.resetAndDestroy()
    else if (outcome === 'failed') response.writeHead(500).end()
    else response.end(JSON.stringify({ code: 0, data: { erpOrderId: numbers.get(key) } }))
  }

  const server = createServer((request, response) => void serve(request, response).catch(() => request.destroy()))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    numberOf: key => numbers.get(key),
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    }
  }
}
