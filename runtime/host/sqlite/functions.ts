import type Database from 'better-sqlite3'
import { DATES } from './date-functions.ts'
import { NUMBERS } from './numbers.ts'
import { TEXT } from './text.ts'
import { type Implementation, stored, text, type Value } from './values.ts'

/**
 * Teaches a connection MySQL's functions, LIKE and REGEXP; those that SQLite has alike (COALESCE, ROUND, SUBSTR, JSON_SET
 * …) are left to it. As in MySQL, null in gives null out, CONCAT included.
 */
export function registerFunctions(connection: Database.Database): void {
  const register = (functions: Record<string, Implementation>, wantsNull: boolean) => {
    for (const [name, act] of Object.entries(functions))
      connection.function(name, { varargs: true, safeIntegers: true }, (...values: Value[]) =>
        !wantsNull && values.includes(null) ? null : stored(act(...values))
      )
  }
  register({ ...TEXT, ...NUMBERS, ...DATES }, false)
  register(NULL_AWARE, true)
}

const NULL_AWARE: Record<string, Implementation> = {
  concat_ws: (separator, ...values) =>
    separator === null
      ? null
      : values
          .filter(value => value !== null)
          .map(text)
          .join(text(separator)),
  elt: (index, ...values) => values[Number(index) - 1] ?? null,
  field: (value, ...list) =>
    value === null ? 0 : list.findIndex(item => item !== null && text(item) === text(value)) + 1,
  mysql_isnull: value => value === null,
  json_length: value => (value === null ? null : lengthOf(JSON.parse(text(value)))),
  json_unquote: value =>
    value !== null && /^".*"$/s.test(text(value)) ? String(JSON.parse(text(value))) : (value ?? null),
  mysql_join: (list, separator) => {
    const values = (JSON.parse(text(list)) as unknown[]).filter(value => value !== null)
    return values.length === 0 ? null : values.join(text(separator))
  }
}

function lengthOf(json: unknown): number {
  return typeof json === 'object' && json !== null ? Object.keys(json).length : 1
}
