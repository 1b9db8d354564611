import type { Statement } from './sql/statement.ts'

/** A value as it crosses to a script: integers beyond 2^53 and unrepresentable DECIMALs are strings, dates too. */
export type Cell = null | number | string | boolean
export type Row = Record<string, Cell>

/** A parameter as it comes from a script; `undefined` has become null on the way. */
export type Param = null | number | string | boolean

/** What a statement came to: rows, or how many it changed and the id that it made. */
export type Answer = { rows: Row[] } | { affected: number; insertId: number | string | null }

/** Bounds of one result; past them the statement is stopped and the call fails with HOOK_DB_LIMIT. */
export interface ResultBounds {
  rows: number
  bytes: number
}

export interface StatementOptions {
  bounds: ResultBounds
  /** Fires when the run has ended: the statement is stopped on the server too. */
  signal: AbortSignal
  /** How long, in milliseconds, a server lets the statement run though nobody stops it. Default: 20 s or more. */
  serverMs?: number
  /** Whose statement it is, where one hook's may not crowd out another's. */
  hook?: string
}

/** Something that runs statements: the shop outside any transaction, or one open transaction. */
export interface StatementRunner {
  /**
   * Runs one statement. Throws RuntimeError: DB_ERROR (with `data: { errno?, sqlState? }`), HOOK_DB_LIMIT,
   * DB_CONFLICT (deadlock or lock wait; the transaction is lost), DB_UNAVAILABLE (no connection), ARGUMENT_INVALID (not
   * one value for each `?`).
   */
  run: (statement: Statement, params: Param[], options: StatementOptions) => Promise<Answer>
}

/** An open transaction. Whatever happens, end it with `commit` or `rollback`; both may be called again without effect. */
export interface ShopTransaction extends StatementRunner {
  commit: () => Promise<void>
  rollback: () => Promise<void>
  /** Marks a place in the transaction that `undo` leads back to; `release` keeps what came after it. */
  savepoint: (mark: number) => Promise<void>
  release: (mark: number) => Promise<void>
  undo: (mark: number) => Promise<void>
}

/** The shop's database: the one that `db` in scripts talks to. */
export interface ShopDatabase extends StatementRunner {
  readonly engine: 'mysql' | 'sqlite'
  /** Opens a transaction of this hook; waits for a free connection (MySQL) or for the writer's turn (SQLite). */
  begin: (signal: AbortSignal, hook?: string) => Promise<ShopTransaction>
  /** Throws DB_UNAVAILABLE when the database does not answer. */
  ping: () => Promise<void>
  close: () => Promise<void>
}
