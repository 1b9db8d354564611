/**
 * Money as the shop's database keeps it: whole fen (1/100 yuan). Everything is reckoned in whole numbers, because
 * 0.1 + 0.2 is not 0.3; yuan appear only where a person or a partner reads them.
 */

/**
 * A column's value as fen. Throws when it is no whole number (a NULL, a price in yuan with a fraction);
 * `name` says in the message whose value it was.
 */
exports.fen = (value, name) => {
  const fen = Number(value)
  if (value === null || value === undefined || value === '' || !Number.isSafeInteger(fen)) {
    throw new Error(`${name} is ${JSON.stringify(value)}: it must be a whole number of fen`)
  }
  return fen
}

/** Fen as a number of yuan, for partners whose interface asks for one: 23001 → 230.01. */
exports.yuan = fen => fen / 100

/** Fen as text for people: 123405 → '¥1234.05'. */
exports.format = fen => {
  const rest = Math.abs(fen) % 100
  const yuan = (Math.abs(fen) - rest) / 100
  return `${fen < 0 ? '-' : ''}¥${yuan}.${String(rest).padStart(2, '0')}`
}

/** The part of an amount, rounded down to a whole fen: share(999, 1000, 10000) → 99. For amounts of 0 and more. */
exports.share = (amount, part, whole) => Number((BigInt(amount) * BigInt(part)) / BigInt(whole))

/** A rate from '0' to '1' with at most four decimals as parts of 10000: '0.125' → 1250; null for anything else. */
exports.basisPoints = rate => {
  const [, ones, decimals = ''] = /^([01])(?:\.(\d{1,4}))?$/.exec(String(rate).trim()) ?? []
  if (ones === undefined) return null
  const points = Number(ones) * 10000 + Number(decimals.padEnd(4, '0'))
  return points <= 10000 ? points : null
}
