import { expect, it, onTestFinished } from 'vitest'
import { environment } from '#config'
import '#testing'
import { metric } from '#testing/metrics'
import { createLeasePool } from './lease-pool.ts'

it('tells of a pool how much of it is in use, what waits for it, and how long that has waited', async () => {
  const pool = createLeasePool(environment().DATABASE_URL ?? '', { name: 'test', max: 2 })
  onTestFinished(async () => void (await pool.end(0)))
  const usage = async () => ({
    busy: await metric('database_pool_connections{pool="test",state="busy"}'),
    idle: await metric('database_pool_connections{pool="test",state="idle"}'),
    waiting: await metric('database_pool_waiting{pool="test"}'),
  })
  const [first, second] = [await pool.lease(), await pool.lease()]
  expect(await usage()).toEqual({ busy: 2, idle: 0, waiting: 0 })
  const third = pool.lease()
  expect(await usage()).toEqual({ busy: 2, idle: 0, waiting: 1 })
  first.release()
  second.release()
  const last = await third
  expect(await usage()).toEqual({ busy: 1, idle: 1, waiting: 0 })
  last.release()
  expect(await metric('database_pool_limit{pool="test"}')).toBe(2)
  expect(await metric('database_pool_wait_seconds_count{pool="test"}')).toBe(3)
  expect(await metric('database_pool_wait_seconds_sum{pool="test"}')).toBeGreaterThan(0)
})
