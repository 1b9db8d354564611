import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readConfig } from '../../runtime/config.ts'
import { createTopicMap } from '../../runtime/events/topic-map.ts'
import type { Json } from '../../runtime/model.ts'
import { engines } from '../support/databases.ts'
import { openTestShop, runHook, type TestShop } from '../support/run-hook.ts'

const map = createTopicMap(readConfig({}).topics)

describe.each(engines)('the hooks that speak as the ERP on $name', engine => {
  describe.skipIf(engine.missing)('', () => {
    let shop: TestShop
    let refund: { id: number; refund_order_no: string; refund_price: number }
    let order: { order_id: string; uid: number }

    beforeAll(async () => {
      shop = await openTestShop(engine)
      const refunds = await shop.sql<typeof refund>('SELECT * FROM eb_store_refund_order ORDER BY id LIMIT 1')
      const orders = await shop.sql<typeof order>(
        'SELECT o.* FROM eb_store_order o JOIN eb_store_order_address a ON a.order_no = o.order_id LIMIT 1'
      )
      refund = refunds[0] as typeof refund
      order = orders[0] as typeof order
    })
    afterAll(() => shop.close())

    const run = (file: string, eventKey: string, payload: string, data?: Json, id?: string) =>
      runHook({
        shop,
        file,
        event: { eventKey, payload, ...(data === undefined ? {} : { data }), ...(id && { id }) } as never
      })
    /** What was published, and the events that a front with Sandhook would make of it. */
    const said = async (...args: Parameters<typeof run>) => {
      const { announced, error } = await run(...args)
      expect(error).toBeNull()
      return announced.map(message => {
        if (message.kind !== 'message') throw new Error('no message')
        const { drafts } = map.read({ topic: message.routingKey, body: message.body }, false)
        return [message.routingKey, message.body, drafts.map(({ eventKey }) => eventKey)]
      })
    }

    test('answer a refund request', async () => {
      const no = refund.refund_order_no
      const frontId = /^\d{1,15}$/.test(no) ? Number(no) : no
      expect(await said('mq/refund-reply.js', 'ORDER_REFUND_AGREE', no)).toEqual([
        [
          'erp.createRefundOrder',
          {
            ...{ code: 200, message: 'ok' },
            data: {
              ...{ id: frontId, returned_id: refund.id, returned_status: 10 },
              ...{ real_returned_amount: refund.refund_price / 100, is_return_coupon: 'N', return_yoho_coin: 0 }
            }
          },
          ['ORDER_REFUND_AGREE']
        ]
      ])
      expect(await said('mq/refund-reply.js', 'ORDER_REFUND_REFUSE', no)).toEqual([
        [
          'erp.createRefundOrder',
          { code: 500, message: 'error', data: { id: frontId, returned_id: refund.id, returned_status: 91 } },
          ['ORDER_REFUND_REFUSE']
        ]
      ])
    })

    test.each([
      ['ORDER_RETURN_SUBMITTED', 0],
      ['ORDER_REFUND_AGREE', 10],
      ['ORDER_RETURN_SHIPPED', 20],
      ['ORDER_RETURN_WAREHOUSED', 30],
      ['ORDER_RETURN_COMPLETE', 40],
      ['ORDER_REFUND_REFUSE', 91]
    ])('tell of %s', async (eventKey, status) => {
      const [[topic, body, events] = []] = await said('mq/refund-status.js', eventKey, refund.refund_order_no)
      expect([topic, events]).toEqual(['erp.updateChangeRefundOrderStatus', [eventKey]])
      expect(body).toMatchObject({ id: refund.id, status, type: 'refund' })
    })

    test.each([
      ['ORDER_EXCHANGE_ACCEPTED', 'erp.createChangeOrder'],
      ['ORDER_EXCHANGE_REFUSE', 'erp.createChangeOrder'],
      ['ORDER_EXCHANGE_AGREE', 'erp.updateChangeRefundOrderStatus'],
      ['ORDER_EXCHANGE_WAREHOUSED', 'erp.updateChangeRefundOrderStatus'],
      ['ORDER_EXCHANGE_PICKUP', 'erp.updateChangeRefundOrderStatus'],
      ['ORDER_EXCHANGE_COMPLETE', 'erp.updateChangeRefundOrderStatus']
    ])('tell of %s', async (eventKey, topic) => {
      const [message] = await said('mq/exchange-status.js', eventKey, '5', { new_order_code: 9 })
      expect(message).toEqual([topic, expect.anything(), [eventKey]])
    })

    test('tell of an address and of an invoice', async () => {
      const no = order.order_id
      expect(await said('mq/address-update.js', 'ORDER_ADDRESS_CHANGE', no)).toEqual([
        ['erp.deliveryAddressUpdate', [expect.objectContaining({ order_code: Number(no) })], ['ORDER_ADDRESS_CHANGE']]
      ])
      expect(await said('mq/invoice-url.js', 'ORDER_INVOICE_RED', no, { pdfUrl: 'https://a.example/1.pdf' })).toEqual([
        [
          'erp.updateInvoicePdfUrl',
          { uid: order.uid, orderCode: Number(no), pdfUrl: 'https://a.example/1.pdf', invoiceType: '1' },
          ['ORDER_INVOICE_RED']
        ]
      ])
      const { error } = await run('mq/invoice-url.js', 'ORDER_INVOICE_ISSUED', no, {})
      expect(error?.code).toBe('HOOK_REJECTED')
    })

    test.each([
      ['mq/refund-reply.js', 'ORDER_REFUND_AGREE'],
      ['mq/refund-status.js', 'ORDER_REFUND_AGREE'],
      ['mq/exchange-status.js', 'ORDER_EXCHANGE_AGREE'],
      ['mq/address-update.js', 'ORDER_ADDRESS_CHANGE'],
      ['mq/invoice-url.js', 'ORDER_INVOICE_RED']
    ])('%s does not repeat what came as a message', async (file, eventKey) => {
      for (const id of ['amqp:1', `mq:${eventKey}:1`]) {
        const { announced, result } = await run(file, eventKey, refund.refund_order_no, {}, id)
        expect(announced).toEqual([])
        expect(result).toMatchObject({ success: true, skipped: 'it came as a message' })
      }
    })

    test('wait for a refund that is not in the database yet', async () => {
      const { error, announced } = await run('mq/refund-status.js', 'ORDER_RETURN_COMPLETE', 'none')
      expect([error?.code, announced]).toEqual(['HOOK_FAILED', []])
    })
  })
})
