import { Ajv, type Options, type ValidateFunction } from 'ajv'
import addFormats from 'ajv-formats'
import type { FastifySchemaCompiler, FastifyServerOptions } from 'fastify'
import type { TSchema } from 'typebox'

type BuildValidator = NonNullable<
  NonNullable<NonNullable<FastifyServerOptions['schemaController']>['compilersFactory']>['buildValidator']
>

/**
 * Makes the validator of requests: unknown fields and wrong types are refused, never dropped or bent; only what
 * stands in the address, and is text by nature, is turned into numbers and booleans. A body is first validated up to
 * its first error, and looked through for all of them only when it is small: a large one could have millions.
 */
export const buildValidator = ((shared: Record<string, object>) => {
  const quick = makeAjv({ allErrors: false }, shared)
  const thorough = makeAjv({ allErrors: true }, shared)
  const ofAddress = makeAjv({ allErrors: true, coerceTypes: true }, shared)
  const compile: FastifySchemaCompiler<TSchema> = ({ schema, httpPart }) =>
    httpPart === 'body' ? inTwoSteps(quick.compile(schema), thorough.compile(schema)) : ofAddress.compile(schema)
  return compile
}) as unknown as BuildValidator

function makeAjv(options: Options, shared: Record<string, object>): Ajv {
  const ajv = new Ajv({ ...options, removeAdditional: false, useDefaults: true, allowUnionTypes: true })
  addFormats.default(ajv)
  for (const schema of Object.values(shared)) ajv.addSchema(schema)
  return ajv
}

function inTwoSteps(quick: ValidateFunction, thorough: ValidateFunction) {
  const validate = (data: unknown): boolean => {
    if (quick(data)) return true
    const step = isSmall(data) ? thorough : quick
    step(data)
    validate.errors = step.errors
    return false
  }
  validate.errors = null as ValidateFunction['errors']
  return validate
}

/** Members and elements, all in all, of what counts as small. */
const SMALL = 500

function isSmall(data: unknown): boolean {
  const open = [data]
  for (let seen = 0; open.length > 0; seen++) {
    const value = open.pop()
    const members = typeof value === 'object' && value !== null ? Object.values(value) : []
    if (seen + open.length + members.length > SMALL) return false
    open.push(...members)
  }
  return true
}

interface SchemaError {
  keyword: string
  instancePath: string
  schemaPath: string
  params: Record<string, unknown>
  message?: string | undefined
}

/** A body can be wrong in as many places as it has bytes; nobody reads more than these. */
const MAX_FIELDS = 50

/** What a validator found, field by field: JSON pointer and message. Of a union, only the alternative that was meant. */
export function wrongFields(errors: SchemaError[]): { path: string; message: string }[] {
  const fields = meant(errors).map(error => ({ path: pathOf(error), message: messageOf(error) }))
  return fields
    .filter((field, i) => fields.findIndex(other => other.path === field.path && other.message === field.message) === i)
    .slice(0, MAX_FIELDS)
}

/** For each union that nothing fits, drops the errors of all alternatives but the one that fails least. */
function meant(errors: SchemaError[]): SchemaError[] {
  const unions = errors.filter(({ keyword }) => keyword === 'anyOf')
  const outer = unions.filter(union => !unions.some(other => within(union, other)))
  const loose = errors.filter(error => !outer.some(union => union === error || within(error, union)))
  return [
    ...loose,
    ...outer.flatMap(union =>
      explained(
        union,
        errors.filter(error => within(error, union))
      )
    )
  ]
}

function explained(union: SchemaError, inside: SchemaError[]): SchemaError[] {
  const groups = Object.values(Object.groupBy(inside, error => alternativeOf(error, union)))
  const alternatives = groups.map(group => meant(group ?? []))
  const misfits = alternatives.flat().filter(error => isMisfit(error, union))
  if (alternatives.every(found => found.some(error => misfits.includes(error)))) return [ofTypes(union, misfits)]
  const cost = (found: SchemaError[]) => found.length + (found.some(error => misfits.includes(error)) ? 1e6 : 0)
  return alternatives.reduce((best, found) => (cost(found) < cost(best) ? found : best))
}

const within = ({ schemaPath, instancePath }: SchemaError, union: SchemaError): boolean =>
  schemaPath.startsWith(`${union.schemaPath}/`) && `${instancePath}/`.startsWith(`${union.instancePath}/`)

const alternativeOf = (error: SchemaError, union: SchemaError): string =>
  error.schemaPath.slice(union.schemaPath.length + 1).split('/')[0] ?? ''

/** The value is of another type altogether than this alternative. */
const isMisfit = ({ keyword, instancePath }: SchemaError, union: SchemaError): boolean =>
  keyword === 'type' && instancePath === union.instancePath

/** No alternative takes a value of this type: one error that names all types that are taken. */
function ofTypes(union: SchemaError, misfits: SchemaError[]): SchemaError {
  const type = [...new Set(misfits.flatMap(({ params }) => params.type as string | string[]))]
  return { ...union, keyword: 'type', params: { type }, message: `must be ${type.join(' or ')}` }
}

function pathOf({ instancePath, params }: SchemaError): string {
  const member = params.missingProperty ?? params.additionalProperty
  return member === undefined
    ? instancePath
    : `${instancePath}/${String(member).replace(/~/g, '~0').replace(/\//g, '~1')}`
}

function messageOf({ keyword, params, message }: SchemaError): string {
  if (keyword === 'required') return 'is missing'
  if (keyword === 'additionalProperties') return 'is no known field'
  if (keyword === 'enum') return `must be one of ${(params.allowedValues as unknown[]).join(', ')}`
  return message ?? 'is not valid'
}
