import { spawnSync } from 'node:child_process'

/** Where these tools lie, whatever the environment says. */
const PATH = '/usr/sbin:/usr/bin:/sbin:/bin'

/** The numbers that systemd keeps for passing services: no account has them, so no file and no process is theirs. */
const FIRST_USER = 61_184
const USERS = 4_336

type Command = (user: string) => string[]

/**
 * Commands that start a program with less than they have themselves; one put before the other, they add up. None of
 * them forks: the process that is started is the program in the end. Of each the first that works is taken; what the
 * system lacks or refuses is left out.
 */
const STEPS: { what: string; commands: Command[] }[] = [
  {
    what: 'a network without interfaces',
    commands: [() => ['unshare', '--net', '--'], () => ['unshare', '--user', '--net', '--']]
  },
  {
    what: 'no core dumps, no writing of files, 256 descriptors',
    commands: [() => ['prlimit', '--core=0', '--fsize=0', '--nofile=256', '--']]
  },
  {
    what: 'a user of its own',
    commands: [user => ['setpriv', `--reuid=${user}`, `--regid=${user}`, '--clear-groups', '--']]
  },
  { what: 'no new privileges', commands: [() => ['setpriv', '--no-new-privs', '--inh-caps=-all', '--']] }
]

export interface Confinement {
  /** What to put before a program's command line; each call names another user. */
  prefix: () => string[]
  /** What this system would not give, in words; for the log. */
  missing: string[]
}

/**
 * Finds out, once, by trying, how far this system lets a program be confined that must still read `files` and run
 * `program`. Takes some 20 ms.
 */
export function findConfinement(program: string, files: string[]): Confinement {
  let next = process.pid % USERS
  const user = () => String(FIRST_USER + (next++ % USERS))
  const prefixOf = (commands: Command[]) => {
    const name = user()
    return commands.flatMap(command => command(name))
  }
  const works = (commands: Command[]) => {
    const [first = '', ...args] = [...prefixOf(commands), 'test', ...readable(program, files)]
    return spawnSync(first, args, { stdio: 'ignore', env: { PATH }, timeout: 5_000 }).status === 0
  }
  const usable: Command[] = []
  const missing: string[] = []
  for (const { what, commands } of STEPS) {
    const working = commands.find(command => works([...usable, command]))
    if (working) usable.push(working)
    else missing.push(what)
  }
  return { prefix: () => prefixOf(usable), missing }
}

/** Arguments of `test`: may this user run the program and read these files? */
const readable = (program: string, files: string[]): string[] => [
  ...['-x', program],
  ...files.flatMap(file => ['-a', '-r', file])
]
