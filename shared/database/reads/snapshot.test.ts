import { expect, it } from 'vitest'
import { snapshot } from '#database'
import { sql } from '#testing'

const names = async (from = sql) => (await from`select name from locations order by code`).map(({ name }) => name)

it('a snapshot shows one moment from its first statement to its last', async () => {
  await snapshot(async (view) => {
    const before = await names(view)
    await sql`insert into locations (code, name, priority) values ('new', 'New', 1)`
    expect(await names(view)).toEqual(before)
    expect(await names()).toEqual([...before, 'New'])
  })
})

it('a snapshot can’t write, and gives its connection back in order', async () => {
  const writing = snapshot((view) => view`delete from locations`)
  await expect(writing).rejects.toMatchObject({ code: 'unavailable' })
  expect(await snapshot(names)).toContain('Main')
})
