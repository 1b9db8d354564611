import { type ChildProcess, spawn } from 'node:child_process'
import { realpathSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { standBack, timeZone } from '../child-process.ts'
import { type Confinement, findConfinement } from './confine.ts'
import type { Place } from './records.ts'

/** A process that runs scripts, as this side sees it. */
export interface RunnerProcess {
  readonly pid: number | undefined
  /** The only way between it and us. */
  readonly pipe: Duplex
  /** SIGKILL: it holds nothing that must be put in order. */
  kill: () => void
  /** What it wrote to its standard error, V8's last words: at most 4 KB a second. */
  onComplaint: (listener: (text: string) => void) => void
  onGone: (listener: () => void) => void
}

/** How far each stands back behind the main process, which serves everybody (nice values); apart: behind all others. */
const NICENESS: Record<Place, number> = { shared: 5, apart: 15, alone: 5 }

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
/** Where packages really lie: the folder may be a link. */
const PACKAGES = realpathSync(fileURLToPath(new URL('../../node_modules', import.meta.url)))
const ENTRY = fileURLToPath(new URL('../sandbox/process.ts', import.meta.url))

/** The least that Node and V8 let a process have: no files but its own code, no child processes, no sockets. */
const FLAGS = [
  ...['--no-node-snapshot', '--disable-warning=ExperimentalWarning', '--disable-warning=PERM0001'],
  ...[
    '--permission',
    '--allow-addons',
    `--allow-fs-read=${ROOT}`,
    `--allow-fs-read=${PACKAGES}`,
    '--allow-fs-read=/etc/alpine-release'
  ],
  ...['--enable-experimental-regexp-engine-on-excessive-backtracks', '--enable-sharedarraybuffer-per-context']
]

let found: Confinement | null = null

/** How runner processes are confined here; found out at the first call. */
export const confinement = (): Confinement => {
  found ??= findConfinement(process.execPath, [ENTRY, `${PACKAGES}/isolated-vm/package.json`])
  return found
}

/** Starts a process with the least that this system lets it have, that executes `entry`: the runner's program. */
export function launchRunner(place: Place, entry = ENTRY): RunnerProcess {
  const [command = '', ...args] = [...confinement().prefix(), process.execPath, ...FLAGS, entry]
  const child = spawn(command, args, {
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    cwd: ROOT,
    // Threads share what memory they get from the system: it would seem used for long after.
    env: { MALLOC_ARENA_MAX: '2', ...timeZone() }
  })
  standBack(child, NICENESS[place])
  child.stdio[3]?.on('error', () => {})
  return {
    pid: child.pid,
    pipe: child.stdio[3] as Duplex,
    kill: () => void child.kill('SIGKILL'),
    onComplaint: listener => relayComplaints(child, listener),
    onGone: listener => void child.once('close', listener)
  }
}

function relayComplaints(child: ChildProcess, onComplaint: (text: string) => void): void {
  let room = 4096
  const refill = setInterval(() => {
    room = 4096
  }, 1000).unref()
  child.once('error', error => onComplaint(error.message))
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    const shown = text.slice(0, room)
    room -= shown.length
    if (shown !== '') onComplaint(shown.trimEnd())
  })
  child.once('close', () => clearInterval(refill))
}
