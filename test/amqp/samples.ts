import { readdirSync, readFileSync } from 'node:fs'

/** One of the message document's examples, as it stands there. */
export interface Sample {
  name: string
  topic: string
  text: string
}

const FOLDER = new URL('samples/', import.meta.url)

export const samples: Sample[] = readdirSync(FOLDER)
  .sort()
  .map(name => ({
    name,
    topic: /^\d+-(.+)\.txt$/.exec(name)?.[1] ?? '',
    text: readFileSync(new URL(name, FOLDER), 'utf8')
  }))

/** What the examples come to when they are read in the document's order, by their numbers; those left out: a duplicate. */
export const expected: Record<number, [eventKey: string, payload: string]> = {
  1: ['ORDER_CONFIRM_RECEIPT', '100000'],
  2: ['ORDER_CANCEL', '100000'],
  4: ['ORDER_AUDITED', '100000'],
  5: ['ORDER_STOCKED', '100000'],
  6: ['ORDER_DELIVERY_ALL', '100000'],
  7: ['ORDER_DELIVERED', '100000'],
  10: ['ORDER_PRESALE_BALANCE_NOTICE', '100000'],
  11: ['ORDER_EXCHANGE_APPLY', '1'],
  12: ['ORDER_EXCHANGE_ACCEPTED', '1'],
  13: ['ORDER_EXCHANGE_REFUSE', '1'],
  14: ['ORDER_EXCHANGE_EXPRESS', '1'],
  15: ['ORDER_RETURN_EXPRESS', '1'],
  16: ['ORDER_EXCHANGE_AGREE', '1'],
  17: ['ORDER_EXCHANGE_WAREHOUSED', '1'],
  18: ['ORDER_EXCHANGE_PICKUP', '1'],
  19: ['ORDER_EXCHANGE_COMPLETE', '1'],
  20: ['ORDER_REFUND_APPLY', '123'],
  21: ['ORDER_REFUND_AGREE', '1'],
  22: ['ORDER_REFUND_REFUSE', '1'],
  23: ['ORDER_RETURN_COMPLETE', '1'],
  24: ['ORDER_REFUND_CANCEL', 'erp:428013'],
  25: ['ORDER_ADDRESS_CHANGE', '1607472719'],
  26: ['ORDER_ADDRESS_CHANGE', '1607472719'],
  27: ['ORDER_INVOICE_RED', '1607578151'],
  28: ['ORDER_EXPRESS_TRACE', '1718050455'],
  29: ['ORDER_CANCEL', '111111']
}
