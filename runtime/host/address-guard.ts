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
   * a public address unless the port belongs to another service, anything else only when an entry opens it. What is
   * no IP address is refused.
   */
  allows(host: string, port: number, address: string): boolean
}

/** The only block of IPv6 that is handed out for the public internet; ipaddr calls everything unknown "unicast". */
const PUBLIC_IPV6 = ipaddr.IPv6.parseCIDR('2000::/3')

/**
 * Ports of services that are no web server, where an HTTP request could be read as something else: those that the
 * Fetch standard blocks, and databases, queues and orchestrators.
 */
const SERVICE_PORTS = new Set([
  ...[1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109],
  ...[110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 445, 465, 512, 513, 514, 515, 526],
  ...[530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045],
  ...[4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10_080],
  ...[873, 1433, 1521, 2181, 2375, 2376, 2379, 2380, 3306, 3389, 5432, 5671, 5672, 6379, 6380, 9042, 9092, 10_250],
  ...[11_211, 27_017, 33_060]
])

/** Whether a port belongs to a service that does not speak HTTP. */
export const isServicePort = (port: number): boolean => SERVICE_PORTS.has(port)

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
    if ((!isPublic(address) || isServicePort(port)) && !opened(address, port)) return false
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
