import { describe, expect, it } from 'vitest'
import * as z from 'zod'
import { PageQuery, readPage, systemContext } from '#database'

const context = systemContext('function:test')

const numbers = Array.from({ length: 10 }, (_, index) => index)

function pageOfNumbers(request: { limit: number; cursor?: string }, kind = 'numbers') {
  return readPage(request, context, {
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
  /** `bytesOfItem` gives the bytes that each item's `text` takes. */
  async function sizesOf(limit: number, bytesOfItem: (number: number) => number) {
    const fetched: number[] = []
    const pages: number[] = []
    let items = 0
    let cursor: string | undefined
    do {
      const page = await readPage(cursor === undefined ? { limit } : { limit, cursor }, context, {
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
})

describe('pages that are read at a time', () => {
  const contextOf = (actor: string) => ({ ...context, actor })

  /** Each page's reading waits for `finish`. `begun` has the names of the pages in the order in which they begin. */
  function reader() {
    const begun: string[] = []
    const open: Array<() => void> = []
    const read = (name: string, by = contextOf(name)) =>
      readPage({ limit: 1 }, by, {
        kind: 'slow',
        keys: z.tuple([z.number()]),
        fetch: async () => {
          begun.push(name)
          await new Promise<void>((resolve) => open.push(resolve))
          return []
        },
        keysOf: (): [number] => [0],
        toItem: () => 0,
      })
    /** Ends the oldest page that is being read, and lets the next one begin. */
    const finish = async () => {
      open.shift()?.()
      await new Promise(setImmediate)
    }
    const finishAll = async () => {
      while (open.length > 0) await finish()
    }
    return { begun, read, finish, finishAll }
  }

  it('are eight, six of them of one API key, and 500 wait, 375 of one', async () => {
    const { begun, read, finishAll } = reader()
    const many = (name: string) => Array.from({ length: 400 }, () => read(name))
    const reading = Promise.allSettled([...many('a'), ...many('b')])
    await new Promise(setImmediate)
    expect(begun).toEqual([...'aaaaaabb'])
    await finishAll()
    const answers = await reading
    const failed = answers.filter((answer) => answer.status === 'rejected')
    expect(failed).toHaveLength(800 - 8 - 500)
    expect(failed[0]).toMatchObject({ reason: { code: 'overloaded', retryAfterSeconds: 1 } })
    expect(answers.slice(0, 400).filter(({ status }) => status === 'fulfilled')).toHaveLength(6 + 375)
    expect(begun).toHaveLength(8 + 500)
  })

  it('begin in the order in which they came, but that one key’s do not keep those of others', async () => {
    const { begun, read, finish, finishAll } = reader()
    const names = [...'aaaaaaaabc', 'd', 'a', 'e']
    const reading = names.map((name) => read(name))
    await new Promise(setImmediate)
    expect(begun).toEqual([...'aaaaaabc'])
    // The freed place was a's, and goes to a again. No place of the others is free, so they wait for their turn.
    await finish()
    expect(begun.slice(8)).toEqual(['a'])
    await finishAll()
    expect(begun.slice(9)).toEqual([...'adae'])
    await Promise.all(reading)
  })

  it('do not begin for a client that has gone by then', async () => {
    const { begun, read, finishAll } = reader()
    const first = [...'abcdefgh'].map((name) => read(name))
    const gone = read('gone', { ...contextOf('gone'), isGone: () => true })
    const next = read('next')
    const refused = expect(gone).rejects.toMatchObject({ code: 'client_closed_request' })
    await finishAll()
    await Promise.all([...first, next, refused])
    expect(begun).toEqual([...'abcdefgh', 'next'])
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
