import { describe, expect, test } from 'vitest'
import { addUser, oneRow } from './fixtures.ts'
import { type Body, onEveryShop, refusal, unique } from './haidian-fixtures.ts'

onEveryShop("Haidian's members and points", ({ shop, ask, countOf }) => {
  describe('user-info', () => {
    test('answers in the shape of the document', async () => {
      const uid = await addUser(shop, {
        phone: '13600001111',
        real_name: '章试用',
        create_time: '2024-01-01 08:00:00'
      })
      const answer = (await ask('user-info', { mobile: '13600001111' })) as { data: Body }
      expect(answer).toEqual({
        code: 0,
        data: {
          ...{ uid: String(uid), account: '13600001111', nickname: '试用买家', group_level: 2 },
          ...{ create_time: expect.stringMatching(/^\d{10}$/), last_login_time: '0' }
        }
      })
      const written = new Date(Number(answer.data.create_time) * 1000)
      expect(Math.abs(written.getTime() - Date.UTC(2024, 0, 1, 8))).toBeLessThanOrEqual(14 * 3600_000)
      expect(await ask('user-info', { real_name: '章试用' })).toEqual(answer)
      expect(await ask('user-info', { mobile: '13600001111', real_name: '别人' })).toEqual(refusal('会员不存在'))
    })

    test('refuses a name that several have', async () => {
      await addUser(shop, { real_name: '同名人' })
      await addUser(shop, { real_name: '同名人' })
      expect(await ask('user-info', { real_name: '同名人' })).toEqual(refusal('请用手机号查询'))
    })

    test.each([
      [{}, 'mobile、real_name 至少填一个'],
      [{ mobile: '', real_name: null }, '至少填一个'],
      [{ mobile: 'abc' }, 'mobile 不是手机号'],
      [{ mobile: "1' OR '1'='1" }, 'mobile 不是手机号'],
      [{ mobile: { $ne: '' } }, 'mobile 类型错误'],
      [{ real_name: '长'.repeat(33) }, 'real_name 不能超过 32'],
      [{ real_name: ['a'] }, 'real_name 类型错误'],
      [{ mobile: '13999999999' }, '会员不存在'],
      [{ real_name: "x' OR '1'='1" }, '会员不存在']
    ] as [Body, string][])('refuses what is wrong, %#: $1', async (body, msg) => {
      expect(await ask('user-info', body)).toEqual(refusal(msg))
    })
  })

  describe('points-push', () => {
    const change = (changes: Body = {}): Body => ({
      ...{
        mobile: '13800000001',
        points_sn: unique('P'),
        points: -20,
        remark: '兑换',
        add_time: '2024-01-02 03:04:05'
      },
      ...changes
    })

    test('keeps a change once, also when it comes twice at the same moment', async () => {
      const body = change()
      const answers = await Promise.all([ask('points-push', body), ask('points-push', body)])
      expect(answers).toEqual(answers.map(() => ({ code: 0, msg: '操作成功' })))
      const row = await oneRow(shop, 'SELECT uid, points, remark FROM haidian_points WHERE points_sn = ?', [
        String(body.points_sn)
      ])
      expect(row).toEqual({ uid: 1, points: -20, remark: '兑换' })
      expect(await ask('points-push', { ...body, points: 20 })).toEqual(refusal('内容不同'))
    })

    test.each([
      [{ mobile: '' }, 'user_id、mobile 至少填一个'],
      [{ mobile: '13999999999' }, '会员不存在'],
      [{ user_id: 2 }, '会员不存在'],
      [{ points_sn: '' }, 'points_sn 不能为空'],
      [{ points: 0 }, 'points 必须是非零整数'],
      [{ points: '1.5' }, 'points 必须是非零整数'],
      [{ points: null }, 'points 不能为空'],
      [{ remark: 'x'.repeat(129) }, 'remark 不能超过 128'],
      [{ add_time: 'now' }, 'add_time 时间格式']
    ] as [Body, string][])('refuses what is wrong, %#: $1', async (changes, msg) => {
      expect(await ask('points-push', change(changes))).toEqual(refusal(msg))
    })
  })

  describe('user-add', () => {
    test('adds a member once, also when it comes twice at the same moment, then changes it', async () => {
      const mobile = `135${unique('').slice(-8).padStart(8, '0')}`
      const answers = await Promise.all([ask('user-add', { mobile }), ask('user-add', { mobile })])
      expect(answers[0]).toEqual({ code: 0, msg: '操作成功', data: { uid: expect.stringMatching(/^\d+$/) } })
      expect(answers[1]).toEqual(answers[0])
      expect(await ask('user-add', { mobile, real_name: '李试用' })).toEqual(answers[0])
      const row = await oneRow(shop, 'SELECT nickname, real_name FROM eb_user WHERE phone = ?', [mobile])
      expect(row).toEqual({ nickname: `会员${mobile.slice(-4)}`, real_name: '李试用' })
      expect(await ask('user-info', { mobile })).toMatchObject({ code: 0, data: (answers[0] as { data: Body }).data })
    })

    test.each([
      [{}, 'mobile 不能为空'],
      [{ mobile: 'x' }, 'mobile 不是手机号'],
      [{ mobile: '13500009999', real_name: 'x'.repeat(33) }, 'real_name 不能超过 32'],
      [{ mobile: '13500009999', nickname: 'x'.repeat(65) }, 'nickname 不能超过 64']
    ] as [Body, string][])('refuses what is wrong, %#: $1', async (body, msg) => {
      expect(await ask('user-add', body)).toEqual(refusal(msg))
    })

    test('undoes everything when something goes wrong half-way', async () => {
      const mobile = '13500008888'
      await addUser(shop, { uid: 90_001, phone: mobile })
      await addUser(shop, { uid: 90_002, phone: mobile })
      expect(await ask('user-add', { mobile })).toEqual(refusal('多个会员'))
      expect(await countOf('haidian_done', 'number', mobile)).toBe(0)
    })
  })
})
