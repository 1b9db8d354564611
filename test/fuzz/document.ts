import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'

/** A JSON Schema of the API's document, as far as the fuzz reads it. */
export interface Schema {
  $ref?: string
  type?: string | string[]
  enum?: unknown[]
  anyOf?: Schema[]
  properties?: Record<string, Schema>
  required?: string[]
  additionalProperties?: boolean | Schema
  items?: Schema
  minItems?: number
  maxItems?: number
  uniqueItems?: boolean
  minLength?: number
  maxLength?: number
  pattern?: string
  format?: string
  minimum?: number
  maximum?: number
  exclusiveMinimum?: number
}

interface Answer {
  content?: Record<string, { schema?: Schema }>
}

interface RawOperation {
  tags?: string[]
  security?: { bearer?: string[] }[]
  parameters?: { in: string; name: string; schema: Schema }[]
  requestBody?: { content: Record<string, { schema: Schema }> }
  responses: Record<string, Answer>
}

export interface ApiDocument {
  paths: Record<string, Record<string, RawOperation>>
}

/** One method at one address, as the document has it. */
export interface Operation {
  /** `POST /events` */
  name: string
  method: string
  /** `/admin/v1/hooks/{id}` */
  path: string
  /** Names and schemas of what the address and the query take. */
  params: Record<string, Schema>
  query: Record<string, Schema>
  body: Schema | null
  /** Scopes of which any lets in; null: no token is needed, or the hook that is called decides. */
  scopes: string[] | null
  /** Whether a script says what is answered. */
  scripted: boolean
  /** Whether the document has this status here. */
  declares: (status: number) => boolean
  /** What the document says against such an answer; null: nothing. */
  faultOf: (status: number, type: string, body: unknown) => string | null
}

/** Where a script says the status, these may be among them; HTTP knows them without a body. */
const BODILESS = [204, 205, 304]

/** The operations of an API's document, with validators of their answers. */
export function operationsOf(document: ApiDocument): Operation[] {
  const ajv = new Ajv2020({ strict: false, allErrors: false })
  addFormats.default(ajv)
  ajv.addSchema(document, 'api')
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, raw]) => operationOf(ajv, path, method, raw))
  )
}

function operationOf(ajv: Ajv2020, path: string, method: string, raw: RawOperation): Operation {
  const inside = (place: string) =>
    Object.fromEntries((raw.parameters ?? []).filter(given => given.in === place).map(p => [p.name, p.schema]))
  const keyOf = (status: number) => [String(status), `${String(status)[0]}XX`].find(key => key in raw.responses)
  const validators = new Map<string, ValidateFunction>()
  return {
    ...{ name: `${method.toUpperCase()} ${path}`, method: method.toUpperCase(), path },
    ...{
      params: inside('path'),
      query: inside('query'),
      body: Object.values(raw.requestBody?.content ?? {})[0]?.schema ?? null
    },
    scopes: scopesOf(raw),
    scripted: raw.security?.some(way => Object.keys(way).length === 0) === true && raw.tags?.[0] === 'Hooks',
    declares: status => keyOf(status) !== undefined,
    faultOf(status, type, body) {
      const key = keyOf(status) ?? ''
      const content = raw.responses[key]?.content
      if (type === '' && BODILESS.includes(status)) return null
      if (content === undefined) return type === '' ? null : `${status} is declared without a body`
      if (content[type]?.schema === undefined) return content[type] ? null : `${status} is not declared as ${type}`
      const pointer = ['paths', path, method, 'responses', key, 'content', type, 'schema'].map(escaped).join('/')
      const validate = validators.get(pointer) ?? ajv.compile({ $ref: `api#/${pointer}` })
      validators.set(pointer, validate)
      return validate(body) ? null : `the body breaks its schema: ${ajv.errorsText(validate.errors)}`
    }
  }
}

const escaped = (part: string): string => encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1'))

function scopesOf({ security = [{}] }: RawOperation): string[] | null {
  if (security.some(way => way.bearer === undefined)) return null
  return security.flatMap(way => way.bearer ?? [])
}

/** Which operation answers this request; null: none, or a path that is read differently by different eyes. */
export function operationAt(operations: Operation[], method: string, path: string): Operation | null {
  const asked = method === 'HEAD' ? 'GET' : method
  return operations.find(operation => operation.method === asked && fits(operation.path, path)) ?? null
}

function fits(pattern: string, path: string): boolean {
  const wanted = pattern.split('/')
  const given = path.split('/')
  if (wanted.at(-1) === '{*}') wanted.splice(-1, 1, ...given.slice(wanted.length - 1).map(() => '{}'))
  return wanted.length === given.length && wanted.every((part, i) => part === given[i] || /^\{.*\}$/.test(part))
}
