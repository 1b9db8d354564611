import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import builtins from '../../config/builtin-hooks.json' with { type: 'json' }

const root = fileURLToPath(new URL('../..', import.meta.url))
const hooks = join(root, 'hooks')
const scripts = (await readdir(hooks, { recursive: true })).filter(file => file.endsWith('.js')).sort()
const textOf = (file: string) => readFile(join(hooks, file), 'utf8')

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'hook-types-'))
})
afterAll(() => rm(folder, { recursive: true }))

/** Type-checks scripts against hook.d.ts alone, each as the body of a function; gives the compiler's complaints. */
async function complaintsOf(texts: Record<string, string>): Promise<string> {
  const compilerOptions = {
    allowJs: true,
    checkJs: true,
    noEmit: true,
    strict: true,
    noImplicitAny: false,
    types: [],
    lib: ['es2023'],
    target: 'es2023',
    module: 'preserve',
    paths: { '/lib/*': ['./library.d.ts'] }
  }
  await rm(join(folder, 'src'), { recursive: true, force: true })
  await mkdir(join(folder, 'src'))
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['src'] }))
  await writeFile(join(folder, 'library.d.ts'), 'declare const library: any\nexport = library\n')
  await writeFile(join(folder, 'src/hook.d.ts'), await textOf('hook.d.ts'))
  for (const [name, text] of Object.entries(texts)) {
    await writeFile(join(folder, 'src', name.replaceAll('/', '_')), `;(() => {${text}\n})()\n`)
  }
  const tsc = join(root, 'node_modules/typescript/bin/tsc')
  return promisify(execFile)(process.execPath, [tsc, '-p', folder]).then(
    ({ stdout }) => stdout,
    ({ stdout }) => stdout
  )
}

test('every built-in hook and library keeps to the documented contract', async () => {
  expect(
    await complaintsOf(Object.fromEntries(await Promise.all(scripts.map(async file => [file, await textOf(file)]))))
  ).toBe('')
})

test.each([
  ['a method that db does not have', "db.remove('DELETE FROM t')", "'remove'"],
  ['an option that http does not have', "http.get('https://erp.example.com', { retries: 3 })", "'retries'"],
  ['Node itself', 'process.exit()', "'process'"],
  ['a value put into exit as text', "exit('400', 'no id')", "'string'"]
])('the contract refuses %s', async (_, text, complaint) => {
  expect(await complaintsOf({ 'wrong.js': text })).toContain(complaint)
})

test('every script is listed once, under the path of its file', () => {
  expect(builtins.map(hook => hook.file).sort()).toEqual(scripts)
  for (const { path, file } of builtins) {
    expect(path).toBe(file.startsWith('lib/') ? `/${file.slice(0, -3)}` : `/custom/${file.slice(0, -3)}`)
  }
})

test('libraries have no events, and every event of a hook is in the catalog', async () => {
  const catalog: { key: string }[] = JSON.parse(await readFile(join(root, 'config/events.json'), 'utf8'))
  const keys = catalog.map(event => event.key)
  for (const { path, events } of builtins) {
    if (path.startsWith('/lib/')) expect(events, path).toEqual([])
    expect(keys).toEqual(expect.arrayContaining(events))
  }
})

test('whatever a script requires is there', async () => {
  for (const file of scripts) {
    for (const [, path] of (await textOf(file)).matchAll(/require\('([^']*)'\)/g)) {
      expect(existsSync(join(hooks, `${path}.js`)), `${file} requires ${path}`).toBe(true)
    }
  }
})

test('every env key that a script reads is explained at its top, or at that of a library', async () => {
  for (const file of scripts) {
    const text = await textOf(file)
    const header = text.slice(0, text.indexOf('*/'))
    for (const [, key] of text.matchAll(/env\.get\('(\w+)'/g)) expect(header, file).toContain(key)
  }
})
