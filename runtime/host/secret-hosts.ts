import { RuntimeError } from '../errors.ts'
import { type Hop, labelOf } from './outgoing-request.ts'

/** A value of `env` that may be sent to some hosts only: names, or names with a port. */
export interface BoundValue {
  key: string
  value: string
  hosts: string[]
}

/** Shorter text is found everywhere. */
const MIN_LENGTH = 4

/**
 * Refuses requests that carry a bound value to a host that it was not granted for: in address, headers or body, as it
 * is, inside JSON, percent-encoded, in hexadecimal or Base64, also in the midst of other Base64. It keeps a value from
 * going astray by a wrong address or a redirect; a script that takes a value apart can still send it anywhere.
 * Throws HTTP_DENIED naming key and host.
 */
export function createSecretGuard(bound: BoundValue[]): (hop: Hop) => void {
  const watched = bound
    .filter(({ value }) => value.length >= MIN_LENGTH)
    .map(({ key, value, hosts }) => ({
      key,
      hosts: new Set(hosts.map(host => host.toLowerCase())),
      forms: formsOf(value)
    }))
  return hop => {
    const foreign = watched.filter(({ hosts }) => !hosts.has(hop.url.host) && !hosts.has(hop.url.hostname))
    if (foreign.length === 0) return
    const text = textOf(hop)
    const found = foreign.find(({ forms }) => forms.some(form => text.includes(form)))
    if (!found) return
    const remedy = `add the host to the hosts of ${found.key}, or leave the value out`
    throw new RuntimeError('HTTP_DENIED', `${labelOf(hop)}: env ${found.key} may not be sent to this host; ${remedy}`)
  }
}

/** Everything that leaves, also with percent signs and then plus signs undone; lower case, as host names are. */
function textOf({ url, headers, body }: Hop): string {
  const sent = `${url.href}\n${[...headers.values()].join('\n')}\n${body?.toString('utf8') ?? ''}`
  return [sent, percentDecoded(sent), percentDecoded(sent.replaceAll('+', ' '))].join('\n').toLowerCase()
}

const percentDecoded = (text: string): string =>
  text.replace(/(?:%[0-9a-f]{2})+/gi, escaped => Buffer.from(escaped.replaceAll('%', ''), 'hex').toString('utf8'))

function formsOf(value: string): string[] {
  const bytes = Buffer.from(value)
  const base64 = [0, 1, 2].map(shift => base64Within(bytes, shift))
  const urlSafe = base64.map(text => text.replaceAll('+', '-').replaceAll('/', '_'))
  const forms = [value, JSON.stringify(value).slice(1, -1), bytes.toString('hex'), ...base64, ...urlSafe]
  return [...new Set(forms.map(form => form.toLowerCase()))].filter(form => form.length >= MIN_LENGTH)
}

/** The characters that the bytes come to in the Base64 of a longer text, `shift` bytes (modulo three) from its start. */
function base64Within(bytes: Buffer, shift: number): string {
  const text = Buffer.concat([Buffer.alloc(shift), bytes]).toString('base64')
  return text.slice(Math.ceil((shift * 8) / 6), Math.floor(((shift + bytes.length) * 8) / 6))
}
