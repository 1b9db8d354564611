import { readFile } from 'node:fs/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { generate, target } from '../../hooks/lib/purchase/generate.ts'
import type { Json } from '../../runtime/model.ts'
import { engines } from '../support/databases.ts'
import { openTestShop, runHook, startPartner } from '../support/run-hook.ts'
import { addAddress, addLines, addOrder, addRefund, addUser } from './fixtures.ts'

type Shop = Awaited<ReturnType<typeof openTestShop>>
type Partner = Awaited<ReturnType<typeof startPartner>>
type Row = Record<string, null | number | string>

/** The document's own sample, shortened where its lists repeat. */
const sample = () => ({
  order_info: {
    refund_order_id: 'OMLA202007011436303738178',
    supplier_refund_order_id: '5efc2c2ee4b0f378a7b74abf',
    order_id: 'OMLJ202007011424463305278',
    supplier_order_id: '5efc2c2ee4b0f378a7b74abf',
    create_time: '2020-07-01 14:24:48',
    finish_time: '2020-07-01 14:38:13',
    status: 1,
    status_name: '已退款',
    order_category_type: 20,
    order_category_name: '采购',
    order_op_type: 20,
    order_op_type_name: '逆向单'
  },
  price_info: {
    total_price: 296.16,
    company_total_pay: 296.16,
    personal_total_pay: 0,
    coupon_amount: 0,
    red_envelope: 0
  },
  user_info: {
    id: '5b6be60e23445f249e28b913',
    name: '张三',
    phone: '13800000004',
    unit_id: '5bf263af23445f533561234b',
    unit_name: '礼部'
  },
  consignee_info: { name: '李四', phone: '13800000005', address: '北京市朝阳区示例路3号' },
  product_info: [
    {
      id: '202007011201140',
      name: '天瑞优品',
      amount: 1,
      price: 299,
      total_price: 299,
      brand_name: 'Apple',
      unit: '原厂包装',
      spec: '天瑞优品'
    }
  ],
  order_track_info: [
    { content: '您的售后单财务已退款,请注意查收', msg_time: '2020-07-01 14:38:13', operator: '客服' },
    { content: '退货信息:姓名:null 电话:null 地址:null', msg_time: '2020-07-01 14:36:55', operator: '客服' }
  ],
  third_info: {
    user_id: '23122222222112',
    dept_id: '146f0295-fbbc-4448-b9ec-c6dc171de573',
    cost_project_id: 'third_group_033'
  },
  cost_attribution_info: [
    {
      cost_attribution_id: '5bf263af23445f533561234b',
      cost_attribution_name: '礼部',
      cost_attribution_category: 1
    }
  ]
})

/** All fields with Y in the document's tables. */
const REQUIRED = {
  order_info:
    'order_id refund_order_id create_time status status_name order_category_type order_category_name order_op_type order_op_type_name',
  price_info: 'total_price company_total_pay personal_total_pay',
  user_info: 'id name phone unit_id unit_name',
  consignee_info: 'name phone address',
  product_info: 'id name amount price total_price',
  order_track_info: 'content operator msg_time'
}
const requiredFields = Object.entries(REQUIRED).flatMap(([object, fields]) =>
  fields.split(' ').map(field => [object, field] as const)
)

test('the generated check is that of the schema (if not: npm run generate)', async () => {
  expect(await readFile(target, 'utf8')).toBe(generate())
})

for (const engine of engines)
  describe.skipIf(engine.missing)(`the purchase platform on ${engine.name}`, () => {
    let shop: Shop
    let partner: Partner
    let answer: () => { status?: number; body: unknown }

    beforeAll(async () => {
      shop = await openTestShop(engine)
    })
    afterAll(() => shop.close())
    beforeEach(async () => {
      answer = () => ({ body: { code: 0, msg: 'success' } })
      partner = await startPartner(() => answer())
    })
    afterEach(() => partner.close())

    const insert = (table: string, row: Row) => {
      const marks = Object.keys(row).map(() => '?')
      return shop.sql(
        `INSERT INTO ${table} (${Object.keys(row).join(', ')}) VALUES (${marks.join(', ')})`,
        Object.values(row)
      )
    }
    const UNIT = { PURCHASE_UNIT_ID: 'unit-0', PURCHASE_UNIT_NAME: '总务部' }
    const push = (refundNo: string, env: Record<string, string> = UNIT) =>
      runHook({
        shop,
        file: 'purchase/reverse-order-push.js',
        event: { eventKey: 'ORDER_RETURN_COMPLETE', payload: refundNo },
        env: { PURCHASE_PUSH_URL: `${partner.url}/push`, ...env }
      })
    const receive = (
      body: Json,
      { key, method = 'POST', query = {} }: { key?: string; method?: string; query?: object } = {}
    ) =>
      runHook({
        shop,
        file: 'purchase/reverse-order-receive.js',
        env: key === undefined ? {} : { PURCHASE_RECEIVE_KEY: key },
        request: {
          request: { method, path: '/custom/purchase/reverse-order-receive', query: query as Json, headers: {}, body },
          globals: { path: {}, param: query as Json, body, header: {} }
        }
      })
    /** A refunded order of a user of its own, with two lines and an address. */
    const place = async (changes: { user?: Row; order?: Row; refund?: Row } = {}) => {
      const uid = await addUser(shop, { real_name: '王试用', ...changes.user })
      const { orderNo } = await addOrder(shop, { uid, create_time: '2024-01-01 08:00:00', ...changes.order })
      await addLines(shop, orderNo)
      await addAddress(shop, orderNo)
      const refundNo = await addRefund(shop, orderNo, {
        refund_price: 29_616,
        refund_status: 3,
        create_time: '2024-01-02 08:00:00',
        refund_time: '2024-01-03 09:30:00',
        ...changes.refund
      })
      return { uid, orderNo, refundNo }
    }
    const pushed = async (refundNo: string, env?: Record<string, string>) => {
      expect((await push(refundNo, env)).result).toEqual({ success: true })
      return partner.requests.at(-1)?.body as ReturnType<typeof sample> & { cost_attribution_list?: Json }
    }

    describe('push', () => {
      test('of a company whose employees, numbers and costs are known: every object and list', async () => {
        const { uid, orderNo, refundNo } = await place()
        await insert('purchase_employee', {
          ...{ uid, employee_id: 'emp-1', employee_number: 'A001', unit_id: 'unit-1', unit_name: '礼部' },
          ...{ third_user_id: 't-1', third_dept_id: 't-2', cost_dept_id: 't-3', cost_project_id: 't-4' }
        })
        await insert('purchase_cost_attribution', { uid, category: 2, cost_id: 'p-1', name: '项目一' })
        await insert('purchase_cost_attribution', { uid, category: 1, cost_id: 'unit-1', name: '礼部' })
        await insert('purchase_refund', {
          ...{ refund_order_no: refundNo, supplier_order_id: 's-1', supplier_refund_order_id: 's-2' },
          ...{ supplier_name: '示例供应商有限公司', personal_pay: 1_001, coupon_amount: 250, red_envelope: 5 }
        })
        await insert('purchase_refund_item', {
          ...{ refund_order_no: refundNo, product_id: 'P-7', product_name: '绿茶', sku: '250克', cart_num: 3 },
          ...{ price: 9_872, brand_name: '云川', unit: '罐' }
        })
        const body = await pushed(refundNo)
        expect(body).toEqual({
          order_info: {
            order_id: orderNo,
            supplier_order_id: 's-1',
            refund_order_id: refundNo,
            supplier_refund_order_id: 's-2',
            create_time: '2024-01-01 08:00:00',
            finish_time: '2024-01-03 09:30:00',
            status: 1,
            status_name: '已退款',
            supplier_name: '示例供应商有限公司',
            order_category_type: 20,
            order_category_name: '采购',
            order_op_type: 20,
            order_op_type_name: '逆向单'
          },
          price_info: {
            total_price: 296.16,
            company_total_pay: 286.15,
            personal_total_pay: 10.01,
            red_envelope: 0.05,
            coupon_amount: 2.5
          },
          user_info: {
            id: 'emp-1',
            name: '王试用',
            phone: '13800007001',
            unit_id: 'unit-1',
            unit_name: '礼部',
            employee_number: 'A001'
          },
          consignee_info: { name: '王试用', phone: '13800007002', address: '云川省青石市东湖区试用路 1 号' },
          product_info: [
            {
              id: 'P-7',
              name: '绿茶',
              amount: 3,
              price: 98.72,
              total_price: 296.16,
              brand_name: '云川',
              unit: '罐',
              spec: '250克'
            }
          ],
          order_track_info: [
            { content: '您的售后单财务已退款,请注意查收', operator: '客服', msg_time: '2024-01-03 09:30:00' },
            { content: '您的售后单已经申请成功,售后审核中', operator: '王试用', msg_time: '2024-01-02 08:00:00' }
          ],
          third_info: { user_id: 't-1', dept_id: 't-2', cost_dept_id: 't-3', cost_project_id: 't-4' },
          cost_attribution_info: [
            { cost_attribution_category: 1, cost_attribution_id: 'unit-1', cost_attribution_name: '礼部' },
            { cost_attribution_category: 2, cost_attribution_id: 'p-1', cost_attribution_name: '项目一' }
          ]
        })
        expect(partner.requests[0]).toMatchObject({
          method: 'POST',
          path: '/push',
          headers: {
            'content-type': 'application/json;charset=UTF-8',
            'idempotency-key': `purchase-reverse:${refundNo}`
          }
        })
        expect(partner.requests[0]?.headers.authorization).toBeUndefined()
      })

      test('of a shop that knows no more than its own tables: settings for the department, the whole order', async () => {
        const { uid, refundNo } = await place()
        const body = await pushed(refundNo, { ...UNIT, PURCHASE_PUSH_TOKEN: 'tok' })
        expect(body.user_info).toEqual({
          ...{ id: String(uid), name: '王试用', phone: '13800007001', unit_id: 'unit-0', unit_name: '总务部' }
        })
        expect(body.product_info).toEqual([
          { id: '11', name: '绿茶', amount: 2, price: 99, total_price: 198, spec: '250克' },
          { id: '12', name: '茶杯', amount: 1, price: 32.01, total_price: 32.01, spec: '白色' }
        ])
        expect(body).not.toHaveProperty('third_info')
        expect(body).not.toHaveProperty('cost_attribution_info')
        expect(partner.requests[0]?.headers.authorization).toBe('Bearer tok')
      })

      test.each([
        ['', ['cost_attribution_info']],
        ['info', ['cost_attribution_info']],
        ['list', ['cost_attribution_list']],
        ['both', ['cost_attribution_info', 'cost_attribution_list']]
      ])('names the cost attribution by PURCHASE_COST_ATTRIBUTION "%s": %j', async (spelling, names) => {
        const { uid, refundNo } = await place()
        await insert('purchase_cost_attribution', { uid, category: 1, cost_id: 'c', name: '礼部' })
        const body = await pushed(refundNo, { ...UNIT, PURCHASE_COST_ATTRIBUTION: spelling })
        expect(Object.keys(body).filter(name => name.startsWith('cost'))).toEqual(names)
      })

      test('tells the steps of the refund that the shop logged, the newest first', async () => {
        const { orderNo, refundNo } = await place()
        const [order] = await shop.sql<{ id: number }>('SELECT id FROM eb_store_order WHERE order_id = ?', [orderNo])
        const log = (change_type: string, change_message: string, create_time: string) =>
          insert('eb_store_order_status', { oid: Number(order?.id), change_type, change_message, create_time })
        await log('apply_refund', '申请', '2024-01-02 08:00:00')
        await log('pay_success', '支付', '2024-01-02 08:30:00')
        await log('apply_refund', '上一次退款', '2023-12-31 08:00:00')
        await log('refund_price', '退款', '2024-01-03 09:30:00')
        await log('refund_receive', '您的售后单退回货物已收到', '2024-01-03 08:00:00')
        const { order_track_info: tracks } = await pushed(refundNo)
        expect(tracks).toEqual([
          { content: '您的售后单财务已退款,请注意查收', operator: '客服', msg_time: '2024-01-03 09:30:00' },
          { content: '您的售后单退回货物已收到', operator: '客服', msg_time: '2024-01-03 08:00:00' },
          { content: '您的售后单已经申请成功,售后审核中', operator: '王试用', msg_time: '2024-01-02 08:00:00' }
        ])
      })

      test.each([0, 1, 10, 29, 57, 110, 1_005, 29_616, 100_000, 99_999_999_999])(
        '%i fen are exact in yuan',
        async fen => {
          const { refundNo } = await place({ refund: { refund_price: fen } })
          const { price_info: price } = await pushed(refundNo)
          const digits = String(fen).padStart(3, '0')
          const exact = `${digits.slice(0, -2)}.${digits.slice(-2)}`
          expect(String(price.total_price)).toBe(exact.replace(/\.?0+$/, ''))
          expect(price.company_total_pay).toBe(price.total_price)
        }
      )

      test('sums of fen do not drift: 3 pieces at 0.07, a third paid by the employee', async () => {
        const { refundNo } = await place({ refund: { refund_price: 21 } })
        await insert('purchase_refund', { refund_order_no: refundNo, personal_pay: 7 })
        await insert('purchase_refund_item', {
          ...{ refund_order_no: refundNo, product_id: 'x', product_name: 'x', cart_num: 3, price: 7 }
        })
        const { price_info: price, product_info: products } = await pushed(refundNo)
        expect([price.company_total_pay, price.personal_total_pay, products[0]?.total_price]).toEqual([
          0.14, 0.07, 0.21
        ])
      })

      test('is dead before anything is sent when something required is missing: all of it is named', async () => {
        const { orderNo, refundNo } = await place({ user: { phone: null } })
        await shop.sql('DELETE FROM eb_store_order_address WHERE order_no = ?', [orderNo])
        await shop.sql('DELETE FROM eb_store_order_info WHERE order_no = ?', [orderNo])
        const { result } = await push(refundNo, {})
        expect(result).toEqual({
          success: false,
          retry: false,
          message:
            `refund ${refundNo}: user_info.phone is missing; user_info.unit_id is missing; user_info.unit_name is missing; ` +
            'consignee_info.name is missing; consignee_info.phone is missing; consignee_info.address is empty; ' +
            'product_info is empty'
        })
        expect(partner.requests).toHaveLength(0)
      })

      test('more paid by the employee than refunded is refused', async () => {
        const { refundNo } = await place()
        await insert('purchase_refund', { refund_order_no: refundNo, personal_pay: 30_000 })
        const { result } = await push(refundNo)
        expect(result).toMatchObject({
          retry: false,
          message: expect.stringContaining('company_total_pay must be 0 or more')
        })
      })

      test('waits for the refund, and for its money', async () => {
        const missing = { success: false, message: 'refund RE-none is not in the database' }
        expect((await push('RE-none')).result).toEqual(missing)
        const { refundNo } = await place({ refund: { refund_status: 2 } })
        expect((await push(refundNo)).result).toEqual({
          success: false,
          message: `refund ${refundNo} is not paid out: its refund_status is 2`
        })
        expect((await push(refundNo, { ...UNIT, PURCHASE_REFUNDED_STATUS: '2, 3' })).result).toEqual({ success: true })
      })

      test('is skipped without an address', async () => {
        const { result } = await push('RE-none', { PURCHASE_PUSH_URL: '' })
        expect(result).toEqual({ success: true, skipped: 'PURCHASE_PUSH_URL is not set' })
      })

      const final = { success: false, retry: false }
      const retried = { success: false }
      test.each([
        ['code 0', 200, { code: 0 }, undefined, { success: true }],
        ['code "0"', 200, { code: '0' }, undefined, { success: true }],
        ['code 200', 200, { code: 200 }, undefined, { success: true }],
        ['code 1', 200, { code: 1, msg: 'no' }, undefined, retried],
        ['no code', 200, 'ok', undefined, retried],
        ['any answer, where HTTP decides', 200, 'ok', 'http', { success: true }],
        ['a field of its own', 200, { status: 'done' }, 'status=ok,done', { success: true }],
        ['success in words with HTTP 500', 500, { code: 0 }, undefined, retried],
        ['HTTP 400', 400, { msg: 'bad' }, undefined, final],
        ['HTTP 401', 401, '', undefined, final],
        ['HTTP 408', 408, '', 'http', retried],
        ['HTTP 429', 429, '', 'http', retried],
        ['HTTP 503', 503, '', 'http', retried]
      ])('%s', async (_, status, body, success, verdict) => {
        answer = () => ({ status, body })
        const { refundNo } = await place()
        const env = success ? { ...UNIT, PURCHASE_PUSH_SUCCESS: success } : UNIT
        const expected =
          verdict === retried || verdict === final ? { ...verdict, message: expect.any(String) } : verdict
        expect((await push(refundNo, env)).result).toEqual(expected)
      })
    })

    describe('receive', () => {
      test("turns the document's own sample into one event", async () => {
        const { report, announced } = await receive(sample())
        expect(report.response).toMatchObject({ status: 200, body: { code: 0, msg: 'success' } })
        const costs = sample().cost_attribution_info
        expect(announced).toMatchObject([
          {
            kind: 'event',
            id: 'purchase-reverse:OMLA202007011436303738178',
            eventKey: 'PURCHASE_REVERSE_REFUNDED',
            payload: 'OMLA202007011436303738178',
            data: { ...sample(), cost_attribution_list: costs }
          }
        ])
        const repeated = await receive(sample())
        expect(repeated.announced.map(({ id }) => id)).toEqual(announced.map(({ id }) => id))
      })

      test('takes the other spelling of the cost attribution, nulls in optional fields, and fields of its own', async () => {
        const { cost_attribution_info: costs, ...rest } = sample()
        const body = { ...rest, cost_attribution_list: costs, third_info: null, extra: { a: 1 } }
        const { announced } = await receive(body)
        expect(announced[0]).toMatchObject({ data: { cost_attribution_info: costs, extra: { a: 1 } } })
      })

      test.each(requiredFields)('refuses a document without %s.%s, naming it', async (object, field) => {
        for (const value of [undefined, null]) {
          const document = sample() as unknown as Record<string, Record<string, unknown> | Record<string, unknown>[]>
          const holder = [document[object]].flat()[0] ?? {}
          holder[field] = value
          const name = `${object}${Array.isArray(document[object]) ? '[0]' : ''}.${field} is missing`
          const { report, announced, result } = await receive(JSON.parse(JSON.stringify(document)))
          expect(report.response).toMatchObject({ status: 400, body: { code: 400, msg: name } })
          expect(result).toMatchObject({ success: false, retry: false, message: name })
          expect(announced).toEqual([])
        }
      })

      test.each([
        ['order_info', 'order_info is missing', undefined],
        ['product_info', 'product_info is empty', []],
        ['product_info', 'product_info must be of type array', {}],
        ['order_track_info', 'order_track_info is empty', []],
        ['price_info', 'price_info must be of type object', 5]
      ])('refuses %s: %s', async (name, fault, value) => {
        const { report } = await receive(JSON.parse(JSON.stringify({ ...sample(), [name]: value })))
        expect(report.response).toMatchObject({ status: 400, body: { msg: fault } })
      })

      test.each([
        [{ order_info: { status: 2 } }, 'order_info.status must be 1'],
        [{ order_info: { order_op_type: 10 } }, 'order_info.order_op_type must be 20'],
        [{ order_info: { refund_order_id: 'x'.repeat(65) } }, 'order_info.refund_order_id has the wrong form'],
        [{ order_info: { create_time: '2020/07/01' } }, 'order_info.create_time has the wrong form'],
        [{ order_info: { status_name: ' ' } }, 'order_info.status_name is empty'],
        [{ price_info: { total_price: '296.16' } }, 'price_info.total_price must be of type number'],
        [{ price_info: { total_price: -1 } }, 'price_info.total_price must be 0 or more']
      ])('refuses %j: %s', async (changes, fault) => {
        const document = sample() as unknown as Record<string, object>
        for (const [name, fields] of Object.entries(changes)) document[name] = { ...document[name], ...fields }
        const { report } = await receive(document as Json)
        expect(report.response).toMatchObject({ status: 400, body: { msg: fault } })
      })

      test.each([[null], [''], ['<xml/>'], [[]], [7]])('refuses the body %j', async body => {
        const { report } = await receive(body as Json)
        expect(report.response).toMatchObject({ status: 400, body: { msg: 'the document must be of type object' } })
      })

      test('refuses another method, and a wrong key where one is set', async () => {
        expect((await receive(null, { method: 'GET' })).report.response).toMatchObject({ status: 405 })
        expect((await receive(sample(), { key: 'k1' })).report.response).toMatchObject({ status: 401 })
        expect((await receive(sample(), { key: 'k1', query: { key: 'k2' } })).report.response).toMatchObject({
          status: 401
        })
        const { report, announced } = await receive(sample(), { key: 'k1', query: { key: 'k1' } })
        expect(report.response).toMatchObject({ status: 200 })
        expect(announced).toHaveLength(1)
      })

      test('takes what the push sends', async () => {
        const { refundNo } = await place()
        const body = await pushed(refundNo)
        expect((await receive(body as unknown as Json)).announced).toMatchObject([{ payload: refundNo }])
      })
    })
  })
