import fc, { type Arbitrary } from 'fast-check'
import type { Json } from '../../runtime/model.ts'
import { hostile, type Own, text } from './values.ts'

/** Stands for the mark of the merchant who sends it. */
export const MARK = '~mark~'
/** Stands for a value that nobody has used before. */
export const HIDDEN = '~hidden~'

const SCRIPTS = [
  ...['return 1', 'return payload', `log.info('{} ${MARK}', payload); return '${MARK}'`, 'return { success: false }'],
  ...[
    'return { success: false, retry: false }',
    `throw new Error('${MARK}')`,
    "return env.get('HIDDEN')",
    'nonsense here('
  ],
  ...["log.warn('got ' + env.get('HIDDEN')); throw new Error(env.get('HIDDEN'))", 'const x: number = 1; return x', ''],
  ...[
    "return db.selectOne('SELECT 1 AS one')",
    "db.select('SELEC')",
    'return response.status(204)',
    'return undefined'
  ],
  ...[
    "response.status(418); response.setHeader('x-a', 'b'); return response.json({ a: 1 })",
    "exit(404, 'none')",
    'exit(7)'
  ],
  ...[
    "response.setHeader('content-length', '1'); response.setHeader('x\\r\\ny', 'z'); return [1]",
    'return 10n',
    'return NaN'
  ],
  ...[
    'response.status(100); return 1',
    'response.status(999); return 1',
    'response.status(304); return 1',
    'return "\\ud800\\0"'
  ],
  ...["return http.get('http://169.254.169.254/')", "return require('/lib/none')", 'return param', 'return body'],
  ...[
    '"use strict"; return this',
    'return new Map([[1,2]])',
    'const a = {}; a.a = a; return a',
    '}); (() => {',
    '\u2028return 1'
  ]
]

const marked = text.map(value => `${MARK}${value}`)
const names = fc.constantFrom('FUZZ_ONE', 'FUZZ_TWO', 'ORDER_PAY_SUCCESS', 'ORDER_SHIPPED', 'HTTP_CALL')
const merchant: Arbitrary<Json> = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom(101, 'shop-b') },
  { weight: 1, arbitrary: fc.constantFrom('101', null, 0, 999, 'SHOP-B', 'shop-b ', '00101', -1, 2 ** 53) }
)
const segments = fc.array(fc.oneof(fc.stringMatching(/^[a-z0-9_.-]{1,6}$/), fc.constantFrom('fuzz', '{id}', 'a')), {
  minLength: 1,
  maxLength: 3
})

/** What a schema can't say, and what keeps a run from growing without bounds. */
export const OWN: Own = {
  script: fc.constantFrom(...SCRIPTS),
  path: fc.oneof(
    { weight: 5, arbitrary: segments.map(parts => `/custom/${parts.join('/')}`) },
    { weight: 1, arbitrary: segments.map(parts => `/lib/${parts.join('/')}`) },
    { weight: 1, arbitrary: text }
  ),
  events: fc.array(fc.oneof(names, fc.constantFrom('FUZZ_*', 'FUZZ_TW*', 'nothing')), { maxLength: 2 }),
  eventKey: fc.oneof({ weight: 4, arbitrary: names }, { weight: 1, arbitrary: text }),
  type: names,
  retry: fc.record({ attempts: fc.constantFrom(1, 2), delaysMs: fc.constant<Json>([10]) }),
  limits: fc.record(
    {
      cpuMs: fc.constant(50),
      wallMs: fc.constantFrom(300, 2_000),
      memoryMb: fc.constantFrom(8, 16, 16, 32, 4096),
      concurrency: fc.constantFrom(1, 4)
    },
    { requiredKeys: ['cpuMs', 'wallMs'] }
  ),
  merId: merchant,
  merid: merchant,
  name: marked.map(value => value.slice(0, 100)),
  description: marked,
  payload: fc.oneof({ weight: 3, arbitrary: marked }, { weight: 1, arbitrary: hostile }),
  data: fc.oneof({ weight: 3, arbitrary: marked }, { weight: 1, arbitrary: hostile }),
  value: fc.oneof(fc.constant(`${HIDDEN}x`), marked),
  env: fc.oneof({ weight: 5, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: fc.constant<Json>(['HIDDEN']) }),
  public: fc.oneof({ weight: 5, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
  limit: fc.constantFrom(1, 20),
  body: fc.oneof(marked, hostile)
}
