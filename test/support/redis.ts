import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { findProgram } from './packages.ts'
import { freePort } from './port.ts'

/** A Redis server that tests may do anything with. */
export interface TestRedis {
  url: string
  /** Publishes as a client that is not ours does; answers how many were listening. */
  publish: (channel: string, text: string) => Promise<number>
  /** Ends the server at once; null: it is somebody else's. */
  kill: (() => Promise<void>) | null
  /** Starts it anew on the same port. */
  restart: () => Promise<void>
  stop: () => Promise<void>
}

const given = process.env.TEST_REDIS_URL
const program = given ? undefined : findProgram('redis-server')

/** Why there is no Redis to test with; null: there is one. With `CI=true` throws instead. */
export const redisMissing = given || program ? null : 'no redis-server here and no TEST_REDIS_URL'
if (redisMissing && process.env.CI === 'true')
  throw new Error('No redis-server to test with: install redis-server or set TEST_REDIS_URL')

/** The server of `TEST_REDIS_URL`, or else a private one in a fresh folder on a free port of 127.0.0.1. */
export async function startRedisServer(): Promise<TestRedis> {
  if (given) return { url: given, publish: publisher(given), kill: null, restart: async () => {}, stop: async () => {} }
  const folder = mkdtempSync(join(tmpdir(), 'sandhook-redis-'))
  const port = await freePort()
  const url = `redis://:secret@127.0.0.1:${port}`
  let server = await launch(folder, port, url)
  const kill = async () => {
    if (server.exitCode !== null || server.signalCode !== null) return
    server.kill('SIGKILL')
    await once(server, 'exit')
  }
  return {
    ...{ url, publish: publisher(url), kill },
    async restart() {
      await kill()
      server = await launch(folder, port, url)
    },
    async stop() {
      await kill()
      rmSync(folder, { recursive: true, force: true })
    }
  }
}

async function launch(folder: string, port: number, url: string) {
  const options = ['--dir', folder, '--port', String(port), '--bind', '127.0.0.1', '--requirepass', 'secret']
  const server = spawn(program as string, [...options, '--save', '', '--appendonly', 'no'], { stdio: 'ignore' })
  for (const deadline = Date.now() + 10_000; ; ) {
    try {
      await publisher(url)('hello', '')
      return server
    } catch (error) {
      if (Date.now() > deadline || server.exitCode !== null) throw error
      await new Promise(resolve => setTimeout(resolve, 20))
    }
  }
}

const publisher = (url: string) => async (channel: string, text: string) => {
  const client = new Redis(url, { lazyConnect: true, retryStrategy: null as never, maxRetriesPerRequest: 0 })
  client.on('error', () => {})
  try {
    await client.connect()
    return await client.publish(channel, text)
  } finally {
    client.disconnect()
  }
}
