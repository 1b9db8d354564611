import { once } from 'node:events'
import { readFileSync, readlinkSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, test } from 'vitest'
import { findConfinement } from '../../runtime/runner/confine.ts'
import { confinement, launchRunner, type RunnerProcess } from '../../runtime/runner/launch.ts'

const PROBE = fileURLToPath(new URL('./probe.ts', import.meta.url))
const isRoot = process.getuid?.() === 0

describe('what runs in a runner process', () => {
  let seen: { tried: Record<string, string>; environment: string[]; user: number }

  beforeAll(async () => {
    process.env.SANDHOOK_PROBE_SECRET = 'very secret'
    const probe = launchRunner('shared', PROBE)
    seen = JSON.parse(await text(probe.pipe))
    delete process.env.SANDHOOK_PROBE_SECRET
  })

  test.each([
    'read a file of the system',
    'read another process’s environment',
    'read another process’s memory',
    'write a file',
    'write to a temporary folder',
    'start a process',
    'start a thread',
    'change its user',
    'load an addon from elsewhere',
    'resolve a name',
    'connect to a server',
    'open the inspector'
  ])('can not %s', what => {
    expect(seen.tried[what]).toMatch(/^(ERR_ACCESS_DENIED|ERR_DLOPEN_FAILED|EACCES|EPERM|ENETUNREACH|EADDRNOTAVAIL)$/)
  })

  test('reaches no internals of Node', () => {
    expect(seen.tried['reach internals']).not.toBe('done')
  })

  test('finds an environment with nothing of ours in it', () => {
    expect(seen.environment.filter(name => name !== 'TZ')).toEqual(['MALLOC_ARENA_MAX'])
  })

  test.runIf(isRoot && confinement().missing.length === 0)('is a user that nobody else is, and signals nobody', () => {
    expect(seen.user).toBeGreaterThanOrEqual(61_184)
    expect(seen.user).toBeLessThan(65_520)
    expect(seen.tried['signal its parent']).toBe('EPERM')
  })
})

describe('a runner process as the system sees it', () => {
  let runner: RunnerProcess
  const status = (field: string) =>
    new RegExp(`^${field}:\\s*(.*)$`, 'm').exec(readFileSync(`/proc/${runner.pid}/status`, 'utf8'))?.[1]

  beforeAll(async () => {
    runner = launchRunner('apart')
    await once(runner.pipe, 'data')
    return () => runner.kill()
  })

  test('has its pipe, its standard error, and nothing else of this process', async () => {
    const folder = `/proc/${runner.pid}/fd`
    const held = (await readdir(folder)).map(fd => readlinkSync(`${folder}/${fd}`))
    const open = held.filter(target => !/^(anon_inode:|\/dev\/null$)/.test(target))
    // Node's own threads wake each other by pipes; the two sockets are the pipe and the standard error.
    expect(open.filter(target => !/^pipe:/.test(target)).every(target => /^socket:/.test(target))).toBe(true)
    expect(open.filter(target => /^socket:/.test(target)).length).toBeLessThanOrEqual(2)
  })

  test('stands back, and has no privileges to win or to lose', () => {
    const niceness = Number(readFileSync(`/proc/${runner.pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[16])
    expect(niceness).toBeGreaterThanOrEqual(15)
    if (confinement().missing.includes('no new privileges')) return
    expect(status('NoNewPrivs')).toBe('1')
    if (isRoot && !confinement().missing.includes('a user of its own')) expect(status('CapEff')).toMatch(/^0+$/)
  })
})

describe('the search for what the system offers', () => {
  test('leaves out what would keep the program from its files, and says so', () => {
    const { prefix, missing } = findConfinement(process.execPath, ['/nowhere/at/all'])
    expect(prefix()).toEqual([])
    expect(missing).toHaveLength(4)
  })

  test.runIf(isRoot && confinement().missing.length === 0)('gives each process another user', () => {
    const user = (words: string[]) => words.find(word => word.startsWith('--reuid='))
    expect(user(confinement().prefix())).not.toBe(user(confinement().prefix()))
  })
})
