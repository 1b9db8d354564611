import type { Json } from '../../../runtime/model.ts'

/** A hostile script and what must come of it. Ids with a number are those of the corpus of hostile scripts. */
export interface Case {
  id: string
  script: string
  /** What it returns; the run succeeds. */
  gives?: Json
  /** It returns one of these. */
  oneOf?: Json[]
  /** What its error is like; the run fails. */
  fails?: { code?: string | RegExp; message?: string | RegExp }
}

/** Ends by a limit on processor time or wall clock. */
export const ENDLESS = { code: /^HOOK_(CPU_LIMIT|TIMEOUT)$/ }
