import { expect } from 'vitest'
import type { FunctionDefinition } from '#function'
import { type CallOptions, type CallResult, call } from './call.ts'

/** Returns every item of a list, read page by page. `meanwhile` runs between the pages. */
export async function walk(
  definition: FunctionDefinition,
  options: CallOptions,
  limit: number,
  meanwhile: () => Promise<unknown> = async () => {},
): Promise<CallResult['body'][]> {
  const items: CallResult['body'][] = []
  let cursor: string | null = null
  for (let page = 0; page < 100; page++) {
    const query = { ...options.query, limit, ...(cursor !== null && { cursor }) }
    const { status, body } = await call(definition, { ...options, query })
    expect(status).toBe(200)
    items.push(...body.items)
    expect(body.items.length).toBeLessThanOrEqual(limit)
    cursor = body.nextCursor
    if (cursor === null) return items
    expect(body.items).toHaveLength(limit)
    await meanwhile()
  }
  throw new Error(`${definition.name} does not come to an end`)
}

/** Fails unless a list pages as all lists do. `options` must lead to a list of at least two items. */
export async function expectPaging(definition: FunctionDefinition, options: CallOptions = {}): Promise<void> {
  const ask = (query: Record<string, string | number>) =>
    call(definition, { ...options, query: { ...options.query, ...query } })

  for (const limit of [0, -1, 201, 1.5, '', 'many']) {
    const { status, body } = await ask({ limit })
    expect({ limit, status, errors: body.errors }).toMatchObject({ status: 422, errors: [{ path: 'limit' }] })
  }
  expect((await ask({ limit: 200 })).status).toBe(200)

  const first = await ask({ limit: 1 })
  expect(first.body.items).toHaveLength(1)
  const second = await ask({ limit: 1, cursor: first.body.nextCursor })
  expect(second.body.items).toHaveLength(1)
  expect(second.body.items).not.toEqual(first.body.items)

  const genuine = Buffer.from(first.body.nextCursor, 'base64url').toString()
  const [kind, keys] = JSON.parse(genuine)
  const foreign = [
    'junk',
    '',
    '!',
    first.body.nextCursor.slice(0, -4),
    cursorOf(null),
    cursorOf([]),
    cursorOf(['another list', keys]),
    cursorOf([kind, null]),
    cursorOf([kind, [...keys, 1]]),
    cursorOf([kind, keys.map(() => ({}))]),
    cursorOf([kind, keys.map(() => 'drop table\u0000')]),
    cursorOf([kind, keys.map(() => 1e300)]),
  ]
  for (const cursor of foreign) {
    const { status, body } = await ask({ cursor })
    expect({ cursor, status, code: body.code }).toEqual({ cursor, status: 422, code: 'validation_failed' })
    expect(body.errors.length).toBeGreaterThan(0)
  }
  expect((await ask({ colour: 'red' })).body.errors).toEqual([{ path: 'colour', message: 'is not a known member' }])
}

const cursorOf = (parts: unknown) => Buffer.from(JSON.stringify(parts)).toString('base64url')
