import { createHash } from 'node:crypto'
import type { MerId } from '../model.ts'
import type { AuditStore } from '../store/audit.ts'
import type { Token } from '../store/tokens.ts'

/** A change, as the audit log keeps it: no secret may be in it. */
export interface Change {
  action: string
  subject: string
  /** Whose thing it is. */
  merId: MerId | null
  before?: object | null
  after?: object | null
}

/** Writes down who changed what; to be called when the change is done. */
export type Trail = (token: Token, change: Change) => Promise<void>

export const createTrail =
  (audit: Pick<AuditStore, 'write'>): Trail =>
  (token, { before = null, after = null, ...change }) =>
    audit.write({ ...change, before, after, actor: actorOf(token) })

/** A token as logs and versions name it. */
export const actorOf = ({ name, id }: Token): string => `${name} (${id})`

/** A script as the audit log has it: long enough to recognise it, no longer. */
export const digestOf = (script: string) => ({
  bytes: Buffer.byteLength(script),
  sha256: createHash('sha256').update(script).digest('hex')
})
