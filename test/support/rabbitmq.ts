import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import amqp from 'amqplib'
import { freePort } from './port.ts'

/** A RabbitMQ server that tests may do anything with. */
export interface TestBroker {
  url: string
  /** Runs `rabbitmqctl`; answers what it prints. Null: the server is not ours. */
  ctl: ((...args: string[]) => string) | null
  /** Ends it as a power cut does, or `restart`s it with what it has on disk. Null: the server is not ours. */
  kill: (() => Promise<void>) | null
  restart: (() => Promise<void>) | null
  stop: () => Promise<void>
}

/**
 * A real broker for one test file: the one of `TEST_AMQP_URL`, or else a private one in a fresh folder on free ports of
 * 127.0.0.1. Null where there is none to be had; with `CI=true` throws.
 */
export async function startRabbitmq(): Promise<TestBroker | null> {
  const given = process.env.TEST_AMQP_URL
  if (given) return { url: given, ctl: null, kill: null, restart: null, stop: async () => {} }
  if (isThere()) return launch()
  if (process.env.CI === 'true')
    throw new Error('No RabbitMQ to test with: install rabbitmq-server and amqp-tools, or set TEST_AMQP_URL')
  return null
}

/** Debian's scripts, below the wrapper that keeps anybody but root and rabbitmq out. */
const BIN = '/usr/lib/rabbitmq/bin'
const isThere = (): boolean => existsSync(join(BIN, 'rabbitmq-server')) && existsSync('/usr/bin/amqp-publish')

/**
 * Ends the server when its input does: when the test run was killed before it could stop it. Erlang's port mapper, which
 * would outlive the server, is started first, in the same process group.
 */
const OUTLIVED = 'exec 3<&0; epmd 3<&- & "$0" "$@" 3<&- & server=$!; (read -r _ <&3; kill -9 0) & wait $server'

async function launch(): Promise<TestBroker> {
  const folder = mkdtempSync(join(tmpdir(), 'sandhook-rabbitmq-'))
  const account = accountOf()
  if (account) chownSync(folder, account.uid, account.gid)
  const [port, distPort, epmdPort] = [await freePort(), await freePort(), await freePort()]
  const env = {
    ...{ PATH: process.env.PATH, HOME: folder, LANG: 'C.UTF-8' },
    RABBITMQ_NODENAME: `t${port}@localhost`,
    RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
    RABBITMQ_NODE_PORT: String(port),
    RABBITMQ_DIST_PORT: String(distPort),
    ERL_EPMD_PORT: String(epmdPort),
    ERL_EPMD_ADDRESS: '127.0.0.1',
    RABBITMQ_MNESIA_BASE: join(folder, 'data'),
    RABBITMQ_LOG_BASE: join(folder, 'log'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'plugins'),
    RABBITMQ_PID_FILE: join(folder, 'pid'),
    RABBITMQ_CONFIG_FILE: join(folder, 'none'),
    RABBITMQ_CTL_ERL_ARGS: `-kernel inet_dist_use_interface {127,0,0,1}`
  }
  for (const name of ['data', 'log']) {
    mkdirSync(join(folder, name))
    if (account) chownSync(join(folder, name), account.uid, account.gid)
  }
  writeFileSync(join(folder, 'plugins'), '[rabbitmq_consistent_hash_exchange].\n')
  const options = { env, cwd: folder, ...account }
  const url = `amqp://guest:guest@127.0.0.1:${port}`

  let server = begin()
  function begin() {
    const child = spawn('sh', ['-c', OUTLIVED, join(BIN, 'rabbitmq-server')], {
      ...options,
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true
    })
    return { child, exited: once(child, 'exit') }
  }
  const ctl = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(join(BIN, 'rabbitmqctl'), args, { ...options, encoding: 'utf8' })
    if (status !== 0) throw new Error(`rabbitmqctl ${args.join(' ')}: ${stdout}${stderr}`)
    return stdout
  }
  /** The whole group: the scripts, the Erlang machine, its helpers. */
  const kill = async () => {
    if (server.child.exitCode !== null || server.child.signalCode !== null) return
    process.kill(-(server.child.pid ?? 0), 'SIGKILL')
    await server.exited
  }
  const up = async () => {
    if (!(await answers(url, () => server.child.exitCode !== null)))
      throw new Error(`RabbitMQ did not start: ${folder}`)
  }
  await up()
  return {
    ...{ url, ctl, kill },
    async restart() {
      await kill()
      server = begin()
      await up()
    },
    async stop() {
      await kill()
      rmSync(folder, { recursive: true, force: true })
    }
  }
}

/** The account that Debian made for the server; undefined: we are not root and run it as ourselves. */
function accountOf(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined
  const idOf = (flag: string) => Number(execFileSync('id', [flag, 'rabbitmq'], { encoding: 'utf8' }))
  return { uid: idOf('-u'), gid: idOf('-g') }
}

/** Whether the server lets a client in within a minute; gives up at once when it has ended. */
async function answers(url: string, ended: () => boolean): Promise<boolean> {
  for (const deadline = Date.now() + 60_000; Date.now() < deadline && !ended(); ) {
    try {
      const connection = await amqp.connect(url, { timeout: 2_000 })
      await connection.close()
      return true
    } catch {
      await new Promise(resolve => setTimeout(resolve, 100))
    }
  }
  return false
}
