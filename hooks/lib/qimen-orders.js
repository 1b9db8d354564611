/**
 * Orders as Qimen wants them: the parameters of taobao.qimen.event.produce, out of the shop's tables.
 *
 * Env: QIMEN_SESSION, QIMEN_NICK, QIMEN_PLATFORM: the seller; a nick needs a platform
 *      QIMEN_SELLERS (JSON, secret: merchant id to { nick, platform, session }; what is not given is as above)
 *      QIMEN_COLUMNS (JSON: parameter to the column that it is read from; default { "tid": "order_id",
 *      "create": "create_time", "taobao_sub_order_ids": "id" }; also erp_order_id, platform, nick, split_merge)
 *      ERP_API_URL (only whether it is set: then an ERP number is to be expected)
 *      QIMEN_EXT (JSON object that is sent as ext, such as {"rdsName":"123wdx1"})
 *
 * All columns are those of eb_store_order, but that of taobao_sub_order_ids is of eb_store_order_info.
 *
 * Assumed: `create` is the day as a number, 20170808, like the document's sample. An order is merged when its tid column
 * holds several numbers with commas between, and split when other orders have its tid; the column split_merge may say so
 * as well. Then erp_order_id and taobao_sub_order_ids stay away.
 */

const erp = require('/lib/erp')
const qimen = require('/lib/qimen')

const PLATFORMS = 'MAIN JD DD PP YX EBAY AMAZON SN GM WPH JM MGJ YT YHD 1688 POS OTHER'.split(' ')

const COLUMNS = { tid: 'order_id', create: 'create_time', taobao_sub_order_ids: 'id' }
const MAPPABLE = [...Object.keys(COLUMNS), 'erp_order_id', 'platform', 'nick', 'split_merge']

/** Which column each parameter is read from. */
exports.columns = () => {
  const set = qimen.objectIn('QIMEN_COLUMNS', {})
  for (const [name, column] of Object.entries(set)) {
    if (!MAPPABLE.includes(name)) qimen.refuse(`QIMEN_COLUMNS has ${name}, which is not one of ${MAPPABLE.join(', ')}`)
    // One of them becomes part of a statement below.
    if (!/^\w+$/.test(String(column)))
      qimen.refuse(`QIMEN_COLUMNS.${name} is ${JSON.stringify(column)}: no column's name`)
  }
  return { ...COLUMNS, ...set }
}

/**
 * The orders that there are under these numbers, in the same sequence: `{ orderNo, seller, tids, fields, splitOrMerged }`.
 * `fields` are the parameters that all messages of the order share.
 */
exports.load = orderNos => {
  if (orderNos.length === 0) return []
  const columns = exports.columns()
  const marks = orderNos.map(() => '?').join(', ')
  const rows = db.select(`SELECT * FROM eb_store_order WHERE order_id IN (${marks})`, orderNos)
  const lines = db.select(`SELECT * FROM eb_store_order_info WHERE order_no IN (${marks}) ORDER BY id`, orderNos)
  const shared = sharedTids(rows, columns.tid)
  const ext = extOf(qimen.objectIn('QIMEN_EXT', null))
  const byNo = new Map(
    rows.map(row => {
      const own = lines.filter(line => line.order_no === row.order_id)
      return [row.order_id, orderOf(row, own, { columns, shared, ext })]
    })
  )
  return orderNos.flatMap(orderNo => byNo.get(orderNo) ?? [])
}

/** Whether the ERP's number of an order is still to come: there is an ERP, and the document wants its number. */
exports.awaitsErpNumber = order =>
  !order.splitOrMerged &&
  !order.fields.erp_order_id &&
  Boolean(env.get('ERP_API_URL') || exports.columns().erp_order_id)

/** The parameters of one message. `eventTime` is text as TOP writes it, or nothing. */
exports.message = (order, tid, status, eventTime) => ({ status, tid, ...order.fields, event_time: eventTime })

const orderOf = (row, lines, { columns, shared, ext }) => {
  const orderNo = row.order_id
  const value = (name, from = row) => {
    const column = columns[name]
    if (column && !(column in from)) qimen.refuse(`QIMEN_COLUMNS.${name}: there is no column ${column}`)
    return column ? String(from[column] ?? '').trim() : ''
  }
  const tids = splitList(value('tid'))
  if (tids.length === 0) qimen.refuse(`order ${orderNo} has no tid in ${columns.tid}`)
  const marked = !['', '0', 'false'].includes(value('split_merge'))
  const splitOrMerged = marked || tids.length > 1 || tids.some(tid => shared.has(tid))

  const seller = sellerOf(row.mer_id, value('platform'), value('nick'), orderNo)
  const subOrderIds = [...new Set(lines.flatMap(line => splitList(value('taobao_sub_order_ids', line))))]
  const day = value('create').slice(0, 10).replaceAll('-', '')
  const erpNumber = columns.erp_order_id ? value('erp_order_id') : erp.numberIn(row.mark)
  const fields = {
    ext,
    platform: seller.platform || undefined,
    create: /^\d{8}$/.test(day) ? Number(day) : undefined,
    nick: seller.nick || undefined,
    erp_order_id: (!splitOrMerged && erpNumber) || undefined,
    taobao_sub_order_ids: (!splitOrMerged && subOrderIds.join(',')) || undefined
  }
  return { orderNo, seller, tids, fields, splitOrMerged }
}

/** `key` tells sellers apart in the tables: the nick, or else the merchant who has a session of its own. */
const sellerOf = (merId, platformOfOrder, nickOfOrder, orderNo) => {
  const own = qimen.objectIn('QIMEN_SELLERS', {})[merId] ?? {}
  const platform = platformOfOrder || own.platform || env.get('QIMEN_PLATFORM') || ''
  const nick = nickOfOrder || own.nick || env.get('QIMEN_NICK') || ''
  const session = own.session || env.get('QIMEN_SESSION') || ''
  if (platform && !PLATFORMS.includes(platform)) {
    qimen.refuse(`order ${orderNo}: platform ${platform} is not one of ${PLATFORMS.join(', ')}`)
  }
  if (nick && !platform) qimen.refuse(`order ${orderNo}: nick ${nick} needs a platform, set QIMEN_PLATFORM`)
  return { nick, platform, session, key: nick || (own.session ? `merchant ${merId}` : '') }
}

/** Of these rows' tids those that more than one order has. An order number is its order's own. */
const sharedTids = (rows, column) => {
  const tids = rows.map(row => String(row[column] ?? '')).filter(Boolean)
  if (column === COLUMNS.tid || tids.length === 0) return new Set()
  const marks = tids.map(() => '?').join(', ')
  const counts = db.select(
    `SELECT ${column} AS tid, COUNT(*) AS orders FROM eb_store_order WHERE ${column} IN (${marks}) GROUP BY ${column}`,
    tids
  )
  return new Set(counts.filter(count => count.orders > 1).map(count => String(count.tid)))
}

const extOf = value => (value && Object.keys(value).length ? JSON.stringify(value) : undefined)

const splitList = text =>
  String(text)
    .split(',')
    .map(part => part.trim())
    .filter(Boolean)
