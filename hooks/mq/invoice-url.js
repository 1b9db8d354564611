/**
 * /custom/mq/invoice-url: tells a front where an order's electronic invoice lies: erp.updateInvoicePdfUrl.
 *
 * Event:   ORDER_INVOICE_ISSUED, ORDER_INVOICE_RED (payload: order number; data.pdfUrl: the invoice)
 * Retried: the order is not in the database yet.
 * Not:     the event came as a message; it has no pdfUrl: no repetition can bring one.
 */

if (/^(amqp|mq):/.test(payload.event.id)) return { success: true, skipped: 'it came as a message' }

const orderNo = String(payload.event.payload)
const pdfUrl = payload.event.data?.pdfUrl
if (!pdfUrl) return { success: false, retry: false, message: `the invoice of order ${orderNo} came without data.pdfUrl` }
const uid = db.selectValue('SELECT uid FROM eb_store_order WHERE order_id = ?', orderNo)
if (uid === null) return { success: false, message: `order ${orderNo} is not in the database` }

const message = {
  uid,
  orderCode: /^\d{1,15}$/.test(orderNo) ? Number(orderNo) : orderNo,
  pdfUrl,
  invoiceType: payload.event.eventKey === 'ORDER_INVOICE_RED' ? '1' : '0'
}

mq.publish('erp.updateInvoicePdfUrl', message)
return { success: true, published: message }
