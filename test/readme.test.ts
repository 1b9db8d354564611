import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, onTestFinished, test } from 'vitest'
import { readConfig } from '../runtime/config.ts'
import { errorTable } from '../runtime/errors.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const READMES = ['README.md', 'README.zh-CN.md']
const TOKEN = 'a-token-for-the-readme-test'

const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8')

/** The settings that config.ts asks for, told by what it reads from an empty environment. */
function settingsRead(): string[] {
  const names = new Set<string>()
  const empty = new Proxy({}, { get: (_, name) => void names.add(String(name)) })
  readConfig(empty)
  return [...names].sort()
}

/** Matches an output in which `…` stands for anything. */
function patternOf(expected: string): RegExp {
  const parts = expected.trim().split(/\s*…\s*/)
  return new RegExp(`^${parts.map(part => part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')).join('[\\s\\S]*?')}$`)
}

interface Step {
  script: string
  expected: RegExp | null
}

/** The shell blocks of the first five minutes, each with the output that follows it. */
function stepsOf(readme: string, heading: string): Step[] {
  const section = readme.split(/^## /m).find(text => text.startsWith(heading)) ?? ''
  const blocks = [...section.matchAll(/^```(\w*)\n(.*?)^```$/gms)].map(([, kind, text = '']) => ({ kind, text }))
  return blocks.flatMap(({ kind, text }, i) => {
    const next = blocks[i + 1]
    return kind === 'sh' ? [{ script: text, expected: next && next.kind !== 'sh' ? patternOf(next.text) : null }] : []
  })
}

/** Starts a real Sandhook with an embedded database of its own; answers its address, and what it has complained of. */
async function startSandhook(folder: string): Promise<{ url: string; complaints: () => string }> {
  const child = spawn(process.execPath, ['--no-node-snapshot', 'runtime/main.ts'], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...{ PATH: process.env.PATH, DATABASE_URL: `sqlite:${join(folder, 'sandhook.db')}`, PORT: '0' },
      ...{ SANDHOOK_ADMIN_TOKEN: TOKEN, SANDHOOK_RUNNERS: '1', SANDHOOK_LOG_LEVEL: 'warn' }
    }
  })
  let said = ''
  child.stderr.on('data', text => {
    said += text
  })
  onTestFinished(() => end(child))
  const first = await Promise.race([once(child.stdout, 'data'), once(child, 'exit')])
  const url = /listens at (\S+)/.exec(String(first[0]))?.[1]
  if (!url) throw new Error(`Sandhook did not start (${first.join(' ')}): ${said}`)
  return { url, complaints: () => `${said} ${child.exitCode ?? child.signalCode ?? ''}`.trim() }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGTERM')
  await once(child, 'exit')
}

/** One bash for all steps, so that variables live on; `run` answers a script's exit code and what it printed. */
function openShell(folder: string) {
  const path = [dirname(process.execPath), process.env.PATH].join(delimiter)
  const shell = spawn('bash', ['-o', 'pipefail'], { cwd: folder, env: { PATH: path, HOME: folder, LC_ALL: 'C.UTF-8' } })
  onTestFinished(() => end(shell))
  let printed = ''
  for (const stream of [shell.stdout, shell.stderr])
    stream.setEncoding('utf8').on('data', text => {
      printed += text
    })
  return {
    async run(script: string): Promise<{ code: number; output: string }> {
      printed = ''
      const file = join(folder, 'step.sh')
      writeFileSync(file, script)
      shell.stdin.write(`. ${file} </dev/null; echo "@@$?@@"\n`)
      const done = /@@(\d+)@@\n$/
      while (!done.test(printed)) await once(shell.stdout, 'data')
      return { code: Number(done.exec(printed)?.[1]), output: printed.replace(done, '').trim() }
    }
  }
}

const PATIENCE_MS = 20_000

describe('the first five minutes', () => {
  test.each([
    ['README.md', 'The first five minutes'],
    ['README.zh-CN.md', '最初五分钟']
  ])('of %s print what they say they print', { timeout: 90_000 }, async (file, heading) => {
    const folder = mkdtempSync(join(tmpdir(), 'sandhook-readme-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    const { url, complaints } = await startSandhook(folder)
    const shell = openShell(folder)
    const steps = stepsOf(read(file), heading)
    expect(steps.length).toBeGreaterThan(8)
    expect(steps[0]?.script).toMatch(/^URL=http:\/\/127\.0\.0\.1:8080\nTOKEN=\S+$/m)

    for (const { script, expected } of steps) {
      const real = script.replace(/^URL=.*$/m, `URL=${url}`).replace(/^TOKEN=.*$/m, `TOKEN=${TOKEN}`)
      // What only looks may look again: a reader needs longer to the next step than a run takes.
      const onlyLooks = !/ -d | -X /.test(script)
      const deadline = Date.now() + (onlyLooks ? PATIENCE_MS : 0)
      let { code, output } = await shell.run(real)
      while (Date.now() < deadline && expected && !expected.test(output)) ({ code, output } = await shell.run(real))
      expect(output, complaints()).toMatch(expected ?? /^$/)
      expect(code).toBe(0)
    }
  })
})

describe.each(READMES)('%s', file => {
  const text = read(file)

  test('names the commands that start and test it', () => {
    expect(text).toContain('npm start')
    expect(text).toContain('npm test')
    expect(Object.keys(JSON.parse(read('package.json')).scripts)).toEqual(expect.arrayContaining(['start', 'test']))
  })

  test('lists every setting that is read, and no other', () => {
    const listed = [...text.matchAll(/^\| `([A-Z_]+)` \|.*\|.*\|$/gm)].map(([, name]) => name)
    expect(listed.sort()).toEqual(settingsRead())
  })

  test('lists every error code with its status and what becomes of a retry', () => {
    const rows = [...text.matchAll(/^\|.*\| (.*`[A-Z_]+` \d{3}.*) \| (no|yes|free) \|$/gm)]
    const listed = rows.flatMap(([, codes = '', retry]) =>
      [...codes.matchAll(/`([A-Z_]+)` (\d{3})/g)].map(([, code, status]) => ({ code, status: Number(status), retry }))
    )
    const byCode = (a: { code?: string }, b: { code?: string }) => String(a.code).localeCompare(String(b.code))
    expect(listed.sort(byCode)).toEqual(errorTable().sort(byCode))
  })
})

test.each([...READMES, 'CHANGELOG.md'])('the links of %s into the repository lead somewhere', file => {
  const targets = [...read(file).matchAll(/\]\(([^)#]+)[^)]*\)/g)].map(([, target = '']) => target)
  const inside = targets.filter(target => !target.startsWith('http'))
  expect(inside.filter(target => !existsSync(resolve(ROOT, target)))).toEqual([])
})

describe('the examples for production', () => {
  const NOT_OURS = ['TZ']
  const compose = read('docs/deploy/compose.yaml')
  const wanted = [...compose.matchAll(/\$\{([A-Z_]+)/g)].map(([, name]) => name)

  test('set nothing in env.example that nobody reads', () => {
    const set = [...read('docs/deploy/env.example').matchAll(/^#?([A-Z_]+)=/gm)].map(([, name]) => name)
    expect(set.length).toBeGreaterThan(5)
    expect(set.filter(name => ![...settingsRead(), ...wanted, ...NOT_OURS].includes(name ?? ''))).toEqual([])
  })

  test('give the container only settings that are read', () => {
    const [, environment = ''] = /^ {2}sandhook:.*?^ {4}environment:\n(.*?)^ {4}\w/ms.exec(compose) ?? []
    const given = [...environment.matchAll(/^ {6}([A-Z_]+):/gm)].map(([, name]) => name)
    expect(given.length).toBeGreaterThan(5)
    expect(given.filter(name => ![...settingsRead(), ...NOT_OURS].includes(name ?? ''))).toEqual([])
  })
})
