/** Addresses that scripts must not reach, and every way to write them that a URL knows. */

/** One of each block that is not the public internet, and the ends of those that are easily cut short. */
export const FORBIDDEN_IPV4 = [
  ...['127.0.0.1', '127.0.0.2', '127.255.255.254', '0.0.0.0', '0.1.2.3', '10.0.0.1', '10.255.255.254'],
  ...['172.16.0.1', '172.31.255.255', '192.168.0.1', '192.168.1.1', '192.168.255.254', '169.254.0.1'],
  ...['169.254.169.254', '169.254.170.2', '100.64.0.1', '100.100.100.200', '100.127.255.255', '192.0.0.1'],
  ...['192.0.0.192', '192.0.2.1', '198.18.0.1', '198.19.255.255', '198.51.100.1', '203.0.113.1', '192.88.99.1'],
  ...['224.0.0.1', '239.255.255.255', '240.0.0.1', '255.255.255.255', '168.63.129.16']
]

export const FORBIDDEN_IPV6 = [
  ...['::', '::1', '0:0:0:0:0:0:0:1', '::2', 'fe80::1', 'febf::1', 'fec0::1', 'fc00::1', 'fd00:ec2::254', 'fdff::1'],
  ...['ff02::1', 'ff05::2', 'ff0e::1', '2001:db8::1', '3fff::1', '100::1', '2001:2::1', '2001:10::1', '2001:20::1'],
  ...['5f00::1', '4000::1', '8000::1', 'fd20:ce::254']
]

const bytesOf = (address: string): number[] => address.split('.').map(Number)
const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0')

/** Hosts of URLs that all mean this IPv4 address, or an IPv6 address behind which it lies. */
export function formsOf(address: string): string[] {
  const [a = 0, b = 0, c = 0, d = 0] = bytesOf(address)
  const whole = ((a * 256 + b) * 256 + c) * 256 + d
  const [high, low] = [hex(a * 256 + b, 4), hex(c * 256 + d, 4)]
  const fullWidth = (text: string, first: number) =>
    [...text].map(digit => (digit === '.' ? '。' : String.fromCodePoint(first + Number(digit)))).join('')
  return [
    ...[address, `${address}.`, String(whole), `0x${hex(whole, 8)}`, `0X${hex(whole, 8).toUpperCase()}`],
    ...[`0${whole.toString(8)}`, [a, b, c, d].map(byte => `0${byte.toString(8)}`).join('.')],
    ...[[a, b, c, d].map(byte => `0x${byte.toString(16)}`).join('.'), `${a}.${(b * 256 + c) * 256 + d}`],
    ...[
      `${a}.${b}.${c * 256 + d}`,
      `0x${hex(a, 2)}.${b}.0${c.toString(8)}.${d}`,
      `0000${a.toString(8)}.${b}.${c}.${d}`
    ],
    ...[fullWidth(address, 0xff10), address.replaceAll('.', '｡'), address.replaceAll('.', '%2E')],
    ...[[...address].map(char => `%${hex(char.charCodeAt(0), 2)}`).join('')],
    ...[`[::ffff:${address}]`, `[::ffff:${high}:${low}]`, `[0:0:0:0:0:ffff:${high}:${low}]`, `[::${address}]`],
    ...[`[::${high}:${low}]`, `[::ffff:0:${high}:${low}]`, `[64:ff9b::${high}:${low}]`, `[64:ff9b::${address}]`],
    ...[`[64:ff9b:1::${high}:${low}]`, `[2002:${high}:${low}::]`, `[2002:${high}:${low}::1]`],
    `[2001:0:4136:e378:8000:63bf:${hex(0xffff - (a * 256 + b), 4)}:${hex(0xffff - (c * 256 + d), 4)}]`
  ]
}

/** Names that only a resolver can see through, and what each answers. */
export const LYING_NAMES: Record<string, string[]> = {
  localhost: ['127.0.0.1', '::1'],
  'localhost.localdomain': ['127.0.0.1'],
  'ip6-localhost': ['::1'],
  'cname-to-localhost.test': ['127.0.0.1'],
  'mixed.test': ['93.184.215.14', '10.0.0.5'],
  'mixed-six.test': ['2606:2800:21f:cb07:6820:80da:af6b:8b2c', 'fd00::1'],
  'metadata.google.internal': ['169.254.169.254'],
  metadata: ['169.254.169.254'],
  '169.254.169.254.nip.io': ['169.254.169.254'],
  '127.0.0.1.nip.io': ['127.0.0.1'],
  '7f000001.nip.io': ['127.0.0.1'],
  'spoofed.burpcollaborator.test': ['192.168.0.1'],
  'six-to-four.test': ['2002:7f00:1::'],
  'nat64.test': ['64:ff9b::a9fe:a9fe'],
  'mapped.test': ['::ffff:127.0.0.1'],
  'compatible.test': ['::127.0.0.1'],
  'zone.test': ['fe80::1%lo'],
  'nothing.test': ['not an address'],
  'kubernetes.default.svc': ['10.96.0.1'],
  'host.docker.internal': ['192.168.65.2']
}
