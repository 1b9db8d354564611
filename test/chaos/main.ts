/** `npm run chaos -- --events 20000 --kills 100 --seed 1`: kills everything while orders are worked through; then proves. */
import { writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { installServers } from '../support/packages.ts'
import { planKills } from './monkey.ts'
import { runChaos } from './run.ts'

/** How often each is killed, compared with the others. */
const WEIGHTS = { node: 7, runner: 7, database: 4, broker: 2, pause: 1 }

const { values } = parseArgs({
  options: {
    events: { type: 'string', default: '2000' },
    kills: { type: 'string', default: '10' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    nodes: { type: 'string', default: '2' }
  }
})
const seed = Number(values.seed)
const say = (text: string) => void process.stdout.write(`${text}\n`)

installServers()
say(`Chaos: ${values.events} events, ${values.kills} kills, ${values.nodes} nodes, seed ${seed}`)
const begun = Date.now()
const { violations, figures, logs } = await runChaos({
  ...{ events: Number(values.events), seed, nodes: Number(values.nodes) },
  plan: planKills(Number(values.kills), WEIGHTS, seed),
  say: text => say(`${String(Math.round((Date.now() - begun) / 1000)).padStart(5)} s  ${text}`)
})
for (const [name, value] of Object.entries(figures)) say(`${name.padEnd(36)} ${String(value).padStart(8)}`)
if (violations.length > 0) {
  const file = join(tmpdir(), `sandhook-chaos-${seed}.log`)
  writeFileSync(file, [...violations, ...logs].join('\n'))
  say(`${violations.length} violations with seed ${seed} (all of them, and what the nodes said, in ${file}):`)
  for (const violation of violations.slice(0, 40)) say(`  ${violation}`)
  process.exit(1)
}
say('Nothing lost, nothing twice, everything in order.')
process.exit(0)
