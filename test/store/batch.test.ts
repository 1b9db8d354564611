import { describe, expect, test } from 'vitest'
import { batched } from '../../runtime/store/batch.ts'

/** A writer whose first write waits until it is let go, and which fails when `fails` says so. */
function slowWriter(fails: (items: string[]) => Error | null = () => null) {
  const written: string[][] = []
  const { promise, resolve } = Promise.withResolvers<void>()
  const write = batched<string>(
    async items => {
      written.push(items)
      if (written.length === 1) await promise
      const error = fails(items)
      if (error) throw error
    },
    item => item.length
  )
  return { write, written, letGo: resolve }
}

const settled = async (promises: Promise<void>[]) => (await Promise.allSettled(promises)).map(({ status }) => status)

describe('items given while a write is under way', () => {
  test('go out together, in order', async () => {
    const { write, written, letGo } = slowWriter()
    const all = ['a', 'b', 'c', 'd'].map(write)
    await expect.poll(() => written.length).toBe(1)
    const more = ['e', 'f'].map(write)
    letGo()
    await Promise.all([...all, ...more])
    expect(written).toEqual([
      ['a', 'b', 'c', 'd'],
      ['e', 'f']
    ])
  })

  test('are two hundred at most', async () => {
    const { write, written, letGo } = slowWriter()
    letGo()
    await Promise.all(Array.from({ length: 450 }, () => write('x')))
    expect(written.map(items => items.length)).toEqual([200, 200, 50])
  })

  test('do not wait for long ones, which go one by one beside them', async () => {
    const { write, written, letGo } = slowWriter()
    const long = ['1', '2', '3'].map(sign => write(sign.repeat(30_000)))
    await expect.poll(() => written.length).toBe(1)
    await Promise.all(['a', 'b'].map(write))
    expect(written.map(items => items.map(item => item[0]))).toEqual([['1'], ['a', 'b']])
    letGo()
    await Promise.all(long)
    expect(written.map(items => items.length)).toEqual([1, 2, 1, 1])
  })

  test('are written alone when they fail together: one that cannot be written fails nobody else', async () => {
    const { write, written, letGo } = slowWriter(items => (items.includes('bad') ? new Error('Data too long') : null))
    letGo()
    expect(await settled(['a', 'bad', 'b'].map(write))).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(written).toEqual([['a', 'bad', 'b'], ['a'], ['bad'], ['b']])
  })

  test('all fail at once when the database is away', async () => {
    const { write, written, letGo } = slowWriter(() => Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }))
    letGo()
    expect(await settled(['a', 'b'].map(write))).toEqual(['rejected', 'rejected'])
    expect(written).toEqual([['a', 'b']])
  })
})
