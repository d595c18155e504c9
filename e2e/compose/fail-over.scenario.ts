import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createShopClient, type ShopClient } from './client.ts'
import { type Compose, docker, engineMissing, newCompose, pause } from './compose.ts'
import { expectNothingLost, findLost, openShop, SHOP_SERVICES, type Shop } from './shop.ts'

// The servers of docker-compose.yml change places while a shop runs: after the loss of one, and by a switch. The steps run in this order, in
// a separate project.

const missing = await engineMissing()
if (missing) process.stdout.write(`skipped: no container engine with Compose answers (${missing})\n`)

type Server = 'postgres-primary' | 'postgres-replica'

const CONNECTIONS = 64
/** The promised time from the loss of the primary to the first write that succeeds again. */
const SERVED_MAX_MS = 30_000
const WRITES = 150

let compose: Compose
let client: ShopClient

const eventually = <T>(check: () => Promise<T>) => expect.poll(check, { timeout: 60_000, interval: 200 })
const container = (server: Server) => `${compose.project}-${server}-1`
const logOf = (server: Server) => compose.run('logs', '--no-log-prefix', server)
/** Whether a server accepts writes; undefined if it does not answer. */
const takesWrites = (server: Server) =>
  compose.sql('select not pg_is_in_recovery()', server).then(
    (answer) => answer === 't',
    () => undefined,
  )
/** Runs a command on the volume of a stopped server. */
const onVolume = (server: Server, command: string) =>
  compose.run('run', '--rm', '--no-deps', '-T', '--entrypoint', 'bash', server, '-euc', command)

/** Runs `npm run failover`. Prints how long it took, and how long no write succeeded: from the last on one timeline to the first on the next. */
async function failOver(shop: Shop, what: string, ...args: string[]): Promise<void> {
  const before = Math.max(...shop.ledger.acknowledged.keys())
  const startedAt = performance.now()
  process.stdout.write(`${await compose.script('failover', ...args)}\n`)
  const scriptMs = performance.now() - startedAt
  await shop.more(WRITES)
  const lastAt = shop.ledger.acknowledged.get(before)?.lastAt ?? Number.NaN
  const firstAt = shop.ledger.acknowledged.get(before + 1)?.firstAt ?? Number.NaN
  process.stdout.write(
    `${what}: the script took ${(scriptMs / 1_000).toFixed(1)} s; no write was done for ${((firstAt - lastAt) / 1_000).toFixed(1)} s\n`,
  )
  expect(firstAt - lastAt).toBeLessThan(SERVED_MAX_MS)
}

/** Returns how many reads with a token the replica has answered, in the process of get-reservation. */
async function readsOnReplica(): Promise<number> {
  const program = `fetch('http://127.0.0.1:3000/metrics').then((r) => r.text()).then((text) => console.log(text))`
  const text = await compose.run('exec', '-T', 'get-reservation', 'node', '-e', program)
  return Number(/^database_reads_total\{server="replica",reason="replayed"\} (\d+)$/m.exec(text)?.[1] ?? 0)
}

describe.skipIf(missing !== undefined)('a fail-over in containers', () => {
  beforeAll(async () => {
    compose = await newCompose({ SEED: '0' })
    client = createShopClient(compose.url, compose.key, CONNECTIONS)
    await compose.run('up', '--detach', '--wait', '--wait-timeout', '300', '--build', ...SHOP_SERVICES)
  }, 600_000)
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') await compose.keepLogs()
  })

  afterAll(async () => {
    await client.close()
    await compose.run('down', '--volumes', '--rmi', 'local', '--remove-orphans', '--timeout', '5')
  })

  it('is refused while the primary is well', async () => {
    await expect(compose.script('failover')).rejects.toThrow('postgres-primary takes writes, so nothing is done')
    expect(await takesWrites('postgres-primary')).toBe(true)
  })

  it('serves writes again within 30 s of the loss of the primary, and loses what the replica had not received, and that alone', async () => {
    const shop = await openShop(client, { mayLose: true })
    await shop.more(WRITES)
    // Writes that are acknowledged while the replica is away exist only on the primary.
    await docker(['network', 'disconnect', `${compose.project}_database`, container('postgres-replica')])
    await shop.more(WRITES)
    await compose.run('kill', 'postgres-primary')
    const connect = ['network', 'connect', '--alias', 'postgres-replica']
    await docker([...connect, `${compose.project}_database`, container('postgres-replica')])
    await failOver(shop, 'primary killed, asynchronous')
    await shop.close()
    const lost = await findLost(client, shop.ledger)
    process.stdout.write(
      `lost with the primary: ${lost.length}, such as\n${lost
        .slice(0, 3)
        .map(({ what }) => what)
        .join('\n')}\n`,
    )
    expect(lost.length).toBeGreaterThan(0)
    expect(lost.filter(({ timeline }) => timeline !== 1 && timeline !== undefined)).toEqual([])
  })

  it('has the old primary refuse to start, by whatever it is started, and whether or not it was fenced', async () => {
    const shop = await openShop(client)
    const neverTwo = watch(async () => expect(await takesWrites('postgres-primary')).not.toBe(true))
    const refused = 'commits that postgres-replica had not received when it was promoted'
    const timesRefused = async () => (await logOf('postgres-primary')).split(refused).length - 1
    await docker(['start', container('postgres-primary')])
    await eventually(timesRefused).toBeGreaterThan(0)
    await compose.run('stop', 'postgres-primary')
    const before = await timesRefused()
    await compose.run('up', '--detach', '--no-deps', 'postgres-primary')
    await eventually(timesRefused).toBeGreaterThan(before)
    await compose.run('stop', 'postgres-primary')

    // The killed server has left its process id, which may now belong to any process here.
    const bare = 'rm -f "$PGDATA/postmaster.pid"; postgres -c config_file=/etc/postgresql/postgresql.conf & sleep 0.1'
    const ask = `until psql -U postgres -d stock -Atqc 'select pg_is_in_recovery()' 2>/dev/null; do kill -0 $!; sleep 0.1; done`
    expect((await onVolume('postgres-primary', `${bare}; ${ask}`)).split('\n').at(-1)).toBe('t')

    // As after a promotion by hand: the other server's volume shows it.
    await onVolume('postgres-primary', 'rm "$PGDATA/standby.signal"')
    await docker(['start', container('postgres-primary')])
    await eventually(() => logOf('postgres-primary')).toContain('no primary any more: postgres-replica was promoted')
    await eventually(timesRefused).toBeGreaterThan(before + 1)
    await neverTwo.stop()
    await shop.more(WRITES)
    await shop.close()
    await expectNothingLost(client, shop.ledger)
    expect([...shop.ledger.acknowledged.keys()]).toEqual([2])
  })

  it('has the old primary copied anew as the replica, from which reads with tokens are answered', async () => {
    const shop = await openShop(client)
    process.stdout.write(`${await compose.script('failover', 'reclone')}\n`)
    expect(await takesWrites('postgres-primary')).toBe(false)
    const before = await readsOnReplica()
    await eventually(readsOnReplica).toBeGreaterThan(before + WRITES)
    await shop.close()
    await expectNothingLost(client, shop.ledger)
  })

  it('loses nothing where commits wait for the replica, and fails back', async () => {
    for (const server of ['postgres-primary', 'postgres-replica'] as const) {
      await compose.sql(`alter system set synchronous_standby_names = '*'`, server)
      await compose.sql(`alter system set synchronous_commit = 'remote_apply'`, server)
      await compose.sql('select pg_reload_conf()', server)
    }
    await eventually(() => compose.sql('select sync_state from pg_stat_replication', 'postgres-replica')).toBe('sync')
    const shop = await openShop(client)
    await shop.more(WRITES)
    // The server hangs: its clients get no error, and it would continue where it stopped.
    await pause(container('postgres-replica'))
    await failOver(shop, 'primary paused, remote_apply')
    await shop.close()
    await expectNothingLost(client, shop.ledger)
    expect(await takesWrites('postgres-primary')).toBe(true)
  })

  it('loses nothing in a switch, after which the old primary follows by itself', async () => {
    await compose.script('failover', 'reclone')
    const shop = await openShop(client)
    await shop.more(WRITES)
    await failOver(shop, 'switch', '--switch')
    await compose.run('up', '--detach', '--no-deps', '--wait', '--wait-timeout', '120', 'postgres-primary')
    expect(await logOf('postgres-primary')).toContain('the former primary has nothing that postgres-replica has not')
    await shop.more(WRITES)
    await shop.close()
    await expectNothingLost(client, shop.ledger)
  })
})

/** Runs a check over and over until it is stopped. Stopping throws the error of a failed check. */
function watch(check: () => Promise<void>) {
  let isOver = false
  const checking = (async () => {
    while (!isOver) {
      await check()
      await sleep(300)
    }
  })()
  checking.catch(() => {})
  return {
    async stop() {
      isOver = true
      await checking
    },
  }
}
