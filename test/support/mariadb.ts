import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import mysql from 'mysql2/promise'
import { findProgram } from './packages.ts'
import { freePort } from './port.ts'

/** A MySQL or MariaDB server that tests may do anything with. */
export interface TestServer {
  /** Where an account with every right reaches the server, without a database. */
  adminUrl: string
  /** The same with a database's name. */
  url: (database: string) => string
  /** Ends it as a power cut does, or `restart`s it with what it has on disk. Null: the server is not ours. */
  kill: (() => Promise<void>) | null
  restart: (() => Promise<void>) | null
  stop: () => Promise<void>
}

/**
 * A real server for one test run: the one of `TEST_MYSQL_URL`, or else a private MariaDB in a fresh folder on a free
 * port of 127.0.0.1. Null where there is none to be had; with `CI=true` throws.
 */
export async function startMariadb(): Promise<TestServer | null> {
  const given = process.env.TEST_MYSQL_URL
  if (given) return { ...addresses(given), kill: null, restart: null, stop: async () => {} }
  const program = findProgram('mariadbd')
  if (program) return launch(program)
  if (process.env.CI === 'true')
    throw new Error('No mariadbd to test with: install mariadb-server or set TEST_MYSQL_URL')
  return null
}

function addresses(base: string): Pick<TestServer, 'adminUrl' | 'url'> {
  const url = (database: string) => {
    const address = new URL(base)
    address.pathname = `/${database}`
    return address.href
  }
  return { adminUrl: url(''), url }
}

/** Ends the server when its input does: at `stop`, and when the test run was killed before it could say so. */
const OUTLIVED = 'exec 3<&0; "$0" "$@" 3<&- & server=$!; (read -r _ <&3; kill $server) & wait $server'

async function launch(program: string): Promise<TestServer> {
  const folder = mkdtempSync(join(tmpdir(), 'sandhook-mariadb-'))
  const user = process.getuid?.() === 0 ? ['--user=root'] : []
  const data = [`--datadir=${join(folder, 'data')}`, ...user]
  execFileSync(
    'mariadb-install-db',
    ['--no-defaults', ...data, '--auth-root-authentication-method=normal', '--skip-test-db'],
    { stdio: 'ignore' }
  )
  const port = await freePort()
  const log = join(folder, 'error.log')
  const base = `mysql://root@127.0.0.1:${port}`

  let server = begin()
  function begin() {
    const child = spawn('sh', ['-c', OUTLIVED, program, ...optionsOf(folder, port), ...data], {
      stdio: ['pipe', 'ignore', 'ignore'],
      // A group of its own, so that nothing of it is left when it is killed.
      detached: true
    })
    return { child, exited: once(child, 'exit') }
  }
  const ended = () => server.child.exitCode !== null || server.child.signalCode !== null
  const kill = async () => {
    if (!ended()) process.kill(-(server.child.pid ?? 0), 'SIGKILL')
    await server.exited
  }
  const up = async () => {
    if (await answers(base, ended)) return
    const said = existsSync(log) ? readFileSync(log, 'utf8') : ''
    await kill()
    throw new Error(`mariadbd did not start: ${said.slice(-2_000)}`)
  }
  await up()
  return {
    ...addresses(base),
    kill,
    async restart() {
      await kill()
      server = begin()
      await up()
    },
    async stop() {
      server.child.stdin?.end()
      const patience = setTimeout(() => void kill(), 10_000)
      await server.exited
      clearTimeout(patience)
      rmSync(folder, { recursive: true, force: true })
    }
  }
}

const optionsOf = (folder: string, port: number): string[] => [
  '--no-defaults',
  `--socket=${join(folder, 'socket')}`,
  `--pid-file=${join(folder, 'pid')}`,
  `--port=${port}`,
  '--bind-address=127.0.0.1',
  '--skip-name-resolve',
  '--character-set-server=utf8mb4',
  '--innodb-flush-log-at-trx-commit=1',
  '--innodb-buffer-pool-size=64M',
  '--performance-schema=OFF',
  // Several nodes of several tests share it, with up to 72 connections each.
  '--max-connections=1000',
  `--log-error=${join(folder, 'error.log')}`
]

/** Whether the server lets a client in within 30 s; gives up at once when it has ended. */
async function answers(url: string, ended: () => boolean): Promise<boolean> {
  for (const deadline = Date.now() + 30_000; Date.now() < deadline && !ended(); ) {
    try {
      const connection = await mysql.createConnection(url)
      await connection.end()
      return true
    } catch {
      await new Promise(resolve => setTimeout(resolve, 50))
    }
  }
  return false
}
