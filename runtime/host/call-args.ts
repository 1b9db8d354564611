import { RuntimeError } from '../errors.ts'

const isText = (value: unknown) => typeof value === 'string'
const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null
const isParam = (value: unknown) => value === null || ['string', 'number', 'boolean'].includes(typeof value)
const isParams = (value: unknown) => Array.isArray(value) && value.every(isParam)

/** Every call that a run may make of its host, and the form of its arguments. */
const FORMS: Record<string, (args: unknown[]) => boolean> = {
  'db.query': ([sql, params]) => isText(sql) && isParams(params),
  'db.change': ([sql, params]) => isText(sql) && isParams(params),
  'db.batch': ([sql, rows]) => isText(sql) && Array.isArray(rows) && rows.every(isParams),
  'db.begin': () => true,
  'db.keep': ([mark]) => Number.isInteger(mark),
  'db.undo': ([mark]) => Number.isInteger(mark),
  'http.send': ([request]) => isObject(request) && isObject(request.headers),
  'events.emit': ([, , options]) => isObject(options),
  'mq.publish': ([, , options]) => isObject(options),
  'lib.load': ([path]) => isText(path)
}

/**
 * The arguments of a host call. The facade sends them well formed; a script that has broken out of its realm may send
 * anything. Throws ARGUMENT_INVALID for a call that does not exist and for arguments of another form.
 */
export function parseArgs(method: string, json: string): unknown[] {
  const fits = Object.hasOwn(FORMS, method) ? FORMS[method] : undefined
  if (!fits) throw new RuntimeError('ARGUMENT_INVALID', 'The host has no such call.')
  const args = parse(json)
  if (Array.isArray(args) && fits(args)) return args
  throw new RuntimeError('ARGUMENT_INVALID', `${method}: the arguments have the wrong form.`)
}

function parse(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}
