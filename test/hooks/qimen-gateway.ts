import { createHash, createHmac } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { statementsOf } from '../../runtime/store/database.ts'
import { type PartnerRequest, startPartner, type TestShop } from '../support/run-hook.ts'

export const APP = { key: '12345678', secret: 'helloworld', session: 'session-1' }

/** The script libraries that the Qimen hooks require, by path. */
export async function qimenLibraries(): Promise<Record<string, string>> {
  const files = ['sign/top', 'qimen', 'qimen-orders', 'qimen-ledger']
  const read = async (file: string) => readFile(new URL(`../../hooks/lib/${file}.js`, import.meta.url), 'utf8')
  return Object.fromEntries(await Promise.all(files.map(async file => [`/lib/${file}`, await read(file)])))
}

/** Creates what `sql/shop/qimen.sql` describes. */
export async function installQimenTables(shop: TestShop): Promise<void> {
  const text = await readFile(new URL('../../sql/shop/qimen.sql', import.meta.url), 'utf8')
  for (const statement of statementsOf(text)) await shop.sql(statement)
}

export const CHAIN = ['QIMEN_ERP_TRANSFER', 'QIMEN_ERP_CHECK', 'QIMEN_CP_NOTIFY', 'QIMEN_CP_OUT']

const PLATFORMS = [
  'MAIN',
  'JD',
  'DD',
  'PP',
  'YX',
  'EBAY',
  'AMAZON',
  'SN',
  'GM',
  'WPH',
  'JM',
  'MGJ',
  'YT',
  'YHD',
  '1688'
]
PLATFORMS.push('POS', 'OTHER')
const COMMON = ['method', 'app_key', 'session', 'timestamp', 'format', 'v', 'sign_method', 'sign']
const FIELDS = ['status', 'ext', 'tid', 'platform', 'create', 'nick', 'erp_order_id', 'taobao_sub_order_ids']
FIELDS.push('event_time')
const TIME = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$/

type Params = Record<string, unknown>

export interface TopError {
  code: number | string
  msg?: string
  sub_code?: string
  sub_msg?: string
}

export const ALREADY: TopError = { code: 50, sub_code: 'isv.invalid-param: status has already backflow' }

/** A call as the gateway understood it. */
export interface GatewayCall {
  method: string
  params: Params
  idempotencyKey: string
}

/**
 * A stand-in for TOP's gateway. It checks every call as the documents say and keeps in `faults` whatever is wrong with
 * one; a status that a tid has is refused as flowed back. `refuse` may answer a call, or a message of a batch, otherwise.
 */
export async function startGateway() {
  const gateway = {
    calls: [] as GatewayCall[],
    faults: [] as string[],
    /** Statuses by tid, in the sequence in which they came. */
    told: new Map<string, string[]>(),
    registered: [] as string[],
    refuse: (_method: string, _message: Params): TopError | undefined => undefined,
    /** Overrides a whole answer. */
    reply: (_call: GatewayCall): { status?: number; body: unknown } | undefined => undefined,
    of: (method: string) => gateway.calls.filter(call => call.method === method).map(call => call.params),
    url: '',
    close: async () => {}
  }

  const take = (message: Params, session: string): TopError | undefined => {
    gateway.faults.push(...faultsOf(message))
    if (!gateway.registered.includes(session)) gateway.faults.push(`${session} was not registered before`)
    const tid = String(message.tid)
    const known = gateway.told.get(tid) ?? []
    if (known.includes(String(message.status))) return ALREADY
    if (CHAIN.indexOf(String(message.status)) !== known.length)
      gateway.faults.push(`${message.status} of ${tid} came after ${known.join(', ') || 'nothing'}`)
    gateway.told.set(tid, [...known, String(message.status)])
    return undefined
  }

  const answer = (request: PartnerRequest): { status?: number; body: unknown } => {
    const { common, own } = readCall(request)
    const method = String(common.method)
    const call = { method, params: own, idempotencyKey: String(request.headers['idempotency-key']) }
    gateway.calls.push(call)
    const wrong = commonError(request, { ...common, ...own })
    if (wrong) return failure(wrong)
    const given = gateway.reply(call)
    if (given) return given
    const refused = method === 'taobao.qimen.events.produce' ? undefined : gateway.refuse(method, own)
    if (refused) return failure(refused)
    const session = String(common.session)
    if (method === 'taobao.qimen.trade.user.add') {
      if (gateway.registered.includes(session)) gateway.faults.push(`${session} was registered twice`)
      gateway.registered.push(session)
      return { body: { qimen_trade_user_add_response: { gmt_create: '2026-01-01 12:00:00', appkey: APP.key } } }
    }
    if (method === 'taobao.qimen.event.produce') {
      const error = take(own, session)
      return error ? failure(error) : { body: { qimen_event_produce_response: { is_success: true, request_id: 'r1' } } }
    }
    return produceMany(own, message => gateway.refuse(method, message) ?? take(message, session), gateway.faults)
  }

  const partner = await startPartner(request => answer(request))
  gateway.url = `${partner.url}/router/rest`
  gateway.close = partner.close
  return gateway
}

const failure = ({ msg = 'Remote service error', ...error }: TopError) => ({
  body: { error_response: { msg, request_id: 'r2', ...error } }
})

function produceMany(own: Params, take: (message: Params) => TopError | undefined, faults: string[]) {
  const messages = JSON.parse(String(own.messages)) as { event: Params }[]
  if (messages.length > 50) faults.push(`${messages.length} messages in one call`)
  for (const { event } of messages)
    if (event.create !== undefined && typeof event.create !== 'number') faults.push('create is no number')
  const results = messages.map(({ event }) => {
    const error = take(event)
    return error
      ? { is_success: false, error_code: error.sub_code, error_message: error.sub_msg ?? '' }
      : { is_success: true }
  })
  const all = results.every(result => result.is_success)
  return { body: { qimen_events_produce_response: { is_all_success: all, results: { qimen_result: results } } } }
}

function readCall(request: PartnerRequest): { common: Params; own: Params } {
  const all = [...new URLSearchParams(String(request.body))]
  return {
    common: Object.fromEntries(all.filter(([name]) => COMMON.includes(name))),
    own: Object.fromEntries(all.filter(([name]) => !COMMON.includes(name)))
  }
}

/** What the gateway refuses before a method sees the call. */
function commonError(request: PartnerRequest, params: Params): TopError | undefined {
  if (request.method !== 'POST') return { code: 9, msg: 'Http Action Not Allowed' }
  if (!/^application\/x-www-form-urlencoded/.test(request.headers['content-type'] ?? ''))
    return { code: 43, msg: 'Parameter Error' }
  if (params.format !== 'json') return { code: 23, msg: 'Invalid Format' }
  if (params.v !== '2.0') return { code: 33, msg: 'Invalid Version' }
  if (params.app_key !== APP.key) return { code: 29, msg: 'Invalid App Key' }
  if (!params.session) return { code: 26, msg: 'Missing Session' }
  if (!String(params.session).startsWith('session-')) return { code: 27, msg: 'Invalid Session' }
  const time = String(params.timestamp)
  const skew = Math.abs(Date.parse(`${time.replace(' ', 'T')}+08:00`) - Date.now())
  if (!TIME.test(time) || !(skew < 600_000)) return { code: 31, msg: 'Invalid Timestamp' }
  if (params.sign !== signatureOf(params, APP.secret)) return { code: 25, msg: 'Invalid Signature' }
  return undefined
}

/** TOP's signature, reckoned here with Node's own digests. */
export function signatureOf({ sign: _, ...params }: Params, secret: string): string {
  const text = Object.entries(params)
    .map(([name, value]) => `${name}${value}`)
    .sort((a, b) => (Buffer.compare(Buffer.from(a), Buffer.from(b)) < 0 ? -1 : 1))
    .join('')
  if (params.sign_method === 'md5') return hex(createHash('md5').update(`${secret}${text}${secret}`))
  if (params.sign_method === 'hmac') return hex(createHmac('md5', secret).update(text))
  return hex(createHmac('sha256', secret).update(text))
}

const hex = (digest: { digest: () => Buffer }): string => digest.digest().toString('hex').toUpperCase()

/** What is wrong with one message, by the document's list of parameters. */
function faultsOf(message: Params): string[] {
  const { status, tid, platform, nick, create, ext, event_time: time } = message
  const wrong: [boolean, string][] = [
    [!CHAIN.includes(String(status)), `status ${status}`],
    [!tid, 'no tid'],
    [nick !== undefined && platform === undefined, 'a nick without platform'],
    [platform !== undefined && !PLATFORMS.includes(String(platform)), `platform ${platform}`],
    [create !== undefined && !/^\d{8}$/.test(String(create)), `create ${create}`],
    [time !== undefined && !TIME.test(String(time)), `event_time ${time}`],
    [ext !== undefined && !isObject(String(ext)), `ext ${ext}`],
    [Object.values(message).some(value => value === '' || value === null), 'an empty parameter'],
    [Object.keys(message).some(name => !FIELDS.includes(name)), `parameters ${Object.keys(message)}`]
  ]
  return wrong.filter(([is]) => is).map(([, what]) => `${tid}: ${what}`)
}

function isObject(text: string): boolean {
  try {
    return typeof JSON.parse(text) === 'object'
  } catch {
    return false
  }
}
