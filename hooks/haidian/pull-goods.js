/**
 * /custom/haidian/pull-goods: fetches the ERP's goods into haidian_goods. OUR READING of item 6 of the document's table of
 * contents, "商品同步(从海典接口获取商品)", which the document never describes: POST /api/goods-list there, page by page.
 *
 * Event:   HAIDIAN_GOODS_SYNC (payload: anything); or called over HTTP with a token
 * Env:     HAIDIAN_API_URL, HAIDIAN_SECRET (one not set: nothing is fetched), HAIDIAN_GOODS_PATH (default /api/goods-list);
 *          those of /lib/haidian and /lib/sign/haidian
 * Retried: the ERP cannot be reached, has trouble (429, 5xx), or answers something that is neither 0 nor -1.
 * Not:     code -1, HTTP 4xx: dead letter. Goods without a number or with a wrong price: left out, with a warning.
 *
 * Assumed: request { page, sign }; answer { code: 0, data: [{ goods_no, goods_name, goods_price }] }, ended by an empty page
 * or one that begins as the page before it did. What product and variant a good is (product_id, sku) stays as it is.
 */

const settings = require('/lib/settings')
const haidian = require('/lib/haidian')
const fields = require('/lib/haidian-fields')

const MOST_PAGES = 40

const skipped = settings.skipUnless('HAIDIAN_API_URL', 'HAIDIAN_SECRET')
if (skipped) return skipped

const address = env.get('HAIDIAN_GOODS_PATH') || '/api/goods-list'
const method = address.split('/').pop() ?? ''
const goods = new Map()
let page = 1
let first = null
for (; page <= MOST_PAGES; page++) {
  const { data, failure } = haidian.call(method, { page }, address)
  if (failure) return failure
  if (!Array.isArray(data) || data.length === 0 || data[0]?.goods_no === first) break
  first = data[0]?.goods_no
  for (const row of data.map(read)) if (row) goods.set(row[0], row)
}
if (page > MOST_PAGES) log.warn('there are more than {} pages of goods: the rest is left out', MOST_PAGES)
if (goods.size > 0)
  db.batch(
    `INSERT INTO haidian_goods (goods_no, goods_name, goods_price, update_time) VALUES (?, ?, ?, NOW())
     ON DUPLICATE KEY UPDATE goods_name = VALUES(goods_name), goods_price = VALUES(goods_price), update_time = NOW()`,
    [...goods.values()]
  )
log.info('{} goods fetched', goods.size)
return { success: true, goods: goods.size }

/** A good as a row, or null when it is none. */
function read(good) {
  try {
    const rules = {
      goods_no: fields.required(fields.text(64)),
      goods_name: fields.required(fields.text(128)),
      goods_price: fields.required(fields.money)
    }
    return Object.values(fields.read(good ?? {}, rules))
  } catch (error) {
    if (!(error instanceof fields.Refusal)) throw error
    log.warn('left out {}: {}', good, error instanceof Error ? error.message : error)
    return null
  }
}
