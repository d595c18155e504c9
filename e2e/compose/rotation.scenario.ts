import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createShopClient, type ShopClient } from './client.ts'
import { type Compose, engineMissing, newCompose } from './compose.ts'
import { type Operator, openOperator } from './operator.ts'
import { expectNothingLost, openShop, SHOP_SERVICES } from './shop.ts'

// Runs the commands of docs/runbooks/rotate-secrets.md exactly as written, while a shop sells. None of the shop's requests may fail.

const missing = await engineMissing()
if (missing) process.stdout.write(`skipped: no container engine with Compose answers (${missing})\n`)

const PAGE = 'rotate-secrets.md'
const CONNECTIONS = 64
/** Not all services: each is replaced four times, and takes six seconds or more. */
const SERVICES = [...SHOP_SERVICES, 'list-api-keys', 'create-api-key'].join(' ')
/** The number of acknowledged reservations before and after a rotation: enough to reach each process. */
const RESERVATIONS = 50

let compose: Compose
let operator: Operator
let client: ShopClient

/** Follows a section of the page under load, except for the exporters, which these containers do not include. */
async function follow(heading: string): Promise<void> {
  const lines = (await operator.commandsOf(PAGE, heading)).join('').split('\n')
  const shop = await openShop(client)
  await shop.more(RESERVATIONS)
  await operator.enter(lines.filter((line) => !line.includes('exporter')).join('\n'))
  await shop.more(RESERVATIONS)
  await shop.close()
  expect([...client.answers.keys()].filter((answer) => !answer.startsWith('20'))).toEqual([])
  await expectNothingLost(client, shop.ledger)
}

/** Returns the result of a login by password over the network. */
const logIn = (role: string, password: string, database = 'dbname=stock') =>
  compose
    .run(
      ...['exec', '-T', '-e', `PGPASSWORD=${password}`, 'postgres-primary'],
      ...['psql', `host=postgres-primary user=${role} ${database}`, '-XAtc', 'show server_version_num'],
    )
    .then(
      () => 'let in',
      (error: Error) => /password authentication failed/.exec(error.message)?.[0] ?? error.message,
    )

async function expectRotated(role: string, variable: string, old: string, database?: string): Promise<void> {
  expect(await operator.settingOf(variable), variable).not.toBe(old)
  expect(await logIn(role, old, database), `${role} by its old password`).toBe('password authentication failed')
}

const statusWith = async (key: string) =>
  (await fetch(`${compose.url}/v1/api-keys`, { headers: { authorization: `Bearer ${key}` } })).status

describe.skipIf(missing !== undefined)('rotating', () => {
  beforeAll(async () => {
    compose = await newCompose()
    operator = await openOperator(compose, [PAGE, 'Besides the commands of [README.md](README.md):'])
  })
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') await compose.keepLogs()
  })
  afterAll(async () => {
    await client?.close()
    await operator.leave()
  })

  it('begins with a service that sells, to a client with a key of its own', async () => {
    await operator.enter(`docker compose up --detach --wait --wait-timeout 300 --build ${SERVICES}`)
    const first = createShopClient(compose.url, compose.key, 1)
    const body = { name: 'shop', scopes: ['admin'] }
    const made = await first.sendUntilAnswered({ method: 'POST', path: '/v1/api-keys', body, key: randomUUID() })
    expect(made.status).toBe(201)
    await first.close()
    client = createShopClient(compose.url, String(made.body.key), CONNECTIONS)
  })

  it('the logins of the functions, there and back', async () => {
    for (const login of ['', '_2']) {
      const run = await operator.settingOf('DATABASE_PASSWORD')
      const keys = await operator.settingOf('DATABASE_KEYS_PASSWORD')
      await follow('## The roles of the functions')
      await expectRotated(`stock_run${login}`, 'DATABASE_PASSWORD', run)
      await expectRotated(`stock_keys${login}`, 'DATABASE_KEYS_PASSWORD', keys)
    }
  })

  it('the passwords of the owner, of what measures, of the replica and of the superuser', async () => {
    const owner = await operator.settingOf('DATABASE_OWNER_PASSWORD')
    const monitor = await operator.settingOf('DATABASE_MONITOR_PASSWORD')
    const replication = await operator.settingOf('REPLICATION_PASSWORD')
    await follow('## The other roles')
    await operator.enter(`alter_role postgres "password '$(new)'"`)
    await expectRotated('stock', 'DATABASE_OWNER_PASSWORD', owner)
    await expectRotated('stock_monitor', 'DATABASE_MONITOR_PASSWORD', monitor)
    await expectRotated('replicator', 'REPLICATION_PASSWORD', replication, 'replication=true')
    expect(await logIn('stock', await operator.settingOf('DATABASE_OWNER_PASSWORD'))).toBe('let in')
    expect(await logIn('stock_monitor', await operator.settingOf('DATABASE_MONITOR_PASSWORD'))).toBe('let in')
    // The replica uses the new password, since its container was made anew.
    expect(await compose.sql('select count(*) from pg_stat_replication')).toBe('1')
  })

  it('the password of Redis', async () => {
    const old = await operator.settingOf('REDIS_PASSWORD')
    await follow('## Redis')
    const ping = (password: string) =>
      compose.run('exec', '-T', '-e', `REDISCLI_AUTH=${password}`, 'redis', 'redis-cli', 'ping')
    expect(await ping(old)).toContain('NOAUTH')
    expect(await ping(await operator.settingOf('REDIS_PASSWORD'))).toBe('PONG')
  })

  it('the password of RabbitMQ', async () => {
    const old = await operator.settingOf('RABBITMQ_PASSWORD')
    await follow('## RabbitMQ')
    const authenticate = (password: string) =>
      compose.run('exec', '-T', 'rabbitmq', 'rabbitmqctl', 'authenticate_user', 'stock', password)
    await expect(authenticate(old)).rejects.toThrow('failed to authenticate')
    await authenticate(await operator.settingOf('RABBITMQ_PASSWORD'))
  })

  it('the bootstrap key', async () => {
    expect(await statusWith(compose.key)).toBe(200)
    await follow('## API keys')
    await expect.poll(() => statusWith(compose.key), { timeout: 15_000, interval: 500 }).toBe(401)
    expect(await statusWith(await operator.settingOf('BOOTSTRAP_API_KEY'))).toBe(200)
  })
})
