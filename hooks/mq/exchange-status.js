/**
 * /custom/mq/exchange-status: tells a front of an exchange: erp.createChangeOrder when it is accepted or refused,
 * erp.updateChangeRefundOrderStatus, type change, for what follows.
 *
 * Event:   ORDER_EXCHANGE_ACCEPTED, ORDER_EXCHANGE_REFUSE (payload: the front's id of the exchange; the answer's other
 *          members, new_order_code, exchange_id and so on, are taken from the event's data)
 *          ORDER_EXCHANGE_AGREE, ORDER_EXCHANGE_WAREHOUSED, ORDER_EXCHANGE_PICKUP, ORDER_EXCHANGE_COMPLETE (payload: the
 *          exchange's id in this shop)
 * Not:     the event came as a message: this shop is not the one that decided.
 */

if (/^(amqp|mq):/.test(payload.event.id)) return { success: true, skipped: 'it came as a message' }

const { eventKey, data } = payload.event
const text = String(payload.event.payload)
const id = /^\d{1,15}$/.test(text) ? Number(text) : text

const STATUS = {
  ORDER_EXCHANGE_AGREE: 10,
  ORDER_EXCHANGE_WAREHOUSED: 30,
  ORDER_EXCHANGE_PICKUP: 40,
  ORDER_EXCHANGE_COMPLETE: 50
}
const ANSWER = {
  ORDER_EXCHANGE_ACCEPTED: { code: 200, message: 'ok', status: 10 },
  ORDER_EXCHANGE_REFUSE: { code: 500, message: 'error', status: 91 }
}

const answer = ANSWER[eventKey]
if (answer) {
  const { code, message, status } = answer
  const body = { code, message, data: { ...data, id, exchange_status: status, returned_status: status } }
  mq.publish('erp.createChangeOrder', body)
  return { success: true, published: body }
}
const status = STATUS[eventKey]
if (status === undefined) return { success: true, skipped: `${eventKey} is no step of an exchange` }

const body = { id, status, type: 'change' }
mq.publish('erp.updateChangeRefundOrderStatus', body)
return { success: true, published: body }
