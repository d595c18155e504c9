import { afterEach, describe, expect, it } from 'vitest'
import { ConfigError, environment, overrideEnvironment } from '#config'
import { closeDatabase, migrate, requireSupportedServer, systemContext, transaction } from '#database'
import { submitJob } from '#jobs'
import { call, expectConsistent, functionNamed, newKey, newProduct, runQueued, sql } from '#testing'
import { ensurePgBouncer, startPgBouncer } from '../../../infra/local/engines/pgbouncer.ts'

const { DATABASE_URL: direct = '' } = environment()
const name = new URL(direct).pathname.slice(1)
let why: string | undefined
/** The usual value of ignore_startup_parameters. */
const IGNORING =
  'statement_timeout, lock_timeout, idle_in_transaction_session_timeout, random_page_cost, jit, IntervalStyle, bytea_output, extra_float_digits, array_nulls, transform_null_equals, row_security, default_transaction_isolation, default_transaction_read_only, default_transaction_deferrable'
const bouncers: Array<{ stop: () => Promise<void> }> = []

try {
  await ensurePgBouncer((line) => process.stdout.write(`${line}\n`))
} catch (error) {
  if (environment().CI) throw error
  why = (error as Error).message
}

/** Makes the service use a PgBouncer from now on, with its packaged settings except for these. */
async function goThrough(settings: Record<string, string>, parameters: string): Promise<void> {
  const bouncer = await startPgBouncer(direct, settings)
  bouncers.push(bouncer)
  await closeDatabase()
  overrideEnvironment({ DATABASE_URL: `${bouncer.url}${parameters}` })
}

async function goDirectly(): Promise<void> {
  await closeDatabase()
  overrideEnvironment({ DATABASE_URL: direct })
  await Promise.all(bouncers.splice(0).map((bouncer) => bouncer.stop()))
}

describe.skipIf(why !== undefined)(`PgBouncer in transaction mode${why ? ` (${why})` : ''}`, () => {
  afterEach(goDirectly)

  it.each([
    ['with its packaged settings', {}, 'refuses'],
    ['told to ignore what it does not know', { ignore_startup_parameters: IGNORING }, 'drops'],
  ])('%s is refused in one line where the URL does not tell of it', async (_, settings, does) => {
    await goThrough(settings, '')
    const line = `DATABASE_URL: leads to a pooler that ${does} settings: add pgbouncer=true to it, or name the server itself`
    await expect(requireSupportedServer()).rejects.toEqual(new ConfigError(line))
    await expect(migrate()).rejects.toEqual(new ConfigError(line))
  })

  it('is no way to a replica', async () => {
    await closeDatabase()
    overrideEnvironment({ DATABASE_REPLICA_URL: `${direct}?pgbouncer=true` })
    await expect(migrate()).rejects.toThrow(
      'DATABASE_REPLICA_URL: must name the replica itself, without pgbouncer=true',
    )
    overrideEnvironment({ DATABASE_REPLICA_URL: undefined })
  })

  it('says what a role needs whose own settings would have values read wrong', async () => {
    await sql.unsafe(`alter database ${name} set bytea_output = 'escape'`)
    await goThrough({}, '?pgbouncer=true')
    await expect(requireSupportedServer()).rejects.toThrow("alter role … set bytea_output = 'hex'")
    await goDirectly()
    await sql.unsafe(`alter database ${name} reset bytea_output`)
  })

  it('serves where the URL tells of it: keys, reads, writes, groups, jobs and migrations, over fewer connections than there are callers', async () => {
    await goThrough({ default_pool_size: '3' }, '?pgbouncer=true')
    await requireSupportedServer()
    expect(await migrate()).toEqual([])
    const [weak, admin] = [await newKey('products:read'), await newKey('admin')]
    const { id: productId } = await newProduct({ initialStock: 1_000 })
    const [list, get, reserve, adjust] = await Promise.all(
      ['list-api-keys', 'get-product', 'reserve-stock', 'adjust-stock'].map(functionNamed),
    )
    if (!list || !get || !reserve || !adjust) throw new Error('a function is missing')
    for (let round = 0; round < 5; round++) {
      const answers = await Promise.all(
        Array.from({ length: 30 }, (_, index) => [
          call(list, { key: weak }),
          call(list, { key: admin }),
          call(get, { params: { productId } }),
          call(reserve, {
            body: { lines: [{ productId, quantity: 1 }] },
            headers: { 'idempotency-key': `r-${round}-${index}` },
          }),
          call(adjust, { params: { productId }, body: { quantity: 1, reason: 'received' } }),
        ]).flat(),
      )
      expect(answers.map(({ status }) => status)).toEqual(
        Array.from({ length: 30 }, () => [403, 200, 200, 201, 201]).flat(),
      )
    }
    const job = await submitJob({ type: 'verify-ledger', payload: {} }, systemContext('function:test'))
    expect(await runQueued(job.id)).toMatchObject({ status: 200 })
    const bound = await transaction(systemContext('function:test'), async (tx) => {
      const [row] = await tx`select current_setting('statement_timeout') as timeout`
      return row
    })
    expect(bound).toEqual({ timeout: '10s' })
    await expectConsistent()
  })
})
