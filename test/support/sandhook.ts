import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const MAIN = fileURLToPath(new URL('../../runtime/main.ts', import.meta.url))

/** Sandhook as its users have it: a process that is spoken to over HTTP. */
export interface SandhookProcess {
  url: string
  token: string
  pid: number
  /** What it has printed so far. */
  output: () => string
  /** Processes of its runners. */
  runners: () => number[]
  /** Sends a signal and waits for the end; answers the exit code, or the signal's name. */
  end: (signal: NodeJS.Signals) => Promise<number | string>
  /** A request with the admin's token; answers status and parsed body. */
  // biome-ignore lint/suspicious/noExplicitAny: answers of every route
  call: (method: string, path: string, body?: unknown) => Promise<{ status: number; body: any }>
}

export const TEST_TOKEN = 'test-admin-token-0123456789'

/** Starts `runtime/main.ts` on a free port and waits until it listens. Rejects with its output when it ends before. */
export async function startSandhookProcess(env: Record<string, string>): Promise<SandhookProcess> {
  const child = spawn(process.execPath, ['--no-node-snapshot', MAIN], {
    env: { PATH: process.env.PATH, PORT: '0', SANDHOOK_ADMIN_TOKEN: TEST_TOKEN, SANDHOOK_LOG_LEVEL: 'warn', ...env },
    stdio: ['ignore', 'pipe', 'pipe']
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', text => {
      output += text
    })
  const ended = once(child, 'exit')
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout.on('data', () => {
      const found = /listens at (\S+)/.exec(output)?.[1]
      if (found) resolve(found)
    })
    void ended.then(() => reject(new Error(`Sandhook ended at its start:\n${output}`)))
  })
  return {
    url,
    token: TEST_TOKEN,
    pid: child.pid ?? 0,
    output: () => output,
    runners: () => childrenOf(child),
    async end(signal) {
      child.kill(signal)
      const [code, how] = await ended
      return code ?? how
    },
    async call(method, path, body) {
      const response = await fetch(url + path, {
        method,
        headers: {
          authorization: `Bearer ${TEST_TOKEN}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' })
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) })
      })
      const text = await response.text()
      return {
        status: response.status,
        body: /json/.test(response.headers.get('content-type') ?? '') ? JSON.parse(text) : text
      }
    }
  }
}

function childrenOf({ pid }: ChildProcess): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
  return text === '' ? [] : text.split(' ').map(Number)
}

/** Looks until `look` answers something, or fails with what it last saw. */
export async function eventually<T>(look: () => Promise<T | undefined | false>, withinMs = 60_000): Promise<T> {
  const until = Date.now() + withinMs
  for (;;) {
    const seen = await look()
    if (seen) return seen
    if (Date.now() > until) throw new Error(`Still not so after ${withinMs} ms: ${look}`)
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}
