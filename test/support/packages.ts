import { execFileSync } from 'node:child_process'
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** What the tests run for real, as Debian packages: which program shows that one is there, and what makes it needless. */
const SERVERS = [
  { packages: ['mariadb-server'], programs: ['mariadbd'], unless: 'TEST_MYSQL_URL' },
  {
    packages: ['rabbitmq-server', 'amqp-tools'],
    programs: ['rabbitmq-server', 'amqp-publish'],
    unless: 'TEST_AMQP_URL'
  },
  { packages: ['redis-server'], programs: ['redis-server'], unless: 'TEST_REDIS_URL' }
]

const FOLDERS = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/usr/bin']

/** Where a program lies; undefined: it is not installed. */
export const findProgram = (name: string): string | undefined =>
  FOLDERS.map(folder => join(folder, name)).find(existsSync)

/**
 * Installs the servers that are missing, as root on Debian; elsewhere does nothing, and the suites say what they skip. In
 * one go, before there are workers: apt takes one caller at a time. No service is started.
 */
export function installServers(): void {
  const missing = SERVERS.filter(({ programs, unless }) => !process.env[unless] && !programs.every(findProgram))
  if (missing.length === 0 || process.getuid?.() !== 0 || !existsSync('/etc/debian_version')) return
  const noStart = '/usr/sbin/policy-rc.d'
  const ours = !existsSync(noStart)
  if (ours) writeFileSync(noStart, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const apt = (...args: string[]) =>
    execFileSync('apt-get', ['-q', ...args], { stdio: ['ignore', 'ignore', 'pipe'], env })
  try {
    apt('update')
    apt('install', '-y', '--no-install-recommends', ...missing.flatMap(({ packages }) => packages))
  } finally {
    if (ours) rmSync(noStart)
  }
}
