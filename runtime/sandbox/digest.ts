import { createHash, createHmac, randomBytes, randomUUID } from 'node:crypto'

type Encoding = 'hex' | 'base64' | 'base64url'
const ENCODINGS = ['hex', 'base64', 'base64url']

const OPERATIONS = {
  hash: (algorithm: string, text: string, encoding: string) =>
    createHash(algorithm).update(text, 'utf8').digest(encodingOf(encoding)),
  hmac: (algorithm: string, key: string, text: string, encoding: string, keyEncoding: string) =>
    createHmac(algorithm, Buffer.from(key, keyEncoding === 'utf8' ? 'utf8' : encodingOf(keyEncoding)))
      .update(text, 'utf8')
      .digest(encodingOf(encoding)),
  base64Encode: (text: string) => Buffer.from(text, 'utf8').toString('base64'),
  base64Decode: (text: string) => Buffer.from(text, 'base64').toString('utf8'),
  uuid: () => randomUUID(),
  randomHex(size: number) {
    if (!Number.isInteger(size) || size < 1 || size > 1024)
      throw new RangeError(`crypto.randomHex(${size}): give a number of bytes from 1 to 1024.`)
    return randomBytes(size).toString('hex')
  }
} as Record<string, (...args: never[]) => string>

/** What `crypto` in scripts computes: pure functions of their arguments, answered as JSON; never throws. */
export function digest(operation: string, argsJson: string): string {
  try {
    const args = JSON.parse(argsJson) as never[]
    return JSON.stringify({ value: OPERATIONS[operation]?.(...args) })
  } catch (error) {
    const { message } = error as Error
    return JSON.stringify({ error: { code: 'ARGUMENT_INVALID', name: 'TypeError', message } })
  }
}

function encodingOf(encoding: string): Encoding {
  if (ENCODINGS.includes(encoding)) return encoding as Encoding
  throw new RangeError(`crypto: unknown encoding "${encoding}"; use hex, base64 or base64url.`)
}
