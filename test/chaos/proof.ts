/** What must be true when the chaos is over. Each check answers the violations that it has found, in words. */
import type { Connection } from 'mysql2/promise'
import type { Note } from './broker-client.ts'
import type { Kill, Victim } from './monkey.ts'
import type { Partner, PartnerCall } from './partner.ts'
import { HOOKS, type Order, RUNS_PER_ORDER, rowsOf, STEPS } from './scenario.ts'

export interface Evidence {
  orders: Order[]
  kills: Kill[]
  partner: Partner
  notes: Note[]
  store: Connection
  shop: Connection
}

interface ExecutionRow {
  id: string
  hook: string
  orderNo: string
  step: number
  status: string
  attempts: number
  runs: number
  crashes: number
  error: string | null
}

/** Between what happened and its being written down, on a machine that has other things to do. */
const SLACK_MS = 4_000

/** All checks, and the figures that they came by. */
export async function prove(evidence: Evidence): Promise<{ violations: string[]; figures: Record<string, number> }> {
  const executions = await readExecutions(evidence.store)
  const byId = new Map(executions.map(row => [row.id, row]))
  const violations = [
    ...everyEventSettled(evidence.orders, executions),
    ...(await killsCostNoAttempt(evidence, executions)),
    ...(await effectsOnceInOrder(evidence)),
    ...(await ledgerExact(evidence)),
    ...(await ordersMarkedOnce(evidence, executions)),
    ...partnerCalledOnce(evidence, byId),
    ...messagesSent(evidence),
    ...(await nothingLeftOver(evidence, executions.length))
  ]
  const { calls } = evidence.partner
  const figures = {
    executions: executions.length,
    'runs started': executions.reduce((sum, { runs }) => sum + runs, 0),
    'executions run again': executions.filter(({ runs, attempts }) => runs > attempts).length,
    'executions suspected of a runner': executions.filter(({ crashes }) => crashes > 0).length,
    'partner calls': calls.length,
    'partner failures and resets': calls.filter(({ outcome }) => outcome !== 'ok').length,
    'partner calls repeated after ok': calls.length - new Set(calls.map(({ key }) => key)).size - failures(calls),
    'messages received': evidence.notes.length,
    'messages received again': evidence.notes.length - new Set(evidence.notes.map(({ messageId }) => messageId)).size
  }
  return { violations, figures }
}

const failures = (calls: PartnerCall[]): number => calls.filter(({ outcome }) => outcome !== 'ok').length

async function readExecutions(store: Connection): Promise<ExecutionRow[]> {
  const rows = await rowsOf<ExecutionRow & { path: string; eventKey: string; data: string | null }>(
    store,
    `SELECT e.id, e.hook_path AS path, e.event_key AS eventKey, e.status, e.attempts, e.runs, e.crashes, e.error,
       v.ordering_key AS orderNo, v.data
     FROM sandhook_executions e JOIN sandhook_events v ON v.id = e.event_id WHERE e.hook_path LIKE '/custom/chaos/%'`
  )
  return rows.map(row => ({
    ...row,
    hook: row.path.replace('/custom/chaos/', ''),
    step: STEPS.findIndex(({ eventKey }) => eventKey === row.eventKey) + 1 || JSON.parse(row.data ?? '{}').step
  }))
}

const nameOf = (hook: string, orderNo: string, step: number): string => `${hook} of ${orderNo} step ${step}`

/** What each hook is to do for each order. */
const expectedRuns = (orders: Order[]): string[] =>
  orders.flatMap(({ orderNo }) => HOOKS.flatMap(({ name, steps }) => steps.map(step => nameOf(name, orderNo, step))))

function everyEventSettled(orders: Order[], executions: ExecutionRow[]): string[] {
  const found = Map.groupBy(executions, ({ hook, orderNo, step }) => nameOf(hook, orderNo, step))
  const wrong = expectedRuns(orders).flatMap(name => {
    const rows = found.get(name) ?? []
    found.delete(name)
    const [row] = rows
    if (rows.length === 1 && row?.status === 'succeeded') return []
    return [`${name}: not one success but ${JSON.stringify(rows)}`]
  })
  return [...wrong, ...[...found.keys()].map(name => `${name}: nobody asked for it`)]
}

/** Only the partner's failures use up attempts, of the hook that calls it. */
async function killsCostNoAttempt({ store, partner }: Evidence, executions: ExecutionRow[]): Promise<string[]> {
  const failed = Map.groupBy(
    partner.calls.filter(({ outcome }) => outcome !== 'ok'),
    ({ key }) => key.split(':')[0] ?? ''
  )
  const excused = ({ id, hook }: ExecutionRow) => (hook === 'erp' ? (failed.get(id)?.length ?? 0) : 0)
  const guilty = executions.filter(row => row.attempts > 1 + excused(row))
  return Promise.all(
    guilty.map(async row => {
      const history = await rowsOf(
        store,
        'SELECT run, attempt, started_at, duration_ms, error FROM sandhook_attempts WHERE execution_id = ? ORDER BY run',
        [row.id]
      )
      const name = nameOf(row.hook, row.orderNo, row.step)
      return `${name}: ${row.attempts} attempts, ${excused(row)} excused; ${JSON.stringify(history)}`
    })
  )
}

async function effectsOnceInOrder({ shop, orders }: Evidence): Promise<string[]> {
  const rows = await rowsOf<{ hook: string; order_no: string; step: number }>(
    shop,
    'SELECT hook, order_no, step FROM chaos_runs ORDER BY id'
  )
  const found = Map.groupBy(rows, ({ hook, order_no }) => `${hook} of ${order_no}`)
  return orders.flatMap(({ orderNo }) =>
    HOOKS.flatMap(({ name, steps }) => {
      const done = (found.get(`${name} of ${orderNo}`) ?? []).map(({ step }) => step)
      return String(done) === String(steps) ? [] : [`${name} of ${orderNo}: steps done ${done} instead of ${steps}`]
    })
  )
}

async function ledgerExact({ shop, orders }: Evidence): Promise<string[]> {
  const due = new Map<number, number>()
  for (const { spreadUid, payPrice } of orders)
    due.set(spreadUid, (due.get(spreadUid) ?? 0) + Math.floor(payPrice * 0.1) * STEPS.length)
  const rows = await rowsOf<{ uid: number; balance: number; n: number; records: string | null }>(
    shop,
    `SELECT u.uid, u.brokerage_price AS balance, COUNT(r.id) AS n, SUM(r.price) AS records
     FROM eb_user u LEFT JOIN eb_user_brokerage_record r ON r.uid = u.uid GROUP BY u.uid, u.brokerage_price`
  )
  const byUid = new Map(rows.map(row => [row.uid, row]))
  return [...due].flatMap(([uid, fen]) => {
    const { balance, n = 0, records } = byUid.get(uid) ?? {}
    const count = orders.filter(({ spreadUid }) => spreadUid === uid).length * STEPS.length
    if (Number(balance) === fen && Number(records) === fen && n === count) return []
    return [`ledger of ${uid}: ${fen} fen in ${count} records due; balance ${balance}, ${records} in ${n} records`]
  })
}

/** The ERP's script adds the ERP's number to the order's remark each time that it is run. */
async function ordersMarkedOnce({ shop, partner }: Evidence, executions: ExecutionRow[]): Promise<string[]> {
  const synced = executions.filter(({ hook }) => hook === 'erp').sort((a, b) => a.step - b.step)
  const expected = new Map<string, string>()
  for (const { id, orderNo } of synced)
    expected.set(orderNo, `${expected.get(orderNo) ?? ''} ERP:${partner.numberOf(`${id}:1`)}`)
  const rows = await rowsOf<{ orderNo: string; mark: string | null }>(
    shop,
    "SELECT order_id AS orderNo, mark FROM eb_store_order WHERE order_id LIKE 'CHAOS%'"
  )
  return rows.flatMap(({ orderNo, mark }) =>
    mark === (expected.get(orderNo) ?? null) ? [] : [`${orderNo}: marked${mark} instead of${expected.get(orderNo)}`]
  )
}

/** Kills of these victims that were on between two moments, give or take what it takes to write something down. */
const killsBetween = (kills: Kill[], victims: Victim[], from: number, to: number): Kill[] =>
  kills.filter(({ victim, at, until }) => victims.includes(victim) && at <= to + SLACK_MS && until >= from - SLACK_MS)

/** A partner's call comes again only when it failed, or when a kill can have hit it before its answer was kept. */
function partnerCalledOnce({ partner, kills }: Evidence, byId: Map<string, ExecutionRow>): string[] {
  const violations: string[] = []
  const lastStep = new Map<string, number>()
  for (const { key, orderNo } of partner.calls) {
    const execution = byId.get(key.replace(/:1$/, ''))
    if (!execution || execution.orderNo !== orderNo) violations.push(`partner: ${orderNo} came with the key "${key}"`)
    else if (execution.step < (lastStep.get(orderNo) ?? 0))
      violations.push(`partner: ${orderNo} step ${execution.step} came after step ${lastStep.get(orderNo)}`)
    else lastStep.set(orderNo, execution.step)
  }
  for (const [key, calls] of Map.groupBy(partner.calls, call => call.key)) {
    if (new Set(calls.map(({ body }) => body)).size > 1) violations.push(`partner: ${key} came with different bodies`)
    for (const [i, call] of calls.slice(0, -1).entries()) {
      const excused =
        call.outcome !== 'ok' || killsBetween(kills, ['node', 'database', 'pause'], call.at, call.until).length > 0
      const rest = (calls[i + 1] as PartnerCall).at - call.until
      if (!excused) violations.push(`partner: ${key} came again ${rest} ms after it was answered, with no kill about`)
    }
  }
  return violations
}

/** What was published arrives, under one id; again only when a kill can have hit it. */
function messagesSent({ orders, notes, kills }: Evidence): string[] {
  const byBody = Map.groupBy(notes, ({ body }) => body)
  const steps = HOOKS.find(({ name }) => name === 'publish')?.steps ?? []
  return orders.flatMap(({ orderNo }) =>
    steps.flatMap(step => {
      const came = byBody.get(JSON.stringify({ orderNo, step })) ?? []
      const ids = new Set(came.map(({ messageId }) => messageId))
      if (ids.size !== 1) return [`message ${orderNo} step ${step}: came under ${ids.size} ids`]
      const unexcused = came
        .slice(0, -1)
        .filter(({ at }) => killsBetween(kills, ['node', 'database', 'broker', 'pause'], at, at).length === 0)
      return unexcused.map(() => `message ${orderNo} step ${step}: came again with no kill about`)
    })
  )
}

async function nothingLeftOver({ store, shop, orders }: Evidence, executions: number): Promise<string[]> {
  const count = async (connection: Connection, sql: string) =>
    Number((await rowsOf<{ n: number }>(connection, `SELECT COUNT(*) AS n FROM ${sql}`))[0]?.n)
  const counts: [string, number, number][] = [
    ['executions', executions, orders.length * RUNS_PER_ORDER],
    ['effect markers', await count(shop, 'hook_effects'), orders.length * RUNS_PER_ORDER],
    ['journal entries', await count(store, 'sandhook_journal'), 0],
    ['dead messages', await count(store, 'sandhook_dead_messages'), 0],
    ['outbox rows not taken', await count(shop, 'sandhook_outbox WHERE taken_at IS NULL OR error IS NOT NULL'), 0]
  ]
  return counts.flatMap(([what, found, due]) => (found === due ? [] : [`${what}: ${found} instead of ${due}`]))
}
