/**
 * Settings that a hook needs before it can do anything.
 *
 *   const skipped = require('/lib/settings').skipUnless('ERP_API_URL', 'ERP_API_KEY')
 *   if (skipped) return skipped
 */

/**
 * A result that ends the hook as succeeded, naming the first key that has no value; null when all have one.
 * A shop that does not use a partner is no failure, so nothing is retried.
 */
exports.skipUnless = (...keys) => {
  const missing = keys.find(key => !env.get(key))
  if (!missing) return null
  log.info('skipped: {} is not set', missing)
  return { success: true, skipped: `${missing} is not set` }
}
