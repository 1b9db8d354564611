/** Replaces secrets in text that leaves a run. */
export type Mask = (text: string) => string

/** A secret shorter than this would blot out ordinary text. */
const MIN_LENGTH = 4
const COVER = '***'

/**
 * A mask for these secrets, also in the forms that they take on the way out: inside JSON, in an address, in Base64.
 * Secrets of fewer than four characters are not masked.
 */
export function createMask(secrets: string[]): Mask {
  const forms = secrets
    .filter(secret => secret.length >= MIN_LENGTH)
    .flatMap(secret => [
      secret,
      JSON.stringify(secret).slice(1, -1),
      encodeURIComponent(secret),
      Buffer.from(secret).toString('base64')
    ])
  const wanted = [...new Set(forms)].sort((a, b) => b.length - a.length)
  return text => wanted.reduce((masked, form) => masked.replaceAll(form, COVER), text)
}

/** A JSON value with every text in it masked. */
export function maskJson<T>(value: T, mask: Mask): T {
  if (value === null || value === undefined) return value
  return JSON.parse(JSON.stringify(value), (_key, member) => (typeof member === 'string' ? mask(member) : member))
}
