/** Runs in place of the runner's program, with all that confines it: tries to get out, and tells how that went. */
import { spawnSync } from 'node:child_process'
import { lookup } from 'node:dns/promises'
import { once } from 'node:events'
import { readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { connect, Socket } from 'node:net'
import { Worker } from 'node:worker_threads'

const { ppid } = process

const ATTEMPTS: Record<string, () => unknown> = {
  'read a file of the system': () => readFileSync('/etc/passwd'),
  'read another process’s environment': () => readFileSync(`/proc/${ppid}/environ`),
  'read another process’s memory': () => readFileSync(`/proc/${ppid}/maps`),
  'write a file': () => writeFileSync(new URL('./probe.txt', import.meta.url), 'x'),
  'write to a temporary folder': () => writeFileSync('/tmp/sandhook-probe', 'x'),
  'start a process': () => {
    const { error } = spawnSync('/bin/true')
    if (error) throw error
  },
  'start a thread': () => new Worker('1', { eval: true }),
  'signal its parent': () => process.kill(ppid, 0),
  'change its user': () => process.setuid?.(0),
  'reach internals': () => (process as unknown as { binding: (name: string) => unknown }).binding('fs'),
  'load an addon from elsewhere': () => process.dlopen({ exports: {} }, '/tmp/any.node'),
  'resolve a name': () => lookup('localhost'),
  'connect to a server': async () => {
    const socket = connect(Number(process.argv[2] ?? 1), '127.0.0.1')
    await once(socket, 'connect')
  },
  'open the inspector': async () => (await import('node:inspector')).open(0)
}

const tried: Record<string, string> = {}
for (const [what, attempt] of Object.entries(ATTEMPTS))
  try {
    await attempt()
    tried[what] = 'done'
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    tried[what] = code ?? message
  }

const quietly = <T>(look: () => T): T | null => {
  try {
    return look()
  } catch {
    return null
  }
}
const seen = {
  tried,
  environment: Object.keys(process.env).sort(),
  user: process.getuid?.(),
  descriptors: quietly(() => readdirSync('/proc/self/fd').map(fd => quietly(() => readlinkSync(`/proc/self/fd/${fd}`))))
}
new Socket({ fd: 3 }).end(`${JSON.stringify(seen)}\n`)
