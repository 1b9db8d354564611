import { isIP } from 'node:net'
import ipaddr from 'ipaddr.js'

type Address = ipaddr.IPv4 | ipaddr.IPv6
type Network = [Address, number]

/** One entry of `SANDHOOK_HTTP_ALLOW`: a name or a network, on one port or (null) on every port. */
export type AllowEntry = { name: string; port: number | null } | { network: Network; port: number | null }

/** Decides which addresses scripts may reach. */
export interface AddressGuard {
  /**
   * Whether a connection to `address` (an IP address as text), which `host` resolved to or is, may be made on `port`:
   * public addresses always, all others only when an entry opens them. Anything that is no IP address is refused.
   */
  allows(host: string, port: number, address: string): boolean
}

/** The only block of IPv6 that is handed out for the public internet; ipaddr calls everything unknown "unicast". */
const PUBLIC_IPV6 = ipaddr.IPv6.parseCIDR('2000::/3')

/** Looks public, but is the cloud's own service for each machine (Azure: certificates, goal state). */
const HIDDEN_METADATA = ipaddr.IPv4.parseCIDR('168.63.129.16/32')

/** IPv6 forms that end at an IPv4 address: where its bytes start, and what they are XORed with. */
const EMBEDDINGS = [
  { prefix: ipaddr.IPv6.parseCIDR('::ffff:0:0/96'), offset: 12, mask: 0 },
  { prefix: ipaddr.IPv6.parseCIDR('::ffff:0:0:0/96'), offset: 12, mask: 0 },
  { prefix: ipaddr.IPv6.parseCIDR('64:ff9b::/96'), offset: 12, mask: 0 },
  { prefix: ipaddr.IPv6.parseCIDR('64:ff9b:1::/48'), offset: 12, mask: 0 },
  { prefix: ipaddr.IPv6.parseCIDR('2002::/16'), offset: 2, mask: 0 },
  { prefix: ipaddr.IPv6.parseCIDR('2001::/32'), offset: 12, mask: 0xff }
]

/** A guard that opens what `allow` lists beside the public internet. Throws as `parseAllowEntry` does. */
export function createAddressGuard(allow: string[]): AddressGuard {
  const entries = allow.map(parseAllowEntry)

  const opened = (address: Address, port: number): boolean =>
    entries.some(entry => 'network' in entry && onPort(entry, port) && within(address, entry.network))

  // An opened NAT64 or mapped block must not open the private IPv4 networks behind it, so the inner address counts too.
  const reachable = (address: Address, port: number): boolean => {
    if (!isPublic(address) && !opened(address, port)) return false
    const inner = embeddedIn(address)
    return inner === null || reachable(inner, port)
  }

  return {
    allows(host, port, address) {
      if (isIP(address) === 0) return false
      const name = canonicalName(host)
      if (entries.some(entry => 'name' in entry && onPort(entry, port) && entry.name === name)) return true
      return reachable(ipaddr.parse(address), port)
    }
  }
}

/**
 * Reads one allow entry: `10.0.0.0/8`, `fd00::/8`, `127.0.0.1`, `127.0.0.1:18081`, `[::1]:8080`, `erp.internal`,
 * `erp.internal:8443`. A name opens whatever it resolves to. Throws an Error whose sentence says what is wrong.
 */
export function parseAllowEntry(text: string): AllowEntry {
  const entry = text.trim()
  const malformed = (why: string): Error =>
    new Error(`"${entry}" ${why}; write 127.0.0.1:18081, [::1]:8080, 10.0.0.0/8, erp.internal or erp.internal:8443`)
  const networkOf = (cidr: string): Network => {
    if (isIP(cidr.slice(0, cidr.indexOf('/'))) === 0 || cidr.includes('%'))
      throw malformed('does not start with an IP address')
    if (!ipaddr.isValidCIDR(cidr)) throw malformed('has a prefix length that does not fit its address')
    return ipaddr.parseCIDR(cidr)
  }

  if (entry.includes('/')) return { network: networkOf(entry), port: null }
  if (isIP(entry) === 6) return { network: networkOf(`${entry}/128`), port: null }

  const [, bracketed, plain = '', digits] = /^(?:\[([^\]]*)\]|([^:[\]]+))(?::(\d+))?$/.exec(entry) ?? []
  const port = digits === undefined ? null : Number(digits)
  if (port !== null && (port < 1 || port > 65_535)) throw malformed('has a port outside 1 to 65535')
  if (bracketed !== undefined) {
    if (isIP(bracketed) !== 6) throw malformed('has no IPv6 address in its brackets')
    return { network: networkOf(`${bracketed}/128`), port }
  }
  if (isIP(plain) === 4) return { network: networkOf(`${plain}/32`), port }

  const name = urlHostOf(plain)
  // A name that ends in a number would be read as an IPv4 address in a strange spelling.
  if (!name || isIP(name) !== 0)
    throw malformed('is neither an address, a network nor a host name (wildcards are unknown)')
  return { name: canonicalName(name), port }
}

/** A host name as URLs spell it (punycode, lower case), or undefined. */
function urlHostOf(name: string): string | undefined {
  return /^[^\s/?#@\\*%]+$/.test(name) ? URL.parse(`http://${name}`)?.hostname : undefined
}

const canonicalName = (host: string): string => host.toLowerCase().replace(/\.$/, '')

const onPort = (entry: AllowEntry, port: number): boolean => entry.port === null || entry.port === port

const within = (address: Address, network: Network): boolean =>
  address.kind() === network[0].kind() && address.match(network)

function isPublic(address: Address): boolean {
  if (address.range() !== 'unicast') return false
  return address.kind() === 'ipv4' ? !within(address, HIDDEN_METADATA) : within(address, PUBLIC_IPV6)
}

function embeddedIn(address: Address): ipaddr.IPv4 | null {
  const form = EMBEDDINGS.find(({ prefix }) => within(address, prefix))
  if (!form) return null
  const bytes = address.toByteArray().slice(form.offset, form.offset + 4)
  return new ipaddr.IPv4(bytes.map(byte => byte ^ form.mask))
}
