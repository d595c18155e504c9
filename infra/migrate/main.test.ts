import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { environment, overrideEnvironment } from '#config'
import { call, sql } from '#testing'
import { bundleOf } from '#testing/builds'
import { redisUrl } from '#testing/redis'
import listProducts from '../../functions/list-products/index.ts'
import { runMigration } from './main.ts'

const KEY = 'an-admin-key-of-this-test'

/** The lines that are printed for people. */
const lines: string[] = []

beforeEach(() => {
  lines.length = 0
  vi.spyOn(process.stderr, 'write').mockImplementation((line) => lines.push(String(line)) > 0)
})
afterEach(() => {
  vi.restoreAllMocks()
  process.exitCode = undefined
  overrideEnvironment({ BOOTSTRAP_API_KEY: undefined, SEED: undefined })
})

it('makes the key that it is told, and does so again without a change', async () => {
  overrideEnvironment({ BOOTSTRAP_API_KEY: KEY, SEED: '1' })
  await runMigration()
  const first = await call(listProducts, { key: KEY })
  expect(first.status).toBe(200)
  expect(first.body.items.length).toBeGreaterThan(0)
  await runMigration()
  expect((await call(listProducts, { key: KEY })).body).toEqual(first.body)
  expect(process.exitCode).toBeUndefined()
  expect(await sql`select 1 from api_keys where name = 'bootstrap'`).toHaveLength(1)
})

it.each([undefined, 'short', 'dev-admin-key'])('ends with one clear line where the key is %s', async (key) => {
  overrideEnvironment({ BOOTSTRAP_API_KEY: key })
  await runMigration()
  expect(lines.join('')).toMatch(/^BOOTSTRAP_API_KEY: must [^\n]*\n$/)
  expect(process.exitCode).toBe(1)
})

// Functions wait until the migration's process ends, and open connections would prevent that.
it.each([
  ['there is Redis', redisUrl ?? 'memory:'],
  ['Redis is away', 'redis://127.0.0.1:1'],
])('ends by itself where %s', async (_, cacheUrl) => {
  const { PATH, DATABASE_URL } = environment()
  const env = { PATH, DATABASE_URL, CACHE_URL: cacheUrl, BOOTSTRAP_API_KEY: KEY, SEED: '1' }
  await sql`truncate products cascade`
  const index = await bundleOf(new URL('index.ts', import.meta.url))
  const { stdout } = await promisify(execFile)(process.execPath, [index], { env, timeout: 20_000 })
  expect(stdout).toContain('filling the shop')
})
