import { createHash } from 'node:crypto'
import { v7 as uuid } from 'uuid'
import type { MerId } from '../model.ts'
import type { AuditStore } from '../store/audit.ts'
import type { Also, Changed } from '../store/database.ts'
import type { Token } from '../store/tokens.ts'

/** What the audit log has of something that was done: no secret may be in it. */
export interface Entry {
  /** The thing: a hook's path, an env key, an id. */
  subject: string
  /** Whose thing it is. */
  merId: MerId | null
  before?: object | null
  after?: object | null
}

/**
 * The entry of an action in the audit log, for a store to write in the transaction that does it. `entryOf` tells of what
 * was done. What is done in several transactions has one entry all the same: it tells of the last one.
 */
export type Trail = <T>(token: Token, action: string, entryOf: (done: T) => Entry) => Also<T>

export const createTrail =
  (audit: Pick<AuditStore, 'write'>): Trail =>
  (token, action, entryOf) => {
    const entry = { id: uuid(), at: Date.now(), actor: actorOf(token), action, before: null, after: null }
    return (trx, done) => audit.write(trx, { ...entry, ...entryOf(done) })
  }

/** A thing as the audit log has it. */
interface Told extends Pick<Entry, 'subject' | 'merId'> {
  state: object
}

/** The entry of a change, from how the log tells of the thing before it and after it. */
export const changeOf =
  <T>(tell: (thing: T) => Told) =>
  ({ before, after }: Changed<T>): Entry => {
    const was = before && tell(before)
    const is = after && tell(after)
    const { subject, merId } = (was ?? is) as Told
    return { subject, merId, before: was?.state ?? null, after: is?.state ?? null }
  }

/** A token as logs and versions name it. */
export const actorOf = ({ name, id }: Token): string => `${name} (${id})`

/** A script as the audit log has it: long enough to recognise it, no longer. */
export const digestOf = (script: string) => ({
  bytes: Buffer.byteLength(script),
  sha256: createHash('sha256').update(script).digest('hex')
})
