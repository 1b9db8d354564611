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

/** A copy of a JSON value with every text in it masked. No recursion: a script decides how deep its result is. */
export function maskJson<T>(value: T, mask: Mask): T {
  if (value === undefined) return value
  const root = { value: JSON.parse(JSON.stringify(value)) }
  const open: object[] = [root]
  for (let node = open.pop(); node; node = open.pop())
    for (const [name, member] of Object.entries(node)) {
      if (typeof member === 'object' && member !== null) open.push(member)
      // Not by assignment: a member may be called __proto__.
      if (typeof member === 'string') Object.defineProperty(node, name, { value: mask(member) })
    }
  return root.value
}
