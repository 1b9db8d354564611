import { fingerprintOf } from '../../runtime/events/canonical-json.ts'
import type { engines, TestDatabase } from '../support/databases.ts'
import { eventually, type SandhookProcess, startSandhookProcess } from '../support/sandhook.ts'
import { type ApiDocument, type Operation, operationsOf } from './document.ts'
import { type Exchange, judge, type KnownToken, markOf } from './judge.ts'
import { createMemory, type Memory } from './memory.ts'
import { type Plan, ROLES, type Role } from './plans.ts'
import { requestOf } from './requests.ts'
import { openClient, type Send } from './send.ts'

/** A Sandhook that runs, with things of two merchants in it, and what the fuzz knows of it. */
export interface World {
  sandhook: SandhookProcess
  operations: Operation[]
  memory: Memory
  /** Ids of the planted things of merchant 101, of shop-b and of the platform, by kind. */
  things: Record<'a' | 'b' | 'none', Record<string, string[]>>
  send: Send
  /** Sends what the plans say, all at once; when all are answered, learns from the answers and judges them. */
  play: (plans: Plan[]) => Promise<Exchange[]>
  close: () => Promise<void>
}

export async function openWorld(engine: (typeof engines)[number]): Promise<World> {
  const database = await engine.make()
  const sandhook = await startSandhookProcess({
    ...{
      DATABASE_URL: database.url,
      SANDHOOK_DEMO: 'on',
      SANDHOOK_RUNNERS: '1',
      SANDHOOK_MONITOR_OPEN: 'on',
      SANDHOOK_TRUST_PROXY: '127.0.0.1'
    }
  })
  const memory = createMemory()
  await plantTokens(sandhook, memory)
  const things = await plantThings(sandhook, memory)
  const operations = operationsOf((await sandhook.call('GET', '/openapi.json')).body as ApiDocument)
  const { send, close } = openClient(sandhook.url)
  return {
    ...{ sandhook, operations, memory, things, send },
    async play(plans) {
      const exchanges = await Promise.all(plans.map(plan => exchangeOf(plan, memory, send)))
      // First all of them: one of these requests may have revoked what another one was sent with.
      const evicted = exchanges.map(exchange => memory.learn(exchange, operations)).filter(id => id !== null)
      for (const exchange of exchanges) judge(exchange, { operations, secrets: memory.secrets })
      await Promise.all(evicted.map(id => sandhook.call('DELETE', `/admin/v1/hooks/${id}`)))
      return exchanges
    },
    close: () => closeAll(sandhook, database, close)
  }
}

async function exchangeOf(plan: Plan, memory: Memory, send: Send): Promise<Exchange> {
  const request = requestOf(plan, memory)
  const at = Date.now()
  const answer = await send(request.sent).catch(error => {
    throw new Error(`No answer to ${request.sent.method} ${request.sent.path}: ${error.message}`)
  })
  return { ...request, answer, at, answeredAt: Date.now() }
}

async function closeAll(sandhook: SandhookProcess, database: TestDatabase, close: () => Promise<void>): Promise<void> {
  await close()
  await sandhook.end('SIGKILL')
  await database.drop()
}

async function plantTokens(sandhook: SandhookProcess, memory: Memory): Promise<void> {
  for (const [role, fields] of Object.entries(ROLES)) {
    const { status, body } = await sandhook.call('POST', '/admin/v1/tokens', { name: role, ...fields })
    if (status !== 201) throw new Error(`No token for ${role}: ${JSON.stringify(body)}`)
    const token: KnownToken = { scopes: body.scopes, merId: body.merId, until: Number.POSITIVE_INFINITY }
    memory.plant(role as Role, { id: body.id, secret: body.token, token })
  }
}

const OWNERS = [
  { merId: 101, at: 'a' },
  { merId: 'shop-b', at: 'b' },
  { merId: null, at: 'none' }
] as const

async function plantThings(sandhook: SandhookProcess, memory: Memory): Promise<World['things']> {
  const planted = await Promise.all(OWNERS.map(async owner => [owner.at, await plantOf(owner, sandhook, memory)]))
  const things = Object.fromEntries(planted) as World['things']
  for (const kinds of Object.values(things))
    for (const [kind, ids] of Object.entries(kinds)) for (const id of ids) memory.add(kind, id)
  await made(sandhook, 'POST', '/admin/v1/hooks', {
    ...{ path: '/custom/open/{id}', script: 'return { path, param, body }', public: true }
  })
  memory.add('calls', 'open/7')
  await made(sandhook, 'POST', '/erp/order/publishRabbitmqSentEvent', {
    topic: 'order.orderStatus',
    body: 'never came'
  })
  memory.add('monitor', fingerprintOf('order.orderStatus', 'never came'))
  return things
}

/** A value, a secret, a hook that tells both, one that fails for good, and an event that has run them. */
async function plantOf({ merId, at }: (typeof OWNERS)[number], sandhook: SandhookProcess, memory: Memory) {
  const mark = markOf(merId)
  const secret = `hidden-${OWNERS.findIndex(owner => owner.at === at)}-x`
  memory.secrets.add(secret)
  await made(sandhook, 'PUT', '/admin/v1/env/HIDDEN', { value: secret, secret: true, merId })
  await made(sandhook, 'PUT', '/admin/v1/env/PLAIN', { value: mark, merId })
  const scripts = {
    telling: `log.info('${mark} {}', env.get('HIDDEN')); return ['${mark}', env.get('HIDDEN')]`,
    failing: `throw new Error('${mark}' + env.get('HIDDEN'))`
  }
  const common = { events: [`PLANT_${at}`], merId, name: mark, retry: { attempts: 1 } }
  const hooks: string[] = []
  for (const [name, script] of Object.entries(scripts))
    hooks.push(
      (await made(sandhook, 'POST', '/admin/v1/hooks', { ...common, path: `/custom/${name}-${at}`, script })).id
    )
  const event = { id: `planted-${at}`, eventKey: `PLANT_${at}`, payload: mark, ...(merId === null ? {} : { merId }) }
  const executions: string[] = (await made(sandhook, 'POST', '/events', event)).events[0].executions
  if (executions.length !== hooks.length) throw new Error(`The event of ${at} has not met its hooks: ${executions}`)
  const done = async (id: string) =>
    /succeeded|dead/.test((await sandhook.call('GET', `/admin/v1/executions/${id}`)).body.status)
  for (const id of executions) await eventually(() => done(id))
  return { hooks, executions, events: [event.id], calls: [`telling-${at}`, `failing-${at}`] }
}

async function made(sandhook: SandhookProcess, method: string, path: string, body: object) {
  const answer = await sandhook.call(method, path, body)
  if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`)
  return answer.body
}
