import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { overrideEnvironment } from '#config'
import { call, sql } from '#testing'
import listProducts from '../../functions/list-products/index.ts'
import { runMigration } from './main.ts'

const KEY = 'an-admin-key-of-this-test'

/** What is written for people to read. */
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
