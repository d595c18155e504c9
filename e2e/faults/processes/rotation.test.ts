import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmod, chown, copyFile, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { ensureBootstrapKey } from '#access'
import { environment, overrideEnvironment } from '#config'
import { closeDatabase, migrate as migrateHere } from '#database'
import { ADMIN_KEY, newKey, newProducts, sql } from '#testing'
import { buildOfAll } from '#testing/builds'
import { inRabbit, rabbitUrl } from '#testing/rabbit'
import { inRedis, redisUrl } from '#testing/redis'
import { type CertificateFiles, certify } from '../../../infra/local/engines/certificate.ts'
import { type RunningRabbit, startRabbit } from '../../../infra/local/engines/rabbitmq.ts'
import { type RunningRedis, startRedis } from '../../../infra/local/engines/redis.ts'
import { type Cluster, startCluster } from '../../../infra/local/postgres/cluster.ts'
import { upstreamVariableOf } from '../../../infra/router/manifest.ts'
import { connect } from '../../../shared/database/connections/connect.ts'
import { type Client, createClient } from '../client.ts'
import { type Fleet, startFleet } from '../fleet.ts'
import { listeningUrl, type Started, startNode } from '../processes.ts'
import { expectEffects, expectPlainAnswers } from './crash-checks.ts'
import { LOADED, type SteadyLoad, startSteadyLoad } from './steady-load.ts'

// Follows docs/runbooks/rotate-secrets.md with two processes of each function behind the router, and clients that send requests all the
// time. None of their requests may fail, not even once.

vi.setConfig({ testTimeout: 180_000, hookTimeout: 120_000 })

const STOCK = 100_000
/** The number of answers in each stage: every process gets dozens of requests. */
const STAGE = 200
const LIST = 'list-api-keys'
const KEYS = [LIST, 'create-api-key', 'delete-api-key']
const JOBS = ['submit-job', 'get-job']

const id = randomBytes(4).toString('hex')
const [owner, run, keys] = ['owner', 'run', 'keys'].map((name) => `rotation_${name}_${id}`) as [string, string, string]
const databaseUrl = environment().DATABASE_URL ?? ''
const BOOTSTRAP = 'the-bootstrap-key-of-this-test'

let client: Client
/** An admin key that no test rotates. */
let apiKey: string
let ownerPassword = 'first'
let productIds: string[]
let fleets: Fleet[] = []
let router: Started | undefined
let routerUrl = ''
let load: SteadyLoad | undefined

/** Returns the URL of the test's database for a role. */
const urlAs = (role: string, password: string) => Object.assign(new URL(databaseUrl), { username: role, password }).href

/** Runs the first step of a deployment: as the owner of the tables, it grants the roles' rights. */
async function migrate(bootstrapKey = BOOTSTRAP): Promise<void> {
  const file = fileURLToPath(new URL('migrate/index.mjs', (await buildOfAll()).dist))
  const env = {
    PATH: process.env.PATH,
    DATABASE_URL: urlAs(owner, ownerPassword),
    DATABASE_RUN_ROLE: run,
    DATABASE_KEYS_ROLE: keys,
    BOOTSTRAP_API_KEY: bootstrapKey,
  }
  await promisify(execFile)(process.execPath, [file], { env, timeout: 60_000 })
}

beforeAll(async () => {
  client = createClient(8)
  for (const role of [owner, run, keys]) await sql.unsafe(`create role ${role} login password 'first'`)
  const [{ name }] = await sql<[{ name: string }]>`select current_database() as name`
  await sql.unsafe(`alter database ${name} owner to ${owner}; grant all on schema public to ${owner};
    do $$ declare name text; begin
      for name in select tablename from pg_tables where schemaname = 'public' loop
        execute format('alter table %I owner to ${owner}', name);
      end loop;
    end $$`)
  await migrate()
  apiKey = await newKey('admin')
  productIds = (await newProducts(5, { initialStock: STOCK })).map(({ id }) => id)
})

afterEach(async () => {
  await load?.stop()
  router?.process.kill('SIGKILL')
  await router?.exit
  await Promise.all(fleets.map((fleet) => fleet.stop()))
  fleets = []
})

afterAll(async () => {
  await client?.close()
  await sql.unsafe(`reassign owned by ${owner} to current_user`)
  for (const role of [`${run}_2`, `${keys}_2`, run, keys, owner])
    await sql.unsafe(`drop owned by ${role}; drop role ${role}`).catch(() => {})
})

/** Starts two processes of each function in the load and in `more`, the router in front of them, and clients that send requests through it. */
async function serve(settingsOf: (name: string) => Record<string, string>, more: string[], key = () => apiKey) {
  const names = [...LOADED, ...more]
  const reads = more.includes(LIST) ? [[LIST, '/v1/api-keys'] as const] : []
  fleets = await Promise.all(names.map((name) => startFleet([name, name], settingsOf(name))))
  const upstreams = fleets.map(({ members }) => {
    const [{ name } = { name: '' }] = members
    return [upstreamVariableOf(name), members.map(({ url }) => url()).join()]
  })
  const file = fileURLToPath(new URL('router/index.mjs', (await buildOfAll()).dist))
  router = startNode(file, { PORT: '0', METRICS_PORT: '0', ...Object.fromEntries(upstreams) })
  routerUrl = await listeningUrl(router)
  load = startSteadyLoad({ client, productIds: [...productIds], urlsOf: () => [routerUrl], reads, key })
  await load.answers(STAGE)
  return load
}

/** Drains one process after the other, and starts each again with other settings at its old address. */
async function roll(settingsOf: (name: string) => Record<string, string>): Promise<void> {
  for (const which of [0, 1]) {
    await Promise.all(
      fleets.map(async ({ members }) => {
        const member = members[which]
        if (!member) return
        const { port } = new URL(member.url())
        await member.drain()
        await member.restart({ ...settingsOf(member.name), PORT: port })
      }),
    )
    await load?.answers(STAGE)
  }
}

/** Ends the load. Fails if any request failed, or if any acknowledged write is lost. */
async function expectUndisturbed(): Promise<void> {
  await load?.stop()
  expect(load?.failures.slice(0, 3)).toEqual([])
  expectPlainAnswers(load?.answered ?? [])
  const [{ held }] = await sql<[{ held: number }]>`
    select count(*)::int as held from reservations where state = 'held' and reference = any(${referencesOf(load)})`
  expect(held).toBe(0)
}

const referencesOf = ({ answered = [] }: Partial<SteadyLoad> = {}) =>
  answered.filter(({ kind }) => kind === 'reserve').map(({ write }) => write.key)

/** Returns the result of a new connection of a role. */
async function logIn(role: string, password: string): Promise<string> {
  const other = connect(urlAs(role, password), { max: 1 })
  const met = await other`select 1`.then(
    () => 'let in',
    (error: { code: string }) => error.code,
  )
  await other.end()
  return met
}
const REFUSED = '28P01'

it('of the database’s roles: no request fails', async () => {
  const isOfKeys = (name: string) => KEYS.includes(name)
  await serve((name) => ({ DATABASE_URL: urlAs(isOfKeys(name) ? keys : run, 'first') }), [LIST])
  for (const role of [run, keys]) await sql.unsafe(`create role ${role}_2 login password 'second' in role ${role}`)
  await roll((name) => ({ DATABASE_URL: urlAs(`${isOfKeys(name) ? keys : run}_2`, 'second') }))
  for (const role of [run, keys]) await sql.unsafe(`alter role ${role} password null`)
  expect([await logIn(run, 'first'), await logIn(`${run}_2`, 'second')]).toEqual([REFUSED, 'let in'])
  // Only migrations need the owner's password.
  ownerPassword = 'second'
  await sql.unsafe(`alter role ${owner} password '${ownerPassword}'`)
  await migrate()
  await load?.answers(STAGE)

  // Back to the first logins, at the next rotation.
  for (const role of [run, keys]) await sql.unsafe(`alter role ${role} password 'third'`)
  await roll((name) => ({ DATABASE_URL: urlAs(isOfKeys(name) ? keys : run, 'third') }))
  for (const role of [run, keys]) await sql.unsafe(`alter role ${role}_2 password null`)
  expect([await logIn(run, 'third'), await logIn(`${run}_2`, 'second')]).toEqual(['let in', REFUSED])
  await load?.answers(STAGE)
  await expectUndisturbed()
  await ensureBootstrapKey(ADMIN_KEY)
  await expectEffects(load?.answered ?? [], productIds, STOCK)
})

describe.skipIf(redisUrl === undefined)(`of the cache ${inRedis}`, () => {
  let redis: RunningRedis
  beforeAll(async () => {
    redis = await startRedis({ configuration: { requirepass: 'first' } })
  })
  afterAll(() => redis?.stop())

  it('no request fails, and none goes without the cache', async () => {
    const port = new URL(redis.url).port
    const withPassword = (password: string) => () => ({ CACHE_URL: `redis://:${password}@127.0.0.1:${port}` })
    const operator = new Redis({ port: Number(port), host: '127.0.0.1', password: 'first' })
    await serve(withPassword('first'), [])
    await operator.acl('SETUSER', 'default', '>second')
    await roll(withPassword('second'))
    await operator.acl('SETUSER', 'default', '<first')
    // Existing connections stay. A new connection needs the new password.
    await operator.call('client', 'kill', 'type', 'normal', 'skipme', 'yes')
    await load?.answers(STAGE)
    await operator.quit()
    await expectUndisturbed()
    const complaints = fleets.flatMap(({ members }) => members.flatMap((member) => member.lines()))
    expect(complaints.filter((line) => /WRONGPASS|NOAUTH|refuses the user/.test(line))).toEqual([])
    const late = new Redis({ port: Number(port), host: '127.0.0.1', password: 'first', retryStrategy: () => null })
    late.on('error', () => {})
    await expect(late.ping()).rejects.toThrow()
    late.disconnect()
  })
})

describe.skipIf(rabbitUrl === undefined)(`of the jobs’ broker ${inRabbit}`, () => {
  let rabbit: RunningRabbit
  beforeAll(async () => {
    rabbit = await startRabbit()
    await rabbit.control('add_user', 'stock', 'first')
    await rabbit.control('set_permissions', 'stock', '.*', '.*', '.*')
  })
  afterAll(() => rabbit?.stop())

  it('no request fails, and every job is done', async () => {
    const withPassword = (password: string) => () => ({
      JOBS_URL: `amqp://stock:${password}@${new URL(rabbit.url).host}`,
    })
    const jobs: string[] = []
    const submit = async () => {
      const write = { path: '/v1/jobs', body: { type: 'verify-ledger', payload: {} }, key: crypto.randomUUID(), apiKey }
      const answer = await client.send(routerUrl, write)
      expect(answer?.status, answer?.text).toBe(202)
      jobs.push(JSON.parse(answer?.text ?? '{}').id)
    }
    await serve(withPassword('first'), [...JOBS, 'dispatch-jobs', 'process-job'])
    await submit()
    await rabbit.control('change_password', 'stock', 'second')
    await submit()
    await roll(withPassword('second'))
    await submit()
    await vi.waitFor(
      async () => {
        const states = await sql`select state from jobs where id = any(${jobs}::uuid[])`
        expect(states.map(({ state }) => state)).toEqual(jobs.map(() => 'succeeded'))
      },
      { timeout: 30_000, interval: 100 },
    )
    await expectUndisturbed()
  })
})

describe('of the database’s certificate and its authority', () => {
  let cluster: Cluster
  let folder: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'stock-certificates-'))
    cluster = await startCluster({ dataDir: join(folder, 'data'), replica: false, fsync: false })
    await moveTo(cluster.primaryUrl)
    await migrateHere()
    await ensureBootstrapKey(ADMIN_KEY)
  }, 120_000)
  afterAll(async () => {
    await moveTo(databaseUrl)
    await cluster?.stop()
    await rm(folder, { recursive: true, force: true })
  })

  const moveTo = async (url: string) => {
    overrideEnvironment({ DATABASE_URL: url })
    await closeDatabase()
  }
  const certifyIn = async (name: string) => {
    await mkdir(join(folder, name))
    return certify(join(folder, name))
  }
  const urlBy = (authority: string) => `${cluster.primaryUrl}?sslmode=verify-full&sslrootcert=${authority}`

  /** Gives the server another certificate, for all connections from now on. */
  async function present({ certificate, key }: CertificateFiles): Promise<void> {
    const [{ data }] = await sql<[{ data: string }]>`select current_setting('data_directory') as data`
    const { uid, gid } = await stat(data)
    for (const [from, name] of [[certificate, 'server.crt'] as const, [key, 'server.key'] as const]) {
      await copyFile(from, join(data, name))
      await chown(join(data, name), uid, gid)
      await chmod(join(data, name), 0o600)
    }
    await sql`alter system set ssl = on`
    await sql`select pg_reload_conf()`
  }

  it('no request fails while both authorities are good, and the old one is not afterwards', async () => {
    const [old, next] = [await certifyIn('old'), await certifyIn('next')]
    await present(old)
    const trusted = join(folder, 'trusted.pem')
    await writeFile(trusted, (await readFile(old.authority, 'utf8')) + (await readFile(next.authority, 'utf8')))
    const before = { apiKey, productIds }
    try {
      apiKey = await newKey('admin')
      productIds = (await newProducts(5, { initialStock: STOCK })).map(({ id }) => id)
      await serve(() => ({ DATABASE_URL: urlBy(trusted) }), [])
      await present(next)
      await load?.answers(STAGE)
      await copyFile(next.authority, trusted)
      await roll(() => ({ DATABASE_URL: urlBy(trusted) }))
      await expectUndisturbed()
      await expectEffects(load?.answered ?? [], productIds, STOCK)
    } finally {
      ;({ apiKey, productIds } = before)
    }
    const connected = async (authority: string) => {
      const other = connect(urlBy(authority), { max: 1 })
      return other`select ssl from pg_stat_ssl where pid = pg_backend_pid()`
        .then(
          ([row]) => row?.ssl,
          (error: { code: string }) => error.code,
        )
        .finally(() => other.end())
    }
    expect(await connected(next.authority)).toBe(true)
    expect(await connected(old.authority)).toMatch(/CERT|SIGNATURE/)
  })
})

describe('of API keys', () => {
  const post = async (path: string, body: object, apiKey: string) => {
    const answer = await client.send(routerUrl, { path, body, apiKey })
    expect(answer?.status, answer?.text).toBe(201)
    return JSON.parse(answer?.text ?? '{}') as { id: string; key: string }
  }
  const ask = async (key: string) =>
    (await fetch(`${routerUrl}/v1/api-keys`, { headers: { authorization: `Bearer ${key}` } })).status

  it('no request fails, and the old ones are refused afterwards, that of the first start too', async () => {
    await migrate()
    let current = BOOTSTRAP
    await serve(
      () => ({ DATABASE_URL: databaseUrl }),
      KEYS,
      () => current,
    )
    // A client's own key: makes a second key, and then deletes the first.
    const first = await post('/v1/api-keys', { name: 'shop', scopes: ['admin'] }, BOOTSTRAP)
    current = first.key
    await load?.answers(STAGE)
    // The bootstrap key has one value at a time, so its users first move to a key of their own.
    await migrate('another-bootstrap-key-of-this-test')
    await load?.answers(STAGE)
    await vi.waitFor(async () => expect(await ask(BOOTSTRAP)).toBe(401), { timeout: 10_000, interval: 100 })
    const second = await post('/v1/api-keys', { name: 'shop', scopes: ['admin'] }, first.key)
    current = second.key
    // Requests with the old key are still in flight.
    await load?.answers(STAGE)
    const deleted = await fetch(`${routerUrl}/v1/api-keys/${first.id}`, {
      method: 'DELETE',
      headers: { authorization: `Bearer ${second.key}` },
    })
    expect(deleted.status).toBe(204)
    await load?.answers(STAGE)
    await vi.waitFor(async () => expect(await ask(first.key)).toBe(401), { timeout: 10_000, interval: 100 })
    expect(await ask('another-bootstrap-key-of-this-test')).toBe(200)
    await expectUndisturbed()
  })
})
