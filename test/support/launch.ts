import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const MAIN = fileURLToPath(new URL('../../runtime/main.ts', import.meta.url))

/** A Sandhook that may not come up, or not soon. */
export interface Launched {
  pid: number
  /** What it has printed so far, by stream. */
  stdout: () => string
  stderr: () => string
  /** Where it listens, once it does; rejects when it ends before. */
  url: Promise<string>
  /** Its exit code, or the name of the signal that ended it. */
  ended: Promise<number | string>
  kill: (signal: NodeJS.Signals) => void
}

/** Starts `runtime/main.ts` in the folder `cwd` with nothing in its environment but `env`, and waits for nothing. */
export function launch(env: Record<string, string>, cwd: string): Launched {
  const child = spawn(process.execPath, ['--no-node-snapshot', MAIN], {
    env: { PATH: process.env.PATH, SANDHOOK_RUNNERS: '1', ...env },
    cwd,
    stdio: ['ignore', 'pipe', 'pipe']
  })
  const said = { stdout: '', stderr: '' }
  const { promise: url, resolve, reject } = Promise.withResolvers<string>()
  url.catch(() => {})
  for (const name of ['stdout', 'stderr'] as const)
    child[name].setEncoding('utf8').on('data', text => {
      said[name] += text
      const found = /listens at (\S+)/.exec(said.stdout)?.[1]
      if (found) resolve(found)
    })
  const ended = once(child, 'close').then(([code, signal]) => {
    reject(new Error(`Sandhook ended at its start (${code ?? signal}):\n${said.stdout}${said.stderr}`))
    return (code ?? signal) as number | string
  })
  return {
    pid: child.pid ?? 0,
    stdout: () => said.stdout,
    stderr: () => said.stderr,
    url,
    ended,
    kill: signal => void child.kill(signal)
  }
}
