import { LRUCache } from 'lru-cache'

/** Replaces secrets in text that leaves a run. */
export type Mask = (text: string) => string

/** A secret shorter than this would blot out ordinary text. */
const MIN_LENGTH = 4
/** A piece of Base64 shorter than this could be anything. */
const MIN_PIECE = 8
const COVER = '***'

/** The mask of a run that was granted no secret. */
export const NO_SECRETS: Mask = text => text

/**
 * A mask for these secrets, also in the forms that they take on the way out: inside JSON (and JSON inside JSON), in an
 * address, a form or HTML, in hexadecimal, in Base64, alone or within a longer text. Secrets of fewer than four
 * characters are not masked, nor what a script has made unrecognisable on purpose: reversed, spelled out, encrypted.
 */
export function createMask(secrets: string[]): Mask {
  const wanted = secrets.filter(secret => secret.length >= MIN_LENGTH)
  if (wanted.length === 0) return NO_SECRETS
  let forms: string[] | null = null
  return text => {
    // The longest form first: of two that begin alike, the shorter one would leave the rest of the other.
    forms ??= [...new Set(wanted.flatMap(formsOf))].sort((a, b) => b.length - a.length)
    return forms.reduce((masked, form) => masked.replaceAll(form, COVER), text)
  }
}

/** Masks by their secrets, kept: hooks run often, and a secret has dozens of forms. */
export function createMasks(): (secrets: string[]) => Mask {
  const made = new LRUCache<string, Mask>({ max: 200 })
  return secrets => {
    const key = JSON.stringify(secrets)
    const mask = made.get(key) ?? createMask(secrets)
    made.set(key, mask)
    return mask
  }
}

function formsOf(secret: string): string[] {
  const bytes = Buffer.from(secret)
  const escaped = inJson(secret)
  const php = escaped.replaceAll('/', '\\/')
  const texts = [secret, escaped, inJson(escaped), inJson(inJson(escaped)), php, inJson(php), asHtml(secret)]
  return [
    ...texts.flatMap(text => [text, ...inAddress(text)]),
    ...[bytes.toString('hex'), bytes.toString('hex').toUpperCase()],
    ...[bytes.toString('base64'), bytes.toString('base64url')],
    ...[0, 1, 2].flatMap(before => base64Pieces(bytes, before))
  ]
}

function inAddress(text: string): string[] {
  const well = text.toWellFormed()
  const form = new URLSearchParams([['', well]]).toString().slice(1)
  const encoded = [encodeURIComponent(well), encodeURI(well), form, form.replaceAll('%20', '+')]
  return encoded.flatMap(line => [line, line.replace(/%[\dA-F]{2}/g, code => code.toLowerCase())])
}

const inJson = (text: string): string => JSON.stringify(text).slice(1, -1)

const HTML: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }
const asHtml = (text: string): string => text.replace(/[&<>"']/g, sign => HTML[sign] ?? sign)

/** What of a longer text's Base64 is the secret's alone, when `before` (modulo 3) bytes precede it. */
function base64Pieces(bytes: Buffer, before: number): string[] {
  const whole = Buffer.concat([Buffer.alloc(before), bytes])
  const from = Math.ceil((before * 8) / 6)
  const to = Math.floor((whole.length * 8) / 6)
  if (to - from < MIN_PIECE) return []
  return [whole.toString('base64').slice(from, to), whole.toString('base64url').slice(from, to)]
}

/**
 * A copy of a JSON value with every text in it masked, names of members too, and numbers that are a secret. No recursion:
 * a script decides how deep its result is.
 */
export function maskJson<T>(value: T, mask: Mask): T {
  if (value === undefined || mask === NO_SECRETS) return value
  const root = { value: JSON.parse(JSON.stringify(value)) }
  const open: object[] = [root]
  for (let node = open.pop(); node; node = open.pop())
    for (const [name, member] of Object.entries(node)) {
      if (typeof member === 'object' && member !== null) open.push(member)
      const shown = maskedMember(member, mask)
      const called = Array.isArray(node) ? name : mask(name)
      if (called !== name) Reflect.deleteProperty(node, name)
      if (called === name && shown === member) continue
      // Not by assignment: a member may be called __proto__.
      Object.defineProperty(node, called, { value: shown, enumerable: true, configurable: true, writable: true })
    }
  return root.value
}

function maskedMember(member: unknown, mask: Mask): unknown {
  if (typeof member === 'string') return mask(member)
  return typeof member === 'number' && mask(String(member)) === COVER ? COVER : member
}

/**
 * What a terminal would obey, a log file take for a line's end, or a reader not see, also where Unicode has no sign yet;
 * line feed, tab, joiners and what chooses the form of a sign are text.
 */
const UNSEEN =
  /[[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]--[\n\t\u200c\u200d\p{Variation_Selector}]]/gv

/**
 * Text that shows what is in it: control characters, reversals of direction and the like are spelled out, as `\u001b`.
 * JSON stays the same JSON.
 */
export const visible = (text: string): string => text.replace(UNSEEN, spelled)

function spelled(sign: string): string {
  let text = ''
  for (let i = 0; i < sign.length; i++) text += `\\u${sign.charCodeAt(i).toString(16).padStart(4, '0')}`
  return text
}
