import { beforeEach, describe, expect, it } from 'vitest'
import { call, expectPaging, sql, walk } from '#testing'
import listLocations from './index.ts'

const add = (code: string, priority: number) =>
  sql`insert into locations (code, name, priority) values (${code}, ${`Location ${code}`}, ${priority})`
const codesOf = (items: Array<{ code: string }>) => items.map(({ code }) => code)

beforeEach(async () => {
  await sql`delete from locations where code <> 'main'`
})

describe('list-locations', () => {
  it('always has main', async () => {
    const { status, body } = await call(listLocations)
    expect([status, codesOf(body.items), body.nextCursor]).toEqual([200, ['main'], null])
  })

  it('gives them by allocation priority, then by code', async () => {
    await add('b', 5)
    await add('a', 5)
    await add('B', 5)
    await add('first', -1)
    await add('last', 1_000_000)
    const expected = ['first', 'main', 'B', 'a', 'b', 'last']
    expect(codesOf((await call(listLocations)).body.items)).toEqual(expected)
    expect(codesOf(await walk(listLocations, {}, 1))).toEqual(expected)
  })

  it('is read in pages', async () => {
    await add('a', 5)
    await expectPaging(listLocations)
  })

  it('gives each one that was there at the start exactly once, while others are added', async () => {
    for (let index = 0; index < 15; index++) await add(`old-${index}`, index % 3)
    let added = 0
    const items = await walk(listLocations, {}, 4, () => add(`new-${added}`, added++ % 4))
    const old = codesOf(items).filter((code) => code.startsWith('old'))
    expect([old.length, new Set(old).size]).toEqual([15, 15])
  })
})
