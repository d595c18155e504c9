import { describe, expect, it } from 'vitest'
import * as z from 'zod'
import { PageQuery, readPage } from '#database'

const numbers = Array.from({ length: 10 }, (_, index) => index)

function pageOfNumbers(request: { limit: number; cursor?: string }, kind = 'numbers') {
  return readPage(request, {
    kind,
    keys: z.tuple([z.number(), z.string()]),
    fetch: async (after, limit) => numbers.filter((number) => number > (after?.[0] ?? -1)).slice(0, limit),
    keysOf: (number): [number, string] => [number, 'ü "\\ 語'],
    toItem: (number) => `item ${number}`,
  })
}

describe('readPage', () => {
  it.each([1, 3, 5, 9])('gives every item once, in order, %d at a time', async (limit) => {
    const items: string[] = []
    let cursor: string | undefined
    do {
      const page = await pageOfNumbers(cursor === undefined ? { limit } : { limit, cursor })
      items.push(...page.items)
      cursor = page.nextCursor ?? undefined
    } while (cursor !== undefined)
    expect(items).toEqual(numbers.map((number) => `item ${number}`))
  })

  it('gives no cursor with a page that happens to end where the list ends', async () => {
    expect(await pageOfNumbers({ limit: 10 })).toMatchObject({ nextCursor: null })
    expect((await pageOfNumbers({ limit: 9 })).nextCursor).not.toBeNull()
  })

  it('refuses a cursor of another list, or of another order of the same', async () => {
    const { nextCursor } = await pageOfNumbers({ limit: 2 })
    const elsewhere = pageOfNumbers({ limit: 2, cursor: nextCursor ?? '' }, 'numbers backwards')
    await expect(elsewhere).rejects.toMatchObject({ code: 'validation_failed', issues: [{ path: 'cursor' }] })
  })

  it.each(['', 'x', 'bnVsbA', 'W10', '%%%', Buffer.from('["numbers",["1",2]]').toString('base64url')])(
    'refuses the cursor %j',
    async (cursor) => {
      await expect(pageOfNumbers({ limit: 2, cursor })).rejects.toMatchObject({ code: 'validation_failed' })
    },
  )
})

describe('PageQuery', () => {
  it('is 50 items unless told, and takes 1 to 200', () => {
    expect(PageQuery.parse({})).toEqual({ limit: 50 })
    expect([1, '200'].map((limit) => PageQuery.safeParse({ limit }).success)).toEqual([true, true])
    expect([0, 201, 'x', 1.5].map((limit) => PageQuery.safeParse({ limit }).success)).toEqual([
      false,
      false,
      false,
      false,
    ])
  })
})
