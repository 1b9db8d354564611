import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

/**
 * `npm run fuzz -- --runs 50000 --seed 7`: the same tests with as many requests as wanted for each engine, and with a
 * seed of its own, which is printed so that what was found can be found again.
 */
const { values } = parseArgs({
  options: { runs: { type: 'string', default: '50000' }, seed: { type: 'string', default: String(Date.now() % 1e9) } }
})
const { runs, seed } = values
process.stdout.write(`Fuzzing with ${runs} requests for each engine; to do it again: --runs ${runs} --seed ${seed}\n`)
const vitest = fileURLToPath(new URL('../../node_modules/vitest/vitest.mjs', import.meta.url))
spawn(process.execPath, [vitest, 'run', 'test/fuzz'], {
  env: { ...process.env, FUZZ_RUNS: runs, FUZZ_SEED: seed },
  stdio: 'inherit'
}).on('exit', code => process.exit(code ?? 1))
