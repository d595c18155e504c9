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

  it('gives cursors that a query takes, and none of them padded', async () => {
    for (const limit of [1, 2, 3]) {
      const { nextCursor } = await pageOfNumbers({ limit }, 'n'.repeat(limit))
      expect(PageQuery.parse({ cursor: nextCursor })).toEqual({ limit: 50, cursor: nextCursor })
      expect(PageQuery.safeParse({ cursor: `${nextCursor}=` }).success).toBe(false)
    }
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

describe('a page of large items', () => {
  /** Each item's `text` takes as many bytes. */
  async function sizesOf(limit: number, bytesOfItem: (number: number) => number) {
    const fetched: number[] = []
    const pages: number[] = []
    let items = 0
    let cursor: string | undefined
    do {
      const page = await readPage(cursor === undefined ? { limit } : { limit, cursor }, {
        kind: 'large',
        keys: z.tuple([z.number()]),
        fetch: async (after, count) => {
          const first = (after?.[0] ?? -1) + 1
          const rows = Array.from({ length: 300 }, (_, index) => index).slice(first, first + count)
          fetched.push(rows.reduce((sum, row) => sum + bytesOfItem(row), 0))
          return rows
        },
        keysOf: (number): [number] => [number],
        toItem: (number) => ({ number, text: 'ü'.repeat(bytesOfItem(number) / 2) }),
      })
      expect(page.items.map(({ number }) => number)).toEqual(page.items.map((_, index) => items + index))
      items += page.items.length
      pages.push(Buffer.byteLength(JSON.stringify(page)))
      cursor = page.nextCursor ?? undefined
    } while (cursor !== undefined)
    expect(items).toBe(300)
    return { pages, fetched }
  }

  it('is no larger than 1 MiB, and goes on where it ended', async () => {
    const { pages, fetched } = await sizesOf(200, () => 60_000)
    expect(Math.max(...pages)).toBeLessThanOrEqual(1024 * 1024)
    expect(Math.min(...pages.slice(0, -1))).toBeGreaterThan(900_000)
    expect(Math.max(...fetched)).toBeLessThanOrEqual(2_000_000)
  })

  it('holds the one item that is larger than a page may be', async () => {
    const { pages } = await sizesOf(200, (number) => (number % 7 === 3 ? 2_000_000 : 100))
    expect(pages.filter((bytes) => bytes > 1024 * 1024).length).toBe(43)
  })

  it('never reads more than 64 rows before it knows their size', async () => {
    const { pages, fetched } = await sizesOf(200, (number) => (number < 40 ? 100 : 60_000))
    expect(Math.max(...pages)).toBeLessThanOrEqual(1024 * 1024)
    expect(Math.max(...fetched)).toBeLessThanOrEqual(4_000_000)
  })

  it('is read with the others in turn, and refused where too many wait', async () => {
    let reading = 0
    let most = 0
    const read = () =>
      readPage(
        { limit: 1 },
        {
          kind: 'slow',
          keys: z.tuple([z.number()]),
          fetch: async () => {
            most = Math.max(most, ++reading)
            await new Promise(setImmediate)
            reading--
            return []
          },
          keysOf: (): [number] => [0],
          toItem: () => 0,
        },
      )
    const answers = await Promise.allSettled(Array.from({ length: 600 }, read))
    expect(most).toBe(8)
    const refused = answers.filter((answer) => answer.status === 'rejected')
    expect(refused).toHaveLength(600 - 8 - 500)
    expect(refused[0]).toMatchObject({ reason: { code: 'overloaded', retryAfterSeconds: 1 } })
  })
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
