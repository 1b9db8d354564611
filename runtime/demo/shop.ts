import { animals, carriers, families, givens, moods, places, reasons, remarks, shops, streets } from './names.ts'

/** Rows of one table, all with the same columns. */
export interface DemoTable {
  table: string
  rows: Record<string, null | number | string>[]
}

type Random = ReturnType<typeof randomFrom>
type Sale = ReturnType<typeof placeOrder>
type Refund = ReturnType<typeof refundOf>
type Stage = (typeof stages)[number]

const users = 50
const orders = 200
const refunds = 25

/** How far an order has come; those that come twice are twice as frequent. */
const stages = [
  'unpaid',
  'cancelled',
  'paid',
  'paid',
  'shipped',
  'shipped',
  'shipped',
  'received',
  'done',
  'done'
] as const
const statusOf = { unpaid: 0, cancelled: 9, paid: 0, shipped: 1, received: 2, done: 3 } as const

const day = 24 * 60
/** Refund states in the order in which they are dealt out: refunded first, since the first refund is the complete one. */
const refundStates = [3, 0, 1, 2, 4, 5, 6]
/** What a refund of the whole order, by its state, makes of the order's own refund_status. */
const orderStates = [1, 0, 3, 2, 3, 3, 0]

/** Small generator of random numbers that gives the same sequence for the same seed (mulberry32). */
const randomFrom = (seed: number) => {
  let state = seed | 0
  const fraction = () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const below = (limit: number) => Math.floor(fraction() * limit)
  const pick = <T>(from: readonly T[]) => from[below(from.length)] as T
  return { below, pick, chance: (share: number) => fraction() < share }
}

/** The shop's clock, so many minutes after the first order was placed: the sample event's second is minute 4. */
const at = (minute: number) =>
  new Date(Date.UTC(2024, 0, 1, 7, 56) + minute * 60_000).toISOString().slice(0, 19).replace('T', ' ')

const phoneOf = (number: number) => `1380000${String(number).padStart(4, '0')}`
const orderNoOf = (number: number) => String(202401010000 + number)

const merchantRows = () =>
  shops.map(({ name }, index) => ({
    id: index + 1,
    mer_name: name,
    alert_phone: index === shops.length - 1 ? null : phoneOf(9001 + index),
    status: 1,
    create_time: at(-60 * day)
  }))

/** The odd ones that scripts must cope with: user 7 spreads himself, user 8's spreader is gone, user 1 is quite normal. */
const oddSpreaders: Record<number, number> = { 1: 2, 2: 0, 7: 7, 8: 999 }

const userRows = ({ below, pick, chance }: Random) =>
  Array.from({ length: users }, (_, index) => {
    const uid = index + 1
    return {
      uid,
      nickname: pick(moods) + pick(animals),
      real_name: pick(families) + pick(givens),
      phone: uid % 9 === 0 ? null : phoneOf(uid),
      spread_uid: oddSpreaders[uid] ?? (chance(0.4) ? 1 + below(uid - 1) : 0),
      brokerage_price: 0,
      status: 1,
      create_time: at(-30 * day + below(20 * day))
    }
  })

/** So many lines of different products of one merchant. */
const pickLines = ({ below }: Random, orderNo: string, merId: number, count: number) => {
  const { products } = shops[merId - 1] as (typeof shops)[number]
  const first = below(products.length)
  return Array.from({ length: count }, (_, index) => {
    const place = (first + index) % products.length
    const [name, sku, price] = products[place] as (typeof products)[number]
    return {
      order_no: orderNo,
      product_id: merId * 1000 + place + 1,
      product_name: name,
      sku,
      cart_num: 1 + below(3),
      price
    }
  })
}

const pickAddress = ({ below, pick }: Random, orderNo: string) => {
  const [province, city, district] = pick(places)
  return {
    order_no: orderNo,
    real_name: pick(families) + pick(givens),
    user_phone: phoneOf(5000 + below(4000)),
    province,
    city,
    district,
    detail: `${pick(streets)} ${1 + below(199)} 号`
  }
}

/** What an order of this stage has been through; minutes count from the first order of all. */
const historyOf = (stage: Stage, placed: number, number: number): [type: string, message: string, minute: number][] => {
  const steps: [string, string, number][] = [
    ['cache_key_create_order', '订单生成', placed],
    ['pay_success', '用户付款成功', placed + 4],
    ['express', '已发货', placed + day + (number % 300)],
    ['user_take_delivery', '用户已收货', placed + 4 * day + (number % 700)],
    ['check_order_over', '用户评价', placed + 6 * day + (number % 900)]
  ]
  if (stage === 'cancelled') return [...steps.slice(0, 1), ['cancel', '取消订单', placed + 30]]
  return steps.slice(0, { unpaid: 1, paid: 2, shipped: 3, received: 4, done: 5 }[stage])
}

/** The amounts of an order, in fen: total = lines + freight, paid = total - coupon. */
const priceOf = ({ chance, pick }: Random, lines: { cart_num: number; price: number }[]) => {
  const goods = lines.reduce((sum, line) => sum + line.cart_num * line.price, 0)
  const freight = goods >= 9900 ? 0 : 800
  const coupon = chance(0.3) && goods > 2000 ? pick([500, 800, 1000]) : 0
  return { total_price: goods + freight, freight, coupon_price: coupon, pay_price: goods + freight - coupon }
}

/** One order with all that belongs to it. The first is the documentation's: shipped, of user 1, with two lines. */
const placeOrder = (random: Random, number: number) => {
  const { below, chance, pick } = random
  const first = number === 1
  const stage = first ? 'shipped' : pick(stages)
  const orderNo = orderNoOf(number)
  const merId = first ? 1 : 1 + below(shops.length)
  const lines = pickLines(random, orderNo, merId, first ? 2 : 1 + below(4))
  const paid = stage !== 'unpaid' && stage !== 'cancelled'
  const sent = paid && stage !== 'paid'
  const placed = (number - 1) * 4
  const order = {
    id: number,
    order_id: orderNo,
    uid: first ? 1 : 1 + below(users),
    mer_id: merId,
    total_num: lines.reduce((sum, line) => sum + line.cart_num, 0),
    ...priceOf(random, lines),
    paid: paid ? 1 : 0,
    pay_type: paid ? pick(['weixin', 'alipay', 'yue']) : '',
    pay_time: paid ? at(placed + 4) : null,
    status: statusOf[stage],
    refund_status: 0,
    delivery_name: sent ? pick(carriers) : null,
    delivery_id: sent ? `DEMO${String(number).padStart(10, '0')}` : null,
    mark: chance(0.2) ? pick(remarks) : null,
    create_time: at(placed)
  }
  const address = first || chance(0.93) ? pickAddress(random, orderNo) : null
  return { order, lines, address, placed, history: historyOf(stage, placed, number) }
}

/** A refund of a shipped order: of its first line, or (every second one) of all that was paid. */
const refundOf = ({ pick }: Random, { order, lines, placed }: Sale, index: number) => {
  const [line] = lines
  const whole = index % 2 === 1
  const state = refundStates[index % refundStates.length] as number
  const applied = placed + 8 * day
  return {
    refund_order_no: `RE${orderNoOf(index + 1)}`,
    order_no: order.order_id,
    uid: order.uid,
    mer_id: order.mer_id,
    refund_price: whole || !line ? order.pay_price : Math.min(line.cart_num * line.price, order.pay_price),
    refund_reason_wap: pick(reasons),
    refund_status: state,
    create_time: at(applied),
    refund_time: state === 3 ? at(applied + day) : null
  }
}

/** Refunds of orders spread evenly over all that were shipped, the first order's among them. */
const refundSome = (random: Random, sales: Sale[]) => {
  const sent = sales.filter(({ order }) => order.delivery_id)
  const step = Math.floor(sent.length / refunds)
  return Array.from({ length: refunds }, (_, index) => refundOf(random, sent[index * step] as Sale, index))
}

const orderRow = ({ order }: Sale, refund: Refund | undefined) => ({
  ...order,
  refund_status: refund?.refund_price === order.pay_price ? (orderStates[refund.refund_status] ?? 0) : 0
})

const logRows = ({ order, history }: Sale, refund: Refund | undefined) => {
  const rows = history.map(([type, message, minute]) => ({
    oid: order.id,
    change_type: type,
    change_message: message,
    create_time: at(minute)
  }))
  const logRefund = (type: string, message: string, time: string) =>
    rows.push({ oid: order.id, change_type: type, change_message: message, create_time: time })
  if (refund) logRefund('apply_refund', `用户申请退款,原因:${refund.refund_reason_wap}`, refund.create_time)
  if (refund?.refund_status === 1) logRefund('refund_refuse', '商户拒绝退款', refund.create_time)
  if (refund?.refund_time) logRefund('refund_price', `退款 ${refund.refund_price} 分`, refund.refund_time)
  return rows
}

const numbered = <T extends object>(rows: T[]) => rows.map((row, index) => ({ id: index + 1, ...row }))

/**
 * The demo shop's rows, table by table, in an order in which they can be inserted; the same for the same seed.
 * Order 202401010001 is shipped, has two lines, an address, a buyer with phone and spreader, and a refund of one line
 * (RE202401010001, paid out). Amounts in fen. No commission has been written yet.
 */
export const demoShop = (seed = 1): DemoTable[] => {
  const random = randomFrom(seed)
  const buyers = userRows(random)
  const sales = Array.from({ length: orders }, (_, index) => placeOrder(random, index + 1))
  const returned = refundSome(random, sales)
  const refundFor = new Map(returned.map(refund => [refund.order_no, refund]))
  const logs = sales.flatMap(sale => logRows(sale, refundFor.get(sale.order.order_id)))
  return [
    { table: 'eb_user', rows: buyers },
    { table: 'eb_merchant', rows: merchantRows() },
    { table: 'eb_store_order', rows: sales.map(sale => orderRow(sale, refundFor.get(sale.order.order_id))) },
    { table: 'eb_store_order_info', rows: numbered(sales.flatMap(sale => sale.lines)) },
    { table: 'eb_store_order_address', rows: numbered(sales.flatMap(sale => sale.address ?? [])) },
    { table: 'eb_store_refund_order', rows: numbered(returned) },
    { table: 'eb_store_order_status', rows: numbered(logs.sort((a, b) => a.create_time.localeCompare(b.create_time))) }
  ]
}
