import { createHash } from 'node:crypto'
import { type FastifyPluginAsyncTypebox, TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox'
import type { FastifyInstance, FastifyRequest, FastifySchemaValidationError } from 'fastify'
import { LRUCache } from 'lru-cache'
import { type Static, type TSchema, Type } from 'typebox'

const kept = 1000
const bodyLimit = 64 * 1024
/** Numbers of orders and refunds that the ERP remembers having seen. */
const remembered = 10_000

const Partner = Type.Enum(['erp', 'sms', 'dingtalk'])

const Received = Type.Object({
  partner: Partner,
  path: Type.String(),
  receivedAt: Type.String({ description: 'ISO 8601, UTC' }),
  idempotencyKey: Type.Union([Type.String(), Type.Null()]),
  headers: Type.Record(Type.String(), Type.String(), { description: 'content-type and idempotency-key only' }),
  body: Type.Unknown(),
  answer: Type.Unknown()
})
type Received = Static<typeof Received>

const OrderCreate = Type.Object({
  sourceOrderNo: Type.String({ minLength: 1 }),
  payAmount: Type.Number({ minimum: 0, description: 'yuan' }),
  items: Type.Array(
    Type.Object({
      skuCode: Type.String({ minLength: 1 }),
      quantity: Type.Number({ exclusiveMinimum: 0 }),
      price: Type.Optional(Type.Number({ minimum: 0, description: 'yuan a piece' }))
    }),
    { minItems: 1 }
  )
})

const OrderCancel = Type.Object({ sourceOrderNo: Type.String({ minLength: 1 }) })

const RefundCreate = Type.Object({
  sourceRefundNo: Type.String({ minLength: 1 }),
  sourceOrderNo: Type.String({ minLength: 1 }),
  refundAmount: Type.Number({ minimum: 0, description: 'yuan' })
})

const ErpAnswer = Type.Object({
  code: Type.Integer({ description: '0 done, 401 wrong token, 1001 a field is missing or wrong' }),
  message: Type.String(),
  data: Type.Optional(
    Type.Object({
      erpOrderId: Type.String({ description: 'always the same for the same sourceOrderNo' }),
      erpRefundId: Type.Optional(Type.String()),
      duplicate: Type.Boolean({ description: 'this very request has been made before' })
    })
  )
})
type ErpAnswer = Static<typeof ErpAnswer>

const SmsSend = Type.Object({
  phone: Type.String({ description: 'eleven digits, the first one 1' }),
  template: Type.String({ minLength: 1 }),
  params: Type.Optional(Type.Record(Type.String(), Type.Unknown()))
})

const SmsAnswer = Type.Object({
  code: Type.Integer({ description: '0 sent, 401 wrong token, 1001 a field is missing or wrong, 1002 no such phone' }),
  message: Type.String(),
  data: Type.Optional(Type.Object({ messageId: Type.String() }))
})
type SmsAnswer = Static<typeof SmsAnswer>

const RobotSend = Type.Object({
  msgtype: Type.Enum(['text', 'markdown']),
  text: Type.Optional(Type.Object({ content: Type.String({ minLength: 1 }) })),
  markdown: Type.Optional(Type.Object({ title: Type.String({ minLength: 1 }), text: Type.String({ minLength: 1 }) }))
})

const RobotAnswer = Type.Object({ errcode: Type.Integer(), errmsg: Type.String() })
type RobotAnswer = Static<typeof RobotAnswer>

type Answer = ErpAnswer | SmsAnswer | RobotAnswer

/** A partner's address: what it takes, what it answers to such a body, and to any other. */
interface Stand<Body extends TSchema = TSchema> {
  partner: Static<typeof Partner>
  path: string
  summary: string
  /** Whether the caller must show the token. */
  guarded: boolean
  body: Body
  answers: TSchema
  answer: (body: Static<Body>) => Answer
  refuse: (fault: string) => Answer
}

/** Keeps the body's type for its own `answer` while stands of all types share one list. */
const stand = <Body extends TSchema>(of: Stand<Body>): Stand => of as unknown as Stand

/** The last calls received, the newest first, and how many older ones had to go. */
const createLedger = () => {
  let items: Received[] = []
  let dropped = 0
  return {
    add(received: Received) {
      items.unshift(received)
      if (items.length > kept) dropped += items.splice(kept).length
    },
    list: (partner: string | undefined, limit: number) => ({
      items: items.filter(item => !partner || item.partner === partner).slice(0, limit),
      dropped
    }),
    clear() {
      items = []
      dropped = 0
    }
  }
}

type Ledger = ReturnType<typeof createLedger>

/** What is wrong with a body, in the words of such partners (`sourceOrderNo is missing`); null: nothing. */
const faultOf = ({ body, validationError }: FastifyRequest) => {
  if (body === undefined) return 'the body is missing'
  const error = (validationError?.validation as FastifySchemaValidationError[] | undefined)?.[0]
  if (!error) return null
  const at = error.instancePath.slice(1).replaceAll('/', '.')
  const { requiredProperties } = error.params as { requiredProperties?: string[] }
  const missing = requiredProperties?.[0]
  if (missing) return `${at ? `${at}.${missing}` : missing} is missing`
  return `${at || 'the body'} ${error.message}`
}

/** A number that follows from the text alone, so a restarted ERP still gives the same one. */
const numberFor = (prefix: string, text: string) =>
  prefix +
  (BigInt(`0x${createHash('sha256').update(text).digest('hex').slice(0, 14)}`) % 10n ** 14n)
    .toString()
    .padStart(14, '0')

const refuse = (fault: string) => ({ code: 1001, message: fault })

const erpStands = (): Stand[] => {
  const seen = new LRUCache<string, true>({ max: remembered })
  const accept = (request: string, ids: { erpOrderId: string; erpRefundId?: string }): ErpAnswer => {
    const duplicate = seen.has(request)
    seen.set(request, true)
    return { code: 0, message: 'ok', data: { ...ids, duplicate } }
  }
  const common = { partner: 'erp', guarded: true, answers: ErpAnswer, refuse } as const
  return [
    stand({
      ...common,
      path: '/demo/erp/order/create',
      summary: 'Stand-in for an ERP: takes an order',
      body: OrderCreate,
      answer: ({ sourceOrderNo: no }) => accept(`create ${no}`, { erpOrderId: numberFor('ERP', no) })
    }),
    stand({
      ...common,
      path: '/demo/erp/order/cancel',
      summary: 'Stand-in for an ERP: cancels an order',
      body: OrderCancel,
      answer: ({ sourceOrderNo: no }) => accept(`cancel ${no}`, { erpOrderId: numberFor('ERP', no) })
    }),
    stand({
      ...common,
      path: '/demo/erp/refund/create',
      summary: 'Stand-in for an ERP: takes a refund',
      body: RefundCreate,
      answer: ({ sourceOrderNo, sourceRefundNo: no }) =>
        accept(`refund ${no}`, { erpOrderId: numberFor('ERP', sourceOrderNo), erpRefundId: numberFor('ERPR', no) })
    })
  ]
}

const smsStand = (): Stand => {
  let sent = 0
  return stand({
    partner: 'sms',
    guarded: true,
    path: '/demo/sms/send',
    summary: 'Stand-in for an SMS gateway; sends nothing, and like real ones takes the same message twice',
    body: SmsSend,
    answers: SmsAnswer,
    refuse,
    answer: ({ phone }): SmsAnswer => {
      if (!/^1\d{10}$/.test(phone)) return { code: 1002, message: 'phone is not a mobile number' }
      sent += 1
      return { code: 0, message: 'ok', data: { messageId: `SMS${String(sent).padStart(8, '0')}` } }
    }
  })
}

const robotStand = (): Stand => {
  const refuse = (fault: string): RobotAnswer => ({ errcode: 40035, errmsg: fault })
  return stand({
    partner: 'dingtalk',
    guarded: false,
    path: '/demo/dingtalk/robot/send',
    summary: 'Stand-in for a DingTalk robot',
    body: RobotSend,
    answers: RobotAnswer,
    refuse,
    answer: body => (body[body.msgtype] ? { errcode: 0, errmsg: 'ok' } : refuse(`${body.msgtype} is missing`))
  })
}

const noToken = { code: 401, message: 'the token in the Authorization header is missing or wrong' }

const shownHeaders = (headers: FastifyRequest['headers']) =>
  Object.fromEntries(
    ['content-type', 'idempotency-key'].flatMap(name => (headers[name] ? [[name, String(headers[name])]] : []))
  )

/** Adds one partner's address to the app; every call, refused ones too, goes into the ledger. */
const addStand = (app: FastifyInstance, of: Stand, token: string, ledger: Ledger) => {
  const { partner, path, summary, guarded, body, answers } = of
  const schema = { tags: ['Demo'], summary, body, response: { 200: answers, ...(guarded && { 401: answers }) } }
  app.post(path, { schema, bodyLimit, attachValidation: true }, async (request, reply) => {
    const stranger = guarded && request.headers.authorization !== `Bearer ${token}`
    const fault = faultOf(request)
    const answer = stranger ? noToken : fault === null ? of.answer(request.body) : of.refuse(fault)
    const headers = shownHeaders(request.headers)
    const idempotencyKey = headers['idempotency-key'] ?? null
    const receivedAt = new Date().toISOString()
    ledger.add({ partner, path, receivedAt, idempotencyKey, headers, body: request.body ?? null, answer })
    return reply.code(stranger ? 401 : 200).send(answer)
  })
}

/**
 * Stands in for ERP, SMS and DingTalk under `/demo/*`, and shows at `/demo/received` what they were sent.
 * ERP and SMS ask for `Authorization: Bearer <token>` and answer 401 otherwise; what is wrong with a body is said
 * inside HTTP 200, as such partners do. Keeps the last 1 000 calls in memory, bodies up to 64 KB.
 */
export const partnerRoutes =
  ({ token }: { token: string }): FastifyPluginAsyncTypebox =>
  async app => {
    const ledger = createLedger()
    // The app's own compiler may coerce types in the body; a partner must see, and show, what was really sent.
    app.setValidatorCompiler(TypeBoxValidatorCompiler)
    for (const of of [...erpStands(), smsStand(), robotStand()]) addStand(app, of, token, ledger)

    const querystring = Type.Object({
      partner: Type.Optional(Partner),
      limit: Type.Optional(Type.Integer({ minimum: 1, maximum: kept, description: '100 unless given' }))
    })
    const response = { 200: Type.Object({ items: Type.Array(Received), dropped: Type.Integer() }) }
    const list = { tags: ['Demo'], summary: 'What the stand-ins were sent, the newest first', querystring, response }
    app.get('/demo/received', { schema: list }, async ({ query }) => ledger.list(query.partner, query.limit ?? 100))

    const clear = { tags: ['Demo'], summary: 'Forgets what the stand-ins were sent', response: { 204: Type.Null() } }
    app.delete('/demo/received', { schema: clear }, async (_, reply) => {
      ledger.clear()
      return reply.code(204).send(null)
    })
  }
