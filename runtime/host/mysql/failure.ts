import { RuntimeError } from '../../errors.ts'

/** Deadlock; lock wait timeout; a row changed since the transaction's snapshot (MariaDB). */
const CONFLICTS = new Set([1213, 1205, 1020])
/** The statement's time limit: MariaDB's, MySQL's. */
const TIMEOUTS = new Set([1969, 3024])
/** The server is full, closing, or no longer the one that takes writes; or it refuses the runtime's own account. */
const UNAVAILABLE = new Set([1040, 1044, 1045, 1049, 1053, 1129, 1130, 1203, 1290, 1792, 1836, 1927])

/** Anything that mysql2 fails with, as DB_CONFLICT, DB_UNAVAILABLE or DB_ERROR with `data: { errno, sqlState }`. */
export function mysqlFailure(thrown: unknown): RuntimeError {
  if (thrown instanceof RuntimeError) return thrown
  const error = thrown as { errno?: number; sqlState?: string; sqlMessage?: string; message?: string; fatal?: boolean }
  const { errno, sqlState } = error
  // What the server calls the account, the host that it is used from and the schema is none of a script's business.
  const said = (error.sqlMessage ?? error.message ?? String(thrown))
    .replace(/'[^']*'@'[^']*'/g, 'the script account')
    .replace(/\bTable '[^'.]+\./g, "Table '")
    .replace(/`[^`]+`\.(?=`[^`]+`\.`)/g, '')
  if (sqlState === undefined || (errno !== undefined && UNAVAILABLE.has(errno)))
    return new RuntimeError('DB_UNAVAILABLE', "The shop's database does not answer; the run is tried again", {
      cause: thrown
    })
  const data = { errno, sqlState }
  if (CONFLICTS.has(errno as number)) return new RuntimeError('DB_CONFLICT', said, { cause: thrown, data })
  const message = TIMEOUTS.has(errno as number) ? `${said}: select fewer rows, or add an index` : said
  return new RuntimeError('DB_ERROR', message, { cause: thrown, data })
}
