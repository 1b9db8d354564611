import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { v7 as uuid } from 'uuid'
import { RuntimeError } from '../errors.ts'
import type { MerId } from '../model.ts'
import { type Also, type Changed, type Database, guarded, transact } from './database.ts'
import { merIdOf, ownerOf, type Page, type PageRequest, pageOf } from './row.ts'

export const SCOPES = ['admin', 'merchant', 'viewer', 'events:write', 'hooks:call'] as const
export type Scope = (typeof SCOPES)[number]

/** A token as it is shown: never its secret. */
export interface Token {
  id: string
  name: string
  scopes: Scope[]
  /** The merchant that it is bound to; null: none. */
  merId: MerId | null
  createdAt: number
  expiresAt: number | null
}

interface TokenRow {
  id: string
  name: string
  hash: string
  scopes: string
  owner: string
  created_at: number
  expires_at: number | null
}

export type TokenStore = ReturnType<typeof createTokenStore>

/** Access tokens: stored as SHA-256 of 256 random bits, looked up by that hash, shown once. */
export function createTokenStore(db: Database) {
  async function adminExists(): Promise<boolean> {
    const query = db('sandhook_tokens').where('scopes', 'like', '%"admin"%')
    const row = await query.whereRaw('(expires_at IS NULL OR expires_at > ?)', [Date.now()]).first('id')
    return row !== undefined
  }

  return guarded({
    /** The token that this secret stands for; null: none, or it has expired. */
    async find(secret: string): Promise<Token | null> {
      const hash = hashOf(secret)
      const row: TokenRow | undefined = await db('sandhook_tokens').where({ hash }).first()
      // The index has found it by a hash that nobody can aim; that it is the same to the last bit is not its word to give.
      if (!row || !timingSafeEqual(Buffer.from(row.hash), Buffer.from(hash))) return null
      return row.expires_at === null || row.expires_at > Date.now() ? toToken(row) : null
    },

    /** Makes a token; its secret is in this answer and nowhere else. */
    async create(
      fields: Omit<Token, 'id' | 'createdAt'>,
      also?: Also<Changed<Token>>
    ): Promise<{ token: Token; secret: string }> {
      const secret = newSecret()
      const row = toRow(uuid(), secret, fields)
      await transact(db, async trx => {
        await trx('sandhook_tokens').insert(row)
        await also?.(trx, { before: null, after: toToken(row) })
      })
      return { token: toToken(row), secret }
    },

    /**
     * The bootstrap admin's token is `wanted` from now on; without a wish one is made if there is no admin token that
     * still holds. Answers a made secret, to be shown once.
     */
    async bootstrap(wanted: string | null): Promise<string | null> {
      const secret = wanted ?? newSecret()
      const row = toRow('bootstrap', secret, { name: 'bootstrap', scopes: ['admin'], merId: null, expiresAt: null })
      const insert = db('sandhook_tokens').insert(row).onConflict('id')
      if (wanted !== null) await insert.merge()
      else if (!(await adminExists())) await insert.ignore()
      // Of nodes that start at the same moment, only the one whose token it is may show it.
      const mine = wanted === null && (await db('sandhook_tokens').where({ hash: row.hash }).first('id'))
      return mine ? secret : null
    },

    /** One page of tokens, the newest first. */
    async list(page: PageRequest): Promise<Page<Token>> {
      const query = db('sandhook_tokens').orderBy('id', 'desc')
      if (page.cursor) query.where('id', '<', page.cursor)
      const rows: TokenRow[] = await query.limit(page.limit + 1)
      return pageOf(rows, page, row => row.id, toToken)
    },

    /** Revokes it at once. Throws NOT_FOUND. */
    async remove(id: string, also?: Also<Changed<Token>>): Promise<Token> {
      return transact(db, async trx => {
        const row: TokenRow | undefined = await trx('sandhook_tokens').where({ id }).forUpdate().first()
        if (!row) throw new RuntimeError('NOT_FOUND', `There is no token with the id ${id}.`)
        await trx('sandhook_tokens').where({ id }).delete()
        await also?.(trx, { before: toToken(row), after: null })
        return toToken(row)
      })
    }
  })
}

const newSecret = (): string => `shk_${randomBytes(32).toString('base64url')}`

const hashOf = (secret: string): string => createHash('sha256').update(secret).digest('hex')

const toRow = (id: string, secret: string, fields: Omit<Token, 'id' | 'createdAt'>): TokenRow => ({
  id,
  name: fields.name,
  hash: hashOf(secret),
  scopes: JSON.stringify(fields.scopes),
  owner: ownerOf(fields.merId),
  created_at: Date.now(),
  expires_at: fields.expiresAt
})

const toToken = (row: TokenRow): Token => ({
  id: row.id,
  name: row.name,
  scopes: JSON.parse(row.scopes),
  merId: merIdOf(row.owner),
  createdAt: row.created_at,
  expiresAt: row.expires_at
})
