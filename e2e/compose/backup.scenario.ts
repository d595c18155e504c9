import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createShopClient, type ShopClient } from './client.ts'
import { type Compose, engineMissing, newCompose } from './compose.ts'
import { type Operator, openOperator } from './operator.ts'
import { expectNothingLost, newProduct, openShop, type Shop } from './shop.ts'

// Runs the commands of docs/runbooks/backup-and-restore.md exactly as written, in this order: backups begin, somebody makes a mistake, and the
// moment before it is restored. Then the primary is lost, and backups continue from the other server.

const missing = await engineMissing()
if (missing) process.stdout.write(`skipped: no container engine with Compose answers (${missing})\n`)

const PAGE = 'backup-and-restore.md'
const CONNECTIONS = 64
const RESERVATIONS = 200
/** The moment in the page's commands, for which the scenario puts its own. */
const MOMENT = /\b2026-11-29T14:05:10Z\b/g

let compose: Compose
let operator: Operator
let client: ShopClient
let before: Shop
let forgotten: string

const eventually = <T>(check: () => Promise<T>) => expect.poll(check, { timeout: 180_000, interval: 1_000 })
const backup = (...args: string[]) => operator.enter(`docker compose exec -T backup backup ${args.join(' ')}`)
/** Changes commands of the page so that they run without a terminal. */
const withoutTerminal = (commands: string) =>
  commands.replaceAll('docker compose exec backup', 'docker compose exec -T backup')

describe.skipIf(missing !== undefined)('a backup in containers', () => {
  beforeAll(async () => {
    compose = await newCompose()
    operator = await openOperator(compose)
    client = createShopClient(compose.url, compose.key, CONNECTIONS)
  })
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') await operator.enter('docker compose logs --no-color --timestamps >&2')
  })
  afterAll(async () => {
    await client?.close()
    await operator.leave()
  })

  it('is made within minutes of the beginning, and found sound', async () => {
    const [commands = ''] = await operator.commandsOf(PAGE, '## Begin with backups')
    await operator.enter(withoutTerminal(commands))
    await eventually(() => backup('list')).toContain('full')
    expect(await backup('verify')).toContain('sound')
  })

  it('brings back the moment before a hand slipped, and nothing of after it', async () => {
    before = await openShop(client)
    await before.more(RESERVATIONS)
    await before.close()
    // The moment is the next second: all writes of the shop are before it, and the writes that follow are after it.
    const moment = await compose.sql(
      `select to_char(date_trunc('second', now() at time zone 'utc') + interval '1 s', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')`,
    )
    await compose.sql('select pg_sleep(2)')
    forgotten = await newProduct(client, 1)
    const [look = '', restore = '', resume = ''] = await operator.commandsOf(PAGE, '## Restore')
    const toMoment = (commands: string) => withoutTerminal(commands.replaceAll(MOMENT, moment))
    expect(await operator.enter(toMoment(look))).toContain(moment.slice(0, 16))
    process.stdout.write(`${await operator.enter(toMoment(restore))}\n`)
    // By a client of its own: a shop's client may not get such an answer.
    const asking = createShopClient(compose.url, compose.key, 1)
    const found = await asking.sendUntilAnswered({ method: 'GET', path: `/v1/products/${forgotten}` })
    await asking.close()
    expect([found.status, found.code]).toEqual([404, 'product_not_found'])
    process.stdout.write(`${await operator.enter(withoutTerminal(resume))}\n`)
    await expectNothingLost(client, before.ledger)
  })

  it('leaves a service that sells, whose replica follows and whose next drill succeeds', async () => {
    const shop = await openShop(client)
    await shop.more(RESERVATIONS)
    await shop.close()
    await expectNothingLost(client, shop.ledger)
    await eventually(() => compose.sql(`select count(*) from pg_stat_replication where state = 'streaming'`)).toBe('1')
    process.stdout.write(`${await backup('drill')}\n`)
    expect(await backup('verify')).toContain('sound')
  })

  it('goes on from the other server after a fail-over', async () => {
    await operator.enter('docker compose kill postgres-primary && npm run -s failover')
    const sold = await client.sendUntilAnswered({
      method: 'POST',
      path: '/v1/reservations',
      body: { lines: [{ productId: await newProduct(client, 9), quantity: 1 }] },
      key: randomUUID(),
    })
    expect(sold.status).toBe(201)
    expect(await backup('now', '--type', 'full')).toContain('full')
    expect(await backup('verify')).toContain('sound')
  })
})
