import type { Node } from './cluster.ts'
import { createRandom } from './random.ts'

export const VICTIMS = ['node', 'runner', 'database', 'broker', 'pause'] as const
export type Victim = (typeof VICTIMS)[number]

/** Something that the monkey did, and how long it lasted. */
export interface Kill {
  victim: Victim
  at: number
  /** When what was killed was up again. */
  until: number
}

/** A server that may be killed. */
export interface Mortal {
  kill: () => Promise<void>
  restart: () => Promise<void>
}

export interface MonkeyNeeds {
  /** What to kill, one after the other. */
  plan: Victim[]
  seed: number
  nodes: Node[]
  database: Mortal
  broker: Mortal
  /** How much of the work is done, from 0 to 1. */
  progress: () => number
  /** Longer than a lease. */
  pauseMs: number
  say: (text: string) => void
}

export interface Monkey {
  kills: Kill[]
  /** Resolves when all kills are done and everything is up again. */
  done: Promise<void>
}

const LOOK_MS = 20
const MAX_WAIT_MS = 400
const MAX_REST_MS = 1_500
/** How often a kill does not wait for the one before to be over. */
const TOGETHER = 0.3

/** So many victims, each as often as its weight says compared with the others. */
export function planKills(kills: number, weights: Record<Victim, number>, seed: number): Victim[] {
  const random = createRandom(seed)
  const hat = VICTIMS.flatMap(victim => Array<Victim>(weights[victim]).fill(victim))
  return Array.from({ length: kills }, () => random.pick(hat))
}

/** Kills by the plan, spread over the work; which one, when exactly and for how long follows from the seed. */
export function startMonkey(needs: MonkeyNeeds): Monkey {
  const random = createRandom(needs.seed)
  const kills: Kill[] = []
  const down = new Set<unknown>()
  const recoveries: Promise<void>[] = []

  /** Does something to what is up; null: it is not. */
  function strike(victim: Victim): Promise<void> | null {
    const restMs = random.next() < 0.5 ? 0 : random.whole(0, MAX_REST_MS)
    const node = random.pick(needs.nodes)
    switch (victim) {
      case 'node':
        return node.process && !down.has(node) ? lasting(node, () => node.kill(restMs)) : null
      case 'pause':
        return node.process && !down.has(node) ? lasting(node, () => pause(node, needs.pauseMs)) : null
      case 'runner': {
        const runners = node.process && !down.has(node) ? node.process.runners() : []
        return runners.length > 0 ? lasting({}, async () => end(random.pick(runners))) : null
      }
      case 'database':
        return down.has(needs.database) ? null : lasting(needs.database, () => reboot(needs.database, restMs))
      case 'broker':
        return down.has(needs.broker) ? null : lasting(needs.broker, () => reboot(needs.broker, restMs))
    }
  }
  const lasting = (what: unknown, act: () => Promise<void>): Promise<void> => {
    down.add(what)
    return act().finally(() => down.delete(what))
  }

  async function strikeOnce(victim: Victim): Promise<void> {
    let over = strike(victim)
    while (!over) {
      await rest(LOOK_MS)
      over = strike(victim)
    }
    const kill: Kill = { victim, at: Date.now(), until: Number.POSITIVE_INFINITY }
    kills.push(kill)
    needs.say(`${kills.length}/${needs.plan.length}: ${victim}`)
    const recovery = over.then(() => {
      kill.until = Date.now()
    })
    recoveries.push(recovery)
    if (victim !== 'pause' && random.next() >= TOGETHER) await recovery
  }

  async function rampage(): Promise<void> {
    for (const [no, victim] of needs.plan.entries()) {
      const due = (no + random.next()) / (needs.plan.length + 1)
      while (needs.progress() < due) await rest(LOOK_MS)
      await rest(random.whole(0, MAX_WAIT_MS))
      await strikeOnce(victim)
    }
    await Promise.all(recoveries)
  }
  return { kills, done: rampage() }
}

const rest = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

async function reboot(server: Mortal, restMs: number): Promise<void> {
  await server.kill()
  await rest(restMs)
  await server.restart()
}

async function pause(node: Node, ms: number): Promise<void> {
  const pid = node.process?.pid
  if (pid === undefined) return
  process.kill(pid, 'SIGSTOP')
  await rest(ms)
  process.kill(pid, 'SIGCONT')
}

function end(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    // It has ended by itself just now.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
