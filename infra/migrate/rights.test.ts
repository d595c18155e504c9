import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { environment, overrideEnvironment } from '#config'
import { closeDatabase } from '#database'
import { closeRelay } from '#events'
import { closeJobs } from '#jobs'
import { allFunctions, sql } from '#testing'
import { invoke, readInvocation } from '../local/invocation.ts'
import { runMigration } from './main.ts'

const KEY = 'an-admin-key-of-this-test'
const id = randomBytes(4).toString('hex')
const [owner, run, keys, database] = ['owner', 'run', 'keys', 'rights'].map((name) => `${name}_${id}`)
const forKeys = ['create-api-key', 'delete-api-key', 'list-api-keys']
const functions = await allFunctions()
const adminUrl = environment().DATABASE_URL ?? ''

/** Makes this process connect to the test's database as a role from now on. */
async function be(role: string | undefined): Promise<void> {
  await Promise.all([closeDatabase(), closeRelay(), closeJobs()])
  const url = new URL(adminUrl)
  if (role) Object.assign(url, { username: role, password: 'secret', pathname: `/${database}` })
  overrideEnvironment({ DATABASE_URL: url.href })
}

/** Runs a migration. Returns the lines that it prints for people, and the exit code. */
async function migrated(settings: Record<string, string | undefined>): Promise<{ lines: string; exitCode: unknown }> {
  const lines: string[] = []
  vi.spyOn(process.stderr, 'write').mockImplementation((line) => lines.push(String(line)) > 0)
  overrideEnvironment({ BOOTSTRAP_API_KEY: KEY, SEED: '1', ...settings })
  await runMigration()
  const { exitCode } = process
  process.exitCode = undefined
  vi.restoreAllMocks()
  return { lines: lines.join(''), exitCode }
}

const refusalOf = (statement: string) =>
  sql.unsafe(statement).then(
    () => 'done',
    (error: { code: string }) => error.code,
  )
const DENIED = '42501'

beforeAll(async () => {
  for (const role of [owner, run, keys]) await sql.unsafe(`create role ${role} login password 'secret'`)
  await sql.unsafe(`create database ${database} owner ${owner}`)
  await be(owner)
  expect(await migrated({ DATABASE_RUN_ROLE: run, DATABASE_KEYS_ROLE: keys })).toEqual({
    lines: '',
    exitCode: undefined,
  })
}, 60_000)

afterAll(async () => {
  await be(undefined)
  overrideEnvironment({
    BOOTSTRAP_API_KEY: undefined,
    SEED: undefined,
    DATABASE_RUN_ROLE: undefined,
    DATABASE_KEYS_ROLE: undefined,
  })
  await sql.unsafe(`drop database ${database} with (force)`)
  for (const role of [owner, run, keys]) await sql.unsafe(`drop role ${role}`)
})

describe('with a role that migrates and roles that run', () => {
  it.each([
    ['run', run, (name: string) => !forKeys.includes(name)],
    ['keys', keys, (name: string) => forKeys.includes(name)],
  ] as const)(
    'every function does its work as its own: %s',
    async (_, role, isOf) => {
      await be(role)
      // From last to first: data that one example leaves behind, such as a limit, must not disturb another.
      for (const definition of functions.filter(({ name }) => isOf(name)).toReversed()) {
        const event = new URL(`../../functions/${definition.name}/event.json`, import.meta.url)
        const response = await invoke(definition, await readInvocation(event), KEY)
        expect([definition.name, response.status, await response.text()]).toEqual([
          definition.name,
          expect.toSatisfy((status: number) => status < 500 && status !== 401 && status !== 403),
          expect.any(String),
        ])
      }
    },
    60_000,
  )

  it.each([
    'create table mine (id int)',
    'create temporary table mine (id int)',
    'create schema mine',
    'alter table products add column mine int',
    'drop table outbox',
    'truncate outbox',
    'update stock_movements set on_hand_after = 0',
    'delete from stock_movements',
    'truncate stock_movements',
    `update api_keys set scopes = '{admin}'`,
    `insert into api_keys (id, name, scopes, prefix, key_hash) values (gen_random_uuid(), 'x', '{admin}', 'x', '\\x00')`,
    'delete from api_keys',
    'delete from revoked_api_keys',
    `insert into schema_migrations (name) values ('9999_mine.sql')`,
  ])('the running role can’t: %s', async (statement) => {
    await be(run)
    expect(await refusalOf(statement)).toBe(DENIED)
    expect(await refusalOf('select 1 from api_keys, stock_movements, products limit 0')).toBe('done')
  })

  it.each([
    'create table mine (id int)',
    'select 1 from products',
    'insert into outbox default values',
    'select secret from webhooks',
    'select 1 from stock_movements',
  ])('the role for API keys can’t: %s', async (statement) => {
    await be(keys)
    expect(await refusalOf(statement)).toBe(DENIED)
  })

  it('a migration that runs again changes nothing, and takes nothing away meanwhile', async () => {
    await be(owner)
    expect(await migrated({ DATABASE_RUN_ROLE: run, DATABASE_KEYS_ROLE: keys })).toMatchObject({ exitCode: undefined })
    await be(run)
    expect(await refusalOf('update products set name = name')).toBe('done')
  })
})

it.each([
  ['one role alone', { DATABASE_RUN_ROLE: run, DATABASE_KEYS_ROLE: undefined }, 'DATABASE_KEYS_ROLE'],
  ['the other one alone', { DATABASE_RUN_ROLE: undefined, DATABASE_KEYS_ROLE: keys }, 'DATABASE_RUN_ROLE'],
  ['the same twice', { DATABASE_RUN_ROLE: run, DATABASE_KEYS_ROLE: run }, 'DATABASE_KEYS_ROLE'],
  ['a role that is not there', { DATABASE_RUN_ROLE: 'nobody_there', DATABASE_KEYS_ROLE: keys }, 'DATABASE_RUN_ROLE'],
  ['the role that migrates', { DATABASE_RUN_ROLE: owner, DATABASE_KEYS_ROLE: keys }, 'DATABASE_RUN_ROLE'],
  ['what is no name', { DATABASE_RUN_ROLE: 'a; drop', DATABASE_KEYS_ROLE: keys }, 'DATABASE_RUN_ROLE'],
])('%s is refused in one line', async (_, settings, name) => {
  await be(owner)
  expect(await migrated(settings)).toEqual({
    lines: expect.stringMatching(new RegExp(`^${name}: [^\n]+\n$`)),
    exitCode: 1,
  })
})
