import { describe, expect, test } from 'vitest'
import { createAddressGuard, parseAllowEntry } from '../../runtime/host/address-guard.ts'

const PUBLIC = [
  '1.1.1.1',
  '8.8.8.8',
  '9.255.255.255',
  '11.0.0.0',
  '93.184.216.34',
  '100.63.255.255',
  '100.128.0.0',
  '126.255.255.255',
  '128.0.0.1',
  '168.63.129.15',
  '169.253.255.255',
  '169.255.0.0',
  '172.15.255.255',
  '172.32.0.0',
  '192.167.255.255',
  '192.169.0.0',
  '198.17.255.255',
  '198.20.0.0',
  '223.255.255.255',
  '2400:3200::1',
  '2606:4700:4700::1111',
  '2a00:1450:4001:82a::200e'
]

const NOT_PUBLIC: [string, string][] = [
  ['0.0.0.0', 'this host'],
  ['0.1.2.3', 'this network'],
  ['10.0.0.1', 'private'],
  ['10.255.255.255', 'private, last'],
  ['100.64.0.1', 'carrier-grade NAT'],
  ['100.100.100.200', 'Alibaba metadata'],
  ['100.127.255.255', 'carrier-grade NAT, last'],
  ['127.0.0.1', 'loopback'],
  ['127.1.2.3', 'loopback, elsewhere'],
  ['127.255.255.254', 'loopback, last'],
  ['168.63.129.16', 'Azure metadata'],
  ['169.254.0.1', 'link-local'],
  ['169.254.169.254', 'metadata'],
  ['169.254.170.2', 'container credentials'],
  ['172.16.0.1', 'private'],
  ['172.31.255.255', 'private, last'],
  ['192.0.0.1', 'protocol assignments'],
  ['192.0.0.192', 'Oracle metadata'],
  ['192.0.2.1', 'documentation'],
  ['192.88.99.1', '6to4 relay'],
  ['192.168.0.1', 'private'],
  ['192.168.255.255', 'private, last'],
  ['198.18.0.1', 'benchmarking'],
  ['198.19.255.255', 'benchmarking, last'],
  ['198.51.100.7', 'documentation'],
  ['203.0.113.7', 'documentation'],
  ['224.0.0.1', 'multicast'],
  ['239.255.255.250', 'multicast'],
  ['240.0.0.1', 'reserved'],
  ['255.255.255.255', 'broadcast'],
  ['::', 'unspecified'],
  ['::1', 'loopback'],
  ['::2', 'never handed out'],
  ['::127.0.0.1', 'IPv4-compatible'],
  ['::8.8.8.8', 'IPv4-compatible, public inside'],
  ['::ffff:0:0', 'mapped 0.0.0.0'],
  ['::ffff:127.0.0.1', 'mapped loopback'],
  ['::ffff:7f00:1', 'mapped loopback in hex'],
  ['::ffff:169.254.169.254', 'mapped metadata'],
  ['::ffff:8.8.8.8', 'mapped, public inside'],
  ['::ffff:0:127.0.0.1', 'translated loopback'],
  ['64:ff9b::a9fe:a9fe', 'NAT64 metadata'],
  ['64:ff9b::8.8.8.8', 'NAT64, public inside'],
  ['64:ff9b:1::7f00:1', 'local NAT64'],
  ['100::1', 'discard'],
  ['2001::1', 'Teredo'],
  ['2001:0:5ef5:79fb:0:0:80ff:fffe', 'Teredo to loopback'],
  ['2001:2::1', 'benchmarking'],
  ['2001:20::1', 'ORCHID'],
  ['2001:db8::1', 'documentation'],
  ['2002:7f00:1::', '6to4 loopback'],
  ['2002:0808:0808::1', '6to4, public inside'],
  ['3fff::1', 'documentation'],
  ['4000::1', 'never handed out'],
  ['5f00::1', 'segment routing'],
  ['fc00::1', 'unique local'],
  ['fd00:ec2::254', 'AWS metadata'],
  ['fe80::1', 'link-local'],
  ['fe80::1%eth0', 'link-local with a zone'],
  ['fec0::1', 'site-local'],
  ['ff02::1', 'multicast'],
  ['', 'nothing'],
  ['localhost', 'a name'],
  ['2130706433', 'decimal'],
  ['0x7f000001', 'hexadecimal'],
  ['0177.0.0.1', 'octal'],
  ['127.1', 'short'],
  ['[::1]', 'in brackets']
]

/** Entry, host, port, address, whether that may be reached. */
const OPENED: [string, string, number, string, boolean][] = [
  ['127.0.0.1:18081', 'anything.example', 18081, '127.0.0.1', true],
  ['127.0.0.1:18081', '127.0.0.1', 18082, '127.0.0.1', false],
  ['127.0.0.1:18081', '127.0.0.1', 18081, '127.0.0.2', false],
  ['127.0.0.1:18081', '[::ffff:127.0.0.1]', 18081, '::ffff:7f00:1', false],
  ['127.0.0.1', '127.0.0.1', 3306, '127.0.0.1', true],
  ['10.0.0.0/8', 'erp.example', 80, '10.255.0.1', true],
  ['10.0.0.0/8', 'erp.example', 80, '11.0.0.1', true],
  ['10.0.0.0/8', 'erp.example', 80, '172.16.0.1', false],
  ['10.0.0.0/8', 'erp.example', 80, '::ffff:10.0.0.1', false],
  ['fd00::/8', 'erp.example', 80, 'fd12::1', true],
  ['fd00::/8', 'erp.example', 80, 'fc00::1', false],
  ['[::1]:8080', '::1', 8080, '::1', true],
  ['[::1]:8080', '::1', 8081, '::1', false],
  ['::1', '::1', 8081, '::1', true],
  ['erp.internal', 'erp.internal', 9, '10.1.1.1', true],
  ['erp.internal', 'ERP.internal.', 9, '10.1.1.1', true],
  ['erp.internal', 'x.erp.internal', 9, '10.1.1.1', false],
  ['erp.internal', 'other.internal', 9, '10.1.1.1', false],
  ['erp.internal', 'erp.internal', 9, 'not an address', false],
  ['erp.internal:8443', 'erp.internal', 8443, '10.1.1.1', true],
  ['erp.internal:8443', 'erp.internal', 443, '10.1.1.1', false],
  ['bücher.internal', 'xn--bcher-kva.internal', 80, '10.1.1.1', true],
  ['64:ff9b::/96', 'shop.example', 80, '64:ff9b::8.8.8.8', true],
  ['64:ff9b::/96', 'shop.example', 80, '64:ff9b::a9fe:a9fe', false],
  ['2002::/16', 'shop.example', 80, '2002:7f00:1::', false],
  ['2001::/32', 'shop.example', 80, '2001:0:5ef5:79fb:0:0:80ff:fffe', false],
  ['::/0', 'shop.example', 80, '::ffff:127.0.0.1', false]
]

describe('without allow entries', () => {
  const guard = createAddressGuard([])
  test.each(PUBLIC)('%s may be reached', address => {
    expect(guard.allows('shop.example.com', 443, address)).toBe(true)
  })
  test.each(NOT_PUBLIC)('%s (%s) is refused', address => {
    expect(guard.allows('shop.example.com', 443, address)).toBe(false)
  })
})

describe('allow entries', () => {
  test.each(OPENED)('%s: %s port %i at %s → %s', (entry, host, port, address, expected) => {
    expect(createAddressGuard([entry]).allows(host, port, address)).toBe(expected)
  })

  test('the inner address of an opened NAT64 block may be opened as well', () => {
    const guard = createAddressGuard(['64:ff9b::/96', '10.0.0.0/8'])
    expect(guard.allows('erp.example', 80, '64:ff9b::10.0.0.1')).toBe(true)
  })

  test.each([
    '',
    ':80',
    '*',
    '*.internal',
    'erp.internal:0',
    'erp.internal:65536',
    'erp.internal:http',
    'http://erp.internal',
    'user@erp.internal',
    '10.0.0.0/33',
    '10.0.0.0/',
    '10/8',
    '10.0.0.0/8:80',
    'fd00::/129',
    'erp.internal/24',
    '300.1.1.1',
    '0x7f000001',
    '127.1:80',
    '[127.0.0.1]:80',
    '[::1',
    '[::1]x',
    'fe80::1%eth0/64',
    'a b'
  ])('"%s" is refused with a sentence that quotes it', text => {
    expect(() => parseAllowEntry(text)).toThrow(`"${text}" `)
    expect(() => parseAllowEntry(text)).toThrow(/; write 127\.0\.0\.1:18081/)
  })

  test('surrounding blanks do not matter', () => {
    expect(parseAllowEntry(' erp.internal:8443 ')).toEqual({ name: 'erp.internal', port: 8443 })
  })
})

describe('ports', () => {
  const guard = createAddressGuard(['redis.internal', 'queue.internal:5672', '10.0.0.7', '8.8.4.4:22'])

  test.each([22, 25, 3306, 5432, 6379, 11_211, 27_017])(
    '%i belongs to another service, on public addresses too',
    port => {
      expect(guard.allows('shop.example', port, '8.8.8.8')).toBe(false)
      expect(guard.allows('shop.example', port, '2606:4700:4700::1111')).toBe(false)
    }
  )

  test.each([80, 443, 3000, 8000, 8080, 8443, 9000, 18_081, 65_535])('%i is open', port => {
    expect(guard.allows('shop.example', port, '8.8.8.8')).toBe(true)
  })

  test('of other services are opened by an entry', () => {
    expect(guard.allows('redis.internal', 6379, '10.1.1.1')).toBe(true)
    expect(guard.allows('queue.internal', 5672, '10.1.1.1')).toBe(true)
    expect(guard.allows('10.0.0.7', 3306, '10.0.0.7')).toBe(true)
    expect(guard.allows('8.8.4.4', 22, '8.8.4.4')).toBe(true)
    expect(guard.allows('8.8.4.4', 25, '8.8.4.4')).toBe(false)
  })
})
