import { RuntimeError } from '../../errors.ts'

/** What MySQL would say, for what scripts look at: a message that begins as its own does, its number and SQL state. */
const FAMILIAR: [RegExp, { errno: number; sqlState: string; said: string }][] = [
  [/^UNIQUE constraint failed/, { errno: 1062, sqlState: '23000', said: 'Duplicate entry' }],
  [/^NOT NULL constraint failed/, { errno: 1048, sqlState: '23000', said: 'Column cannot be null' }],
  [/^FOREIGN KEY constraint failed/, { errno: 1452, sqlState: '23000', said: 'Cannot add or update a child row' }],
  [/^CHECK constraint failed/, { errno: 3819, sqlState: 'HY000', said: 'Check constraint is violated' }],
  [/^no such table/, { errno: 1146, sqlState: '42S02', said: "Table doesn't exist" }],
  [/^(no such column|table .* has no column)/, { errno: 1054, sqlState: '42S22', said: 'Unknown column' }],
  [/^no such function/, { errno: 1305, sqlState: '42000', said: 'FUNCTION does not exist' }],
  [/syntax error|^incomplete input/, { errno: 1064, sqlState: '42000', said: 'Not supported by the embedded database' }]
]

/** Anything that better-sqlite3 fails with, as DB_CONFLICT (somebody else writes) or DB_ERROR. */
export function sqliteFailure(thrown: unknown): RuntimeError {
  if (thrown instanceof RuntimeError) return thrown
  const { code, message } = thrown as { code?: string; message: string }
  if (code?.startsWith('SQLITE_BUSY'))
    return new RuntimeError('DB_CONFLICT', 'Another program is writing to the database', { cause: thrown })
  const familiar = FAMILIAR.find(([pattern]) => pattern.test(message))?.[1]
  if (!familiar) return new RuntimeError('DB_ERROR', message, { cause: thrown, data: { sqlState: 'HY000' } })
  const { errno, sqlState, said } = familiar
  return new RuntimeError('DB_ERROR', `${said}: ${message}`, { cause: thrown, data: { errno, sqlState } })
}
