import { RuntimeError } from '../errors.ts'
import type { Cell, Param, ResultBounds, Row } from './shop.ts'
import type { Statement } from './sql/statement.ts'

/** Size of one row, in bytes of JSON: more never crosses to a script, whatever the bounds of the whole result. */
const WIDEST_ROW = 4 * 1024 * 1024

/** Gathers a result's rows, one by one; `add` throws HOOK_DB_LIMIT at the first row that is past the bounds. */
export interface RowCollector {
  readonly rows: Row[]
  add: (cells: Cell[]) => void
}

/**
 * A collector for rows with these column names; of columns with the same name the last one counts. Sizes are those of
 * the rows as JSON, in UTF-8, except that escapes count as one byte.
 */
export function collectRows(names: string[], bounds: ResultBounds): RowCollector {
  const rows: Row[] = []
  const frame = names.reduce((sum, name) => sum + Buffer.byteLength(name) + 4, 2)
  let total = 0
  return {
    rows,
    add: cells => {
      if (rows.length === bounds.rows)
        throw tooMuch(`has more than ${bounds.rows} rows: add a LIMIT, or read it page by page`)
      let size = frame
      for (const cell of cells) size += sizeOf(cell)
      if (size > WIDEST_ROW)
        throw tooMuch(`has a row of ${megabytes(size)}, and ${megabytes(WIDEST_ROW)} is the limit: ${FEWER}`)
      total += size
      if (total > bounds.bytes)
        throw tooMuch(`is larger than ${megabytes(bounds.bytes)} after ${rows.length} rows: add a LIMIT, or ${FEWER}`)
      const row: Row = {}
      for (let at = 0; at < names.length; at++) row[names[at] as string] = cells[at] as Cell
      rows.push(row)
    }
  }
}

const FEWER = 'select only the columns that you need'

const tooMuch = (problem: string): RuntimeError => new RuntimeError('HOOK_DB_LIMIT', `The result ${problem}`)

const megabytes = (bytes: number): string =>
  bytes < 100_000 ? `${bytes} bytes` : `${Number((bytes / 1024 / 1024).toFixed(1))} MB`

function sizeOf(cell: Cell): number {
  if (typeof cell === 'string') return Buffer.byteLength(cell) + 2
  return typeof cell === 'number' ? String(cell).length : 5
}

/** Throws ARGUMENT_INVALID unless there is exactly one value for each `?`. */
export function checkParams(statement: Statement, params: Param[]): void {
  if (params.length === statement.placeholders) return
  const has = `has ${statement.placeholders} placeholder${statement.placeholders === 1 ? '' : 's'} (?)`
  throw new RuntimeError('ARGUMENT_INVALID', `The statement ${has} but got ${params.length} values: give one for each`)
}

/** What a statement fails with when its run ended before it did, or the runtime's own patience (`AbortSignal.timeout`). */
export const stopped = ({ reason }: AbortSignal): RuntimeError =>
  (reason as Error).name === 'TimeoutError'
    ? new RuntimeError('DB_UNAVAILABLE', "The shop's database does not answer", { cause: reason })
    : new RuntimeError('DB_ERROR', 'The statement was stopped because the run has ended', { cause: reason })
