import { globSync, readFileSync } from 'node:fs'
import { posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const ROOT = fileURLToPath(new URL('../', import.meta.url))

/** A room imports only from lower layers; rooms of the same layer are strangers. From 6 on they build the others. */
const LAYERS: Record<string, number> = {
  ...{ errors: 0, json: 0, model: 0, 'config-files': 0, 'child-process': 0 },
  ...{ config: 1, store: 1, sandbox: 1, host: 2, runner: 3, events: 5, admin: 5, demo: 5 },
  ...{ 'secret-key': 6, startup: 6, feeds: 6, amqp: 6, engine: 7, main: 8 }
}
const BUILDERS = 6

/** Packages that only these rooms know. */
const SOLE_IMPORTERS = {
  'isolated-vm': ['sandbox'],
  knex: ['store'],
  'better-sqlite3': ['store', 'host'],
  mysql2: ['host'],
  undici: ['host']
}

const filesOf = (pattern: string): string[] => globSync(pattern, { cwd: ROOT })
const textOf = (file: string): string => readFileSync(ROOT + file, 'utf8')
const roomOf = (file: string): string => (file.split('/')[1] ?? '').replace(/\.ts$/, '')
const layerOf = (room: string): number => LAYERS[room] ?? Number.NaN

const IMPORT = /^(?:import|export)\s+(type\s)?(?:[^'"`;]*?\sfrom\s+)?'([^']+)'|\bimport\(\s*'([^']+)'/gm

/** `target`: a path from the top folder, or a package. `typeOnly`: it is gone when the types are stripped. */
const importsOf = (file: string) =>
  [...textOf(file).matchAll(IMPORT)].map(([, type, named, called]) => {
    const given = named ?? called ?? ''
    const target = given.startsWith('.') ? posix.join(posix.dirname(file), given) : given
    return { room: roomOf(file), target, typeOnly: type !== undefined, tell: `${file} imports ${target}` }
  })

const files = filesOf('runtime/**/*.{ts,js}')
const imports = files.flatMap(importsOf)
const rooms = imports.filter(({ target }) => target.startsWith('runtime/'))
const tell = (wrong: typeof imports) => wrong.map(each => each.tell)

test('every room has its layer', () => {
  expect([...new Set(files.map(roomOf))].filter(room => !(room in LAYERS))).toEqual([])
})

test('rooms import only from rooms below them', () => {
  expect(rooms.length).toBeGreaterThan(100)
  const between = rooms.filter(({ room, target }) => room !== roomOf(target))
  const nouns = (each: (typeof rooms)[number]) => each.typeOnly && layerOf(roomOf(each.target)) === 0
  const upward = between.filter(each => !(layerOf(roomOf(each.target)) < layerOf(each.room)) && !nouns(each))
  expect(tell(upward)).toEqual([])
})

test('only the builders use the settings; other rooms know no more than their shape', () => {
  const users = rooms.filter(({ target, typeOnly }) => target.startsWith('runtime/config') && !typeOnly)
  expect(tell(users.filter(({ room }) => room !== 'config' && layerOf(room) < BUILDERS))).toEqual([])
})

test('runtime imports nothing from beside it', () => {
  const beside = imports.filter(({ target }) => /^(\.\.|\/|(hooks|sql|config|test)\/)/.test(target))
  expect(tell(beside)).toEqual([])
})

test.each(Object.entries(SOLE_IMPORTERS))('%s is known to %j only', (name, owners) => {
  const all = imports.filter(({ target }) => target === name || target.startsWith(`${name}/`))
  expect(all.length, 'somebody must need it').toBeGreaterThan(0)
  expect(tell(all.filter(({ room }) => !owners.includes(room)))).toEqual([])
})

test('hooks import nothing, and require nothing but libraries', () => {
  const scripts = filesOf('hooks/**/*.js')
  expect(tell(scripts.flatMap(importsOf))).toEqual([])
  const required = scripts.flatMap(file => [...textOf(file).matchAll(/^[^/*\n]*\brequire\(['"]([^'"]+)/gm)])
  expect(required.length).toBeGreaterThan(0)
  expect(required.map(([, path]) => path).filter(path => !path?.startsWith('/lib/'))).toEqual([])
})

test('only config reads the environment, but for the time zone that other processes are given', () => {
  const reads = (file: string) =>
    textOf(file)
      .matchAll(/process\.env(\.TZ)?/g)
      .map(([found]) => found)
      .toArray()
  expect(files.filter(file => reads(file).includes('process.env'))).toEqual(['runtime/config.ts'])
  expect(files.filter(file => reads(file).includes('process.env.TZ'))).toEqual(['runtime/child-process.ts'])
})
