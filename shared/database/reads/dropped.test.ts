import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { environment, overrideEnvironment } from '#config'
import { closeDatabase, read, systemContext } from '#database'
import '#testing'
import { openProxy, type TcpProxy } from '#testing/proxy'

const { DATABASE_URL: url = '' } = environment()
let proxy: TcpProxy
let runs = 0

beforeAll(async () => {
  proxy = await openProxy(url)
  await closeDatabase()
  overrideEnvironment({ DATABASE_URL: proxy.url })
})

afterAll(async () => {
  proxy.mend()
  await closeDatabase()
  overrideEnvironment({ DATABASE_URL: url })
  await proxy.close()
})

/** A read that is sent on a connection that is dead already, and is told so once `end` is called. */
async function readOnDeadConnection(end: () => void): Promise<unknown> {
  const context = systemContext('test')
  await read(context, (sql) => sql`select 1`)
  proxy.freeze()
  runs = 0
  const reading = read(context, (sql) => {
    runs++
    return sql`select 2 as answer`
  })
  const settled = Promise.allSettled([reading])
  await vi.waitFor(() => expect(runs).toBe(1))
  end()
  await settled
  return reading
}

it('a read whose connection has ended unnoticed is answered on a new one', async () => {
  const answer = readOnDeadConnection(() => {
    proxy.cut()
    proxy.mend()
  })
  expect(await answer).toEqual([{ answer: 2 }])
  expect(runs).toBe(2)
})

it('and is not repeated again and again', async () => {
  await expect(readOnDeadConnection(proxy.cut)).rejects.toMatchObject({ code: 'unavailable' })
  expect(runs).toBe(2)
})
