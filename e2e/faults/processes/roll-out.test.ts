import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { ensureBootstrapKey } from '#access'
import { environment, overrideEnvironment } from '#config'
import { closeDatabase } from '#database'
import { ADMIN_KEY, sql } from '#testing'
import { buildOfAll } from '#testing/builds'
import { type Client, createClient } from '../client.ts'
import { type Fleet, startFleet } from '../fleet.ts'
import { expectNothingLeft } from '../nothing-left.ts'
import { expectEffects, expectPlainAnswers, expectReplays } from './crash-checks.ts'
import { buildCommit, buildEdited, previousCommit, type Release } from './releases.ts'
import { LOADED, startSteadyLoad } from './steady-load.ts'

// Follows docs/releasing.md: the functions of two releases at once on one database, under load, forwards and back.

vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 })

const STOCK = 100_000
/** The number of answers in each stage: enough that each function gets dozens of requests. */
const STAGE = 300
const BACKGROUND = ['publish-events', 'detect-low-stock', 'process-job', 'expire-reservations']
const ALL = [...LOADED, 'create-product', 'submit-job', 'get-job', ...BACKGROUND]

let home: string
let admin: ReturnType<typeof adminOf>
let client: Client
const database = `roll_out_${process.pid}`
const fleets: Fleet[] = []

beforeAll(() => {
  home = environment().DATABASE_URL ?? ''
})

/** From now on, the service uses an empty database. */
beforeEach(async () => {
  admin = adminOf(home)
  await admin.use(database)
  client = createClient(8)
})
afterEach(async () => {
  await Promise.all(fleets.splice(0).map((fleet) => fleet.stop()))
  await client.close()
  await admin.drop(database)
})

function adminOf(url: string) {
  return {
    async use(name: string) {
      await sql.unsafe(`create database ${name}`)
      await closeDatabase()
      overrideEnvironment({ DATABASE_URL: Object.assign(new URL(url), { pathname: `/${name}` }).href })
    },
    async drop(name: string) {
      await closeDatabase()
      overrideEnvironment({ DATABASE_URL: url })
      await sql.unsafe(`drop database ${name} with (force)`)
    },
  }
}

/** Runs a release's migrations as its deployment does. Returns their output. */
async function migrateTo(dist: URL): Promise<string> {
  const env = { PATH: process.env.PATH, DATABASE_URL: environment().DATABASE_URL, BOOTSTRAP_API_KEY: ADMIN_KEY_OF_16 }
  const file = fileURLToPath(new URL('migrate/index.mjs', dist))
  const { stdout } = await promisify(execFile)(process.execPath, [file], { env, timeout: 60_000 })
  return stdout
}
const ADMIN_KEY_OF_16 = `${ADMIN_KEY}-0123456789`

async function start(dist: URL): Promise<Fleet> {
  const fleet = await startFleet(ALL, {}, dist)
  fleets.push(fleet)
  return fleet
}

/** Ends all processes of a fleet as a deployment does. */
const drain = (fleet: Fleet) => Promise.all(fleet.members.map((member) => member.drain()))

const urlOf = (fleet: Fleet, name: string) => fleet.of(name)[0]?.url() ?? ''

async function postTo(fleet: Fleet, name: string, path: string, body: object): Promise<{ id: string }> {
  const write = { path, body, apiKey: ADMIN_KEY_OF_16, key: crypto.randomUUID() }
  const answer = await client.sendUntilAnswered(() => urlOf(fleet, name), write)
  if (answer.status >= 300) throw new Error(`${name}: ${answer.text}`)
  return JSON.parse(answer.text)
}

const makeProducts = (fleet: Fleet, prefix: string) =>
  Promise.all(
    Array.from({ length: 5 }, (_, index) => {
      const description = `of ${prefix}`
      const product = { sku: `${prefix}-${index}`, name: 'Tea', description, initialStock: STOCK, lowStockThreshold: 1 }
      return postTo(fleet, 'create-product', '/v1/products', product)
    }),
  ).then((products) => products.map(({ id }) => id))

const submitJob = (fleet: Fleet) =>
  postTo(fleet, 'submit-job', '/v1/jobs', { type: 'verify-ledger', payload: {} }).then(({ id }) => id)

interface Steps {
  /** Runs on the new schema, before there are new functions. */
  fill?: () => Promise<void>
  /** Runs once the old functions have ended for good. */
  contract?: () => Promise<void>
}

/**
 * Takes a database from `old` to `next` and back and forth under load: first the schema, then both releases at once, then only the old
 * one again, then only the new one.
 */
async function rollOut(old: URL, next: URL, { fill, contract }: Steps = {}): Promise<void> {
  await migrateTo(old)
  const oldFleet = await start(old)
  const productIds = await makeProducts(oldFleet, 'old')
  const jobs = [await submitJob(oldFleet)]
  let serving = [oldFleet]
  const load = startSteadyLoad({
    client,
    productIds,
    urlsOf: (name) => serving.flatMap((fleet) => fleet.of(name).map(({ url }) => url())),
    isRight: ({ description }) => description === 'of old',
    key: () => ADMIN_KEY_OF_16,
  })
  try {
    await load.answers(STAGE)
    // The old functions run on the new schema, while it changes and afterwards.
    const migrating = migrateTo(next)
    jobs.push(await submitJob(oldFleet))
    // The schema is already up to date if no migration is newer than the last release.
    expect(await migrating).toMatch(/the schema (was brought|is) up to date/)
    await fill?.()
    await load.answers(STAGE)

    // Both releases at once.
    const nextFleet = await start(next)
    serving = [oldFleet, nextFleet]
    jobs.push(await submitJob(oldFleet), await submitJob(nextFleet))
    await load.answers(2 * STAGE)
    const made = await makeProducts(nextFleet, 'next')

    // Back: the old functions can use the data that the new ones have written.
    serving = [oldFleet]
    await drain(nextFleet)
    expect(await descriptionAt(oldFleet, made[0] ?? '')).toBe('of next')
    await load.answers(STAGE)

    // Forward again, for good.
    const again = await start(next)
    serving = [again]
    await drain(oldFleet)
    await contract?.()
    await load.answers(STAGE)
    expect(await descriptionAt(again, made[0] ?? '')).toBe('of next')
    jobs.push(await submitJob(again))
    await load.stop()
    expect(load.failures.slice(0, 3)).toEqual([])
    expectPlainAnswers(load.answered)
    await expectReplays(load.answered.slice(-50).concat(load.answered.slice(0, 50)), again, client)
    await expectNothingLeft(jobs)
    await ensureBootstrapKey(ADMIN_KEY)
    await expectEffects(load.answered, productIds, STOCK)
  } finally {
    await load.stop()
  }
}

async function descriptionAt(fleet: Fleet, productId: string): Promise<unknown> {
  const url = `${urlOf(fleet, 'get-product')}/v1/products/${productId}`
  const response = await fetch(url, { headers: { authorization: `Bearer ${ADMIN_KEY_OF_16}` } })
  return ((await response.json()) as { description?: unknown }).description
}

const commit = await previousCommit()

describe.skipIf(commit === undefined)(
  `this release beside the one before, ${commit ?? '(skipped: this clone has no history)'}`,
  () => {
    let previous: Release | undefined
    beforeAll(async () => {
      previous = await buildCommit(commit ?? '', ALL)
    })
    afterAll(() => previous?.remove())

    it('serves under load while the schema, then the functions change, and back', async () => {
      if (!previous) throw new Error('it was not built')
      await rollOut(previous.dist, (await buildOfAll()).dist)
    })
  },
)

describe('this release beside one that changes more', () => {
  // A column gets another name, and an index is added, in the steps of docs/releasing.md.
  const folder = 'shared/database/migrations'
  const EXPAND = `
    alter table products add column details text;
    create function keep_details() returns trigger language plpgsql as $$
    begin
      if tg_op = 'INSERT' then
        new.details := coalesce(new.details, new.description);
        new.description := new.details;
      elsif new.details is distinct from old.details then new.description := new.details;
      else new.details := new.description;
      end if;
      return new;
    end $$;
    create trigger keep_details before insert or update on products for each row execute function keep_details();`
  const INDEX = 'create index concurrently if not exists movements_by_actor on stock_movements (actor, occurred_at);'
  const CONTRACT = `
    drop trigger keep_details on products;
    drop function keep_details();
    alter table products drop column description;`
  const edits = [
    ['shared/products/product-rows.ts', 'product.description,', 'product.details as description,'],
    ['shared/products/catalogue.ts', 'sku, name, description, price_amount,', 'sku, name, details, price_amount,'],
    ['shared/products/catalogue.ts', '}, description = ', '}, details = '],
  ] as const

  let next: Release
  beforeAll(async () => {
    const migrations = { [`${folder}/9001_details.sql`]: EXPAND, [`${folder}/9002_by_actor.sql`]: INDEX }
    next = await buildEdited(ALL, migrations, edits)
  })
  afterAll(() => next?.remove())

  it('serves under load through expand, fill, both at once, back, and contract', async () => {
    const { dist } = await buildOfAll()
    await rollOut(dist, next.dist, {
      // In bounded steps, like a job.
      fill: async () => {
        for (let filled = 1; filled > 0; ) {
          ;({ count: filled } = await sql`
            update products set details = description where id in (
              select id from products where details is distinct from description order by id limit 3 for update)`)
        }
      },
      contract: async () => {
        await writeFile(new URL('migrate/migrations/9003_contract_details.sql', next.dist), CONTRACT)
        expect(await migrateTo(next.dist)).toContain('9003_contract_details.sql')
      },
    })
    const [index] = await sql`select indisvalid from pg_index where indexrelid = to_regclass('movements_by_actor')`
    expect(index).toEqual({ indisvalid: true })
  })
})
