import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { engines } from '../support/databases.ts'
import { openTestShop, runHook, startPartner, type TestShop } from '../support/run-hook.ts'

describe.each(engines)('a run whose lease has ended, on $name', entry => {
  describe.skipIf(entry.missing)('', () => {
    let shop: TestShop
    beforeAll(async () => {
      shop = await openTestShop(entry)
      await shop.sql('CREATE TABLE fenced (n INT)')
    })
    beforeEach(() => shop.sql('DELETE FROM fenced'))
    afterAll(() => shop.close())

    /** Runs a script; the lease ends, or `meanwhile` happens, while its `http.get` waits for the answer. */
    async function runPaused(script: string, { runs = 1, meanwhile = async () => {} } = {}) {
      let holds = true
      const partner = await startPartner(async ({ method }) => {
        if (method === 'GET') {
          await meanwhile()
          holds = runs > 1
        }
        return { body: {} }
      })
      const text = `const url = '${partner.url}'\n${script}`
      const executionId = `00000000-0000-4000-8000-${String(++executions).padStart(12, '0')}`
      const run = await runHook({ shop, script: text, holds: () => holds, executionId, runs })
      await partner.close()
      return { ...run, executionId, posts: partner.requests.filter(({ method }) => method === 'POST').length }
    }
    let executions = 0

    test('calls nobody any more', async () => {
      const { error, posts } = await runPaused('http.post(url); http.get(url); http.post(url)')
      expect([error?.code, posts]).toEqual(['RUNNER_LOST', 1])
    })

    test('writes nothing any more, although the script catches what it is told', async () => {
      const script = `
        db.insert('INSERT INTO fenced VALUES (1)')
        http.get(url)
        try { db.insert('INSERT INTO fenced VALUES (2)') } catch (error) { log.info('caught') }
        return 1`
      const { error, committed } = await runPaused(script)
      expect([error?.code, committed]).toEqual(['RUNNER_LOST', false])
      expect(await shop.sql('SELECT * FROM fenced')).toEqual([])
    })

    test.each(['return 1', 'return { success: false }'])('commits nothing when its script ends with %s', async end => {
      const { error, committed, announced } = await runPaused(
        `db.insert('INSERT INTO fenced VALUES (1)'); emit('X', '1'); http.get(url); ${end}`
      )
      expect([error?.code, committed, announced]).toEqual(['RUNNER_LOST', false, []])
      expect(await shop.sql('SELECT * FROM fenced')).toEqual([])
    })

    test.each([
      ['returns', 'return "mine"'],
      ['fails over what it finds', 'throw new Error("there is one already")'],
      ['gives up for good', 'return { success: false, retry: false }']
    ])('and that commits after all leaves its word to the run that was begun instead, which %s', async (_, end) => {
      const told = { result: 'theirs', announcements: [{ kind: 'event', id: 'e', eventKey: 'TOLD', payload: 1 }] }
      const id = () => `00000000-0000-4000-8000-${String(executions).padStart(12, '0')}`
      const meanwhile = async () => {
        await shop.sql('INSERT INTO fenced VALUES (1)')
        await shop.sql('INSERT INTO hook_effects (execution_id, result, created_at) VALUES (?, ?, ?)', [
          ...[id(), JSON.stringify(told), Date.now()]
        ])
      }
      const script = `http.get(url); db.insert('INSERT INTO fenced VALUES (2)'); ${end}`
      const { error, result, announced } = await runPaused(script, { runs: 2, meanwhile })
      expect([error, result, announced]).toEqual([null, 'theirs', told.announcements])
      expect(await shop.sql('SELECT n FROM fenced')).toEqual([{ n: 1 }])
    })
  })
})
