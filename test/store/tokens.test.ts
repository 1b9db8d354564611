import { expect, test } from 'vitest'
import { createTokenStore, type Token } from '../../runtime/store/tokens.ts'
import { onEachEngine, onMysql, walk } from './fixtures.ts'

const fields = (more: Partial<Token> = {}) => ({
  ...{ name: 'shop', scopes: ['events:write' as const], merId: null, expiresAt: null },
  ...more
})

onEachEngine('tokens', store => {
  const open = () => createTokenStore(store.db)

  test('are found by their secret, which is kept nowhere', async () => {
    const { token, secret } = await open().create(fields({ scopes: ['merchant', 'hooks:call'], merId: 7 }))
    expect(secret).toMatch(/^shk_[\w-]{43}$/)
    expect(await open().find(secret)).toEqual(token)
    expect(token).toMatchObject({ scopes: ['merchant', 'hooks:call'], merId: 7 })
    const rows = await store.db('sandhook_tokens').select()
    expect(JSON.stringify(rows)).not.toContain(secret.slice(4))
    expect(JSON.stringify(token)).not.toContain(secret.slice(4))
  })

  test.each(['', 'shk_', 'nobody'])('are not found by %j', async secret => {
    const { token } = await open().create(fields())
    const [row] = await store.db('sandhook_tokens').select('hash')
    for (const wrong of [secret, token.id, row.hash]) expect(await open().find(wrong)).toBeNull()
  })

  test('end when their time is over, and at once when revoked', async () => {
    const [live, over] = [Date.now() + 60_000, Date.now() - 1]
    const lasting = await open().create(fields({ expiresAt: live }))
    const expired = await open().create(fields({ expiresAt: over }))
    expect(await open().find(lasting.secret)).toMatchObject({ expiresAt: live })
    expect(await open().find(expired.secret)).toBeNull()
    expect(await open().remove(lasting.token.id)).toEqual(lasting.token)
    expect(await open().find(lasting.secret)).toBeNull()
    await expect(open().remove(lasting.token.id)).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  test('are listed the newest first, each once', async () => {
    const names: string[] = []
    for (let i = 0; i < 7; i++) names.unshift((await open().create(fields({ name: `t${i}` }))).token.name)
    for (const limit of [1, 3, 7]) {
      const seen = await walk(page => open().list(page), limit)
      expect(seen.map(({ name }) => name)).toEqual(names)
    }
  })
})

onEachEngine('the bootstrap token', store => {
  const open = () => createTokenStore(store.db)

  test('is made at the first start only', async () => {
    const secret = await open().bootstrap(null)
    expect(await open().find(secret as string)).toMatchObject({ name: 'bootstrap', scopes: ['admin'], merId: null })
    expect(await open().bootstrap(null)).toBeNull()
    expect(await open().find(secret as string)).not.toBeNull()
  })

  test('is what the operator wishes from now on, and the wish is not told again', async () => {
    const made = await open().bootstrap(null)
    expect(await open().bootstrap('wished-for-secret-1')).toBeNull()
    expect(await open().find('wished-for-secret-1')).toMatchObject({ id: 'bootstrap' })
    expect(await open().find(made as string)).toBeNull()
    expect(await open().bootstrap('wished-for-secret-2')).toBeNull()
    expect(await open().find('wished-for-secret-1')).toBeNull()
    expect(await open().bootstrap(null), 'a start without the wish keeps the last one').toBeNull()
    expect(await open().find('wished-for-secret-2')).not.toBeNull()
  })

  test('does not come back once it was revoked and another admin can work', async () => {
    const secret = await open().bootstrap(null)
    const admin = await open().create(fields({ scopes: ['admin'] }))
    await open().remove('bootstrap')
    expect(await open().bootstrap(null)).toBeNull()
    expect(await open().find(secret as string)).toBeNull()
    await open().remove(admin.token.id)
    expect(await open().bootstrap(null), 'somebody must be able to get in').not.toBeNull()
  })

  test('comes back when the only other admin token has ended', async () => {
    await open().create(fields({ scopes: ['admin'], expiresAt: Date.now() - 1 }))
    await open().create(fields({ scopes: ['viewer'] }))
    expect(await open().bootstrap(null)).not.toBeNull()
  })
})

onMysql('nodes at their first start', store => {
  test('show one token together, and it is the one that works', async () => {
    const nodes = Array.from({ length: 4 }, () => createTokenStore(store.connect()))
    const shown = (await Promise.all(nodes.map(node => node.bootstrap(null)))).filter(secret => secret !== null)
    expect(shown).toHaveLength(1)
    expect(await createTokenStore(store.db).find(shown[0] as string)).toMatchObject({ id: 'bootstrap' })
  })
})
