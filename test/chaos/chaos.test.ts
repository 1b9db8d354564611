import { expect, inject, test } from 'vitest'
import { runChaos } from './run.ts'

const MORTAL = inject('mysqlUrl') && !process.env.TEST_MYSQL_URL && !process.env.TEST_AMQP_URL

/** The long one is `npm run chaos`. */
test.skipIf(!MORTAL)(
  'prc-05: kills of everything cost nothing: each event settled, each effect once, each order in its order',
  async () => {
    const { violations, figures, logs } = await runChaos({
      ...{ events: 400, nodes: 2, seed: 20_260_101 },
      plan: ['runner', 'pause', 'database', 'node', 'runner', 'broker', 'node'],
      say: () => {}
    })
    expect(violations, logs.join('\n').slice(-4_000)).toEqual([])
    expect(figures.kills).toBe(7)
  },
  180_000
)
