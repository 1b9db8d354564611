import type { Knex } from 'knex'
import { v7 as uuid } from 'uuid'
import type { Execution } from '../model.ts'

/**
 * Gives new executions, in their order, ids beyond those of all that are open in their lanes. Ids begin with the time,
 * and lanes run by rising id: an event that another node accepts a moment later, by a clock that is behind, would else
 * run first.
 */
export async function queueBehind(
  trx: Knex.Transaction,
  executions: { execution: Execution; lane: string | null }[]
): Promise<void> {
  const lanes = [...new Set(executions.flatMap(({ lane }) => lane ?? []))]
  if (lanes.length === 0) return
  const rows: { open_lane: string; newest: string }[] = await trx('sandhook_executions')
    .whereIn('open_lane', lanes)
    .groupBy('open_lane')
    .select('open_lane')
    .max({ newest: 'id' })
  const newest = new Map(rows.map(row => [row.open_lane, row.newest]))
  for (const { execution, lane } of executions) {
    if (lane === null) continue
    const last = newest.get(lane)
    if (last !== undefined && execution.id <= last) execution.id = idAfter(last)
    newest.set(lane, execution.id)
  }
}

/** An id of the millisecond after another one's. */
const idAfter = (id: string): string => uuid({ msecs: Number.parseInt(id.replace('-', '').slice(0, 12), 16) + 1 })
