import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { runEndToEnd } from '../collection/run.ts'
import { createShopClient, type ShopClient } from './client.ts'
import { type Compose, docker, engineMissing, newCompose } from './compose.ts'
import { expectNothingLost, newProduct, openShop } from './shop.ts'

// Runs docker-compose.yml as a separate project, from nothing to nothing, in this order. A step that breaks something makes later steps fail.

const missing = await engineMissing()
if (missing) process.stdout.write(`skipped: no container engine with Compose answers (${missing})\n`)

const CONNECTIONS = 64
const SCALE = 4
/** The number of acknowledged writes between two restarts, so that each restart interrupts some writes. */
const WRITES = 20

let compose: Compose
let client: ShopClient

const up = (...options: string[]) => compose.run('up', '--detach', '--wait', '--wait-timeout', '300', ...options)
const eventually = (check: () => Promise<unknown>) => expect.poll(check, { timeout: 120_000, interval: 500 })
const countOf = async (statement: string) => Number(await compose.sql(statement))

/** Fails unless every committed event reaches Kafka, and every job ends. */
async function expectNothingWaits(): Promise<void> {
  const waiting = `select (select count(*) from outbox) + (select count(*) from job_dispatches)
    + (select count(*) from jobs where state in ('queued', 'running', 'retrying'))`
  await eventually(() => countOf(waiting)).toBe(0)
  expect(await countOf('select (select count(*) from dead_events) + (select count(*) from outbox_blocked)')).toBe(0)
  const offsets = await compose.run(
    ...['exec', '-T', 'kafka', '/opt/kafka/bin/kafka-get-offsets.sh', '--bootstrap-server', 'kafka:9092'],
    ...['--topic', '(stock|product)-events'],
  )
  const published = offsets.split('\n').reduce((sum, line) => sum + Number(line.split(':')[2] ?? 0), 0)
  expect(published).toBeGreaterThanOrEqual(
    await countOf(`select sum(version) from stock_levels where location = 'main'`),
  )
}

/** Injects a fault into one service after the other under load. Fails if any acknowledged write is lost. */
async function expectToSurvive(services: string[], inject: (service: string) => Promise<unknown>): Promise<void> {
  const shop = await openShop(client)
  for (const service of services) {
    await shop.more(WRITES)
    await inject(service)
  }
  await up('--no-recreate')
  await shop.more(WRITES)
  await shop.close()
  await expectNothingLost(client, shop.ledger)
  await expectNothingWaits()
}

/** Returns the number of requests that each process of a function has answered. */
async function served(name: string): Promise<number[]> {
  const program = `fetch('http://127.0.0.1:3000/metrics').then((r) => r.text()).then((text) => console.log(text))`
  const ask = (index: number) => compose.run('exec', '-T', '--index', String(index), name, 'node', '-e', program)
  const texts = await Promise.all(Array.from({ length: SCALE }, (_, index) => ask(index + 1)))
  return texts.map((text) =>
    [...text.matchAll(/^function_duration_seconds_count\{.*\} (\d+)$/gm)].reduce(
      (sum, [, count]) => sum + Number(count),
      0,
    ),
  )
}

describe.skipIf(missing !== undefined)('docker compose', () => {
  beforeAll(async () => {
    compose = await newCompose()
    client = createShopClient(compose.url, compose.key, CONNECTIONS)
  })
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') await compose.keepLogs()
  })

  afterAll(async () => {
    await client.close()
    await compose.run('down', '--volumes', '--rmi', 'local', '--remove-orphans', '--timeout', '5')
  })

  it('brings everything up from nothing', async () => {
    await up('--build')
    const lines = await compose.run('ps', '--format', '{{.Service}} {{.Health}}')
    for (const line of lines.split('\n')) expect(line).toMatch(/ healthy$/)
    expect(await compose.sql('select pg_is_in_recovery()', 'postgres-replica')).toBe('t')
    // Each `down` would leave an anonymous volume behind.
    const containers = (await compose.run('ps', '--all', '--quiet')).split('\n')
    const volumes = '{{range .Mounts}}{{if eq .Type "volume"}}{{println .Name}}{{end}}{{end}}'
    const named = ['kafka', 'primary', 'rabbitmq', 'replica'].map((name) => `${compose.project}_${name}`)
    const used = (await docker(['inspect', '--format', volumes, ...containers]))
      .split('\n')
      .filter((name) => name !== '')
    expect([...new Set(used)].sort()).toEqual(named)
  })

  it('serves every story of the collection through the router', async () => {
    const counts = await runEndToEnd({ stack: { url: compose.url, key: compose.key, disposable: true } })
    expect(counts).toMatchObject({ failed: 0 })
    expect(counts.passed).toBeGreaterThan(1_000)
  })

  it('sells exactly what there is through four processes of one function, which the router finds by itself', async () => {
    await up('--no-recreate', '--scale', `reserve-stock=${SCALE}`)
    const STOCK = 1_000
    const productId = await newProduct(client, STOCK)
    const lines = [{ productId, quantity: 1 }]
    const order = () =>
      client.sendUntilAnswered({ method: 'POST', path: '/v1/reservations', body: { lines }, key: randomUUID() })
    // The router looks a service's name up again after a second at the earliest, so it may not know the new processes yet.
    const before = await served('reserve-stock')
    const answers = await Promise.all(Array.from({ length: STOCK * 2 }, order))
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(STOCK)
    expect(answers.filter(({ code }) => code === 'insufficient_stock')).toHaveLength(STOCK)
    const after = await served('reserve-stock')
    for (const [index, count] of after.entries()) {
      expect(count - (before[index] ?? 0), `process ${index + 1}`).toBeGreaterThan((STOCK * 2) / SCALE / 4)
    }
    await up('--no-recreate', '--scale', 'reserve-stock=1')
    client.answers.delete('409 insufficient_stock')
    expect((await order()).code).toBe('insufficient_stock')
    client.answers.delete('409 insufficient_stock')
    expect([...client.answers.keys()].sort()).toEqual(['201'])
  })

  it('loses nothing while every container is restarted in turn, under load', async () => {
    const services = (await compose.run('ps', '--services')).split('\n')
    expect(services.length).toBeGreaterThan(40)
    await expectToSurvive(services, (service) => compose.run('restart', service))
  })

  it('loses nothing when engines, router and functions are killed, under load', async () => {
    const engines = ['postgres-primary', 'postgres-replica', 'redis', 'kafka', 'rabbitmq']
    const ours = ['router', 'reserve-stock', 'confirm-reservation', 'publish-events', 'dispatch-jobs', 'process-job']
    await expectToSurvive([...engines, ...ours], async (service) => {
      await compose.run('kill', service)
      await compose.run('start', service)
    })
  })

  it('has a replica that copies the primary anew once its log is gone', async () => {
    await compose.run('stop', 'postgres-replica')
    await compose.sql(`alter system set max_slot_wal_keep_size = '1MB'`)
    await compose.sql('select pg_reload_conf()')
    const state = `select wal_status from pg_replication_slots where slot_name = 'replica'`
    await eventually(async () => {
      await compose.sql("select pg_logical_emit_message(false, 'filler', repeat('x', 1000000)), pg_switch_wal()")
      await compose.sql('checkpoint')
      return compose.sql(state)
    }).toBe('lost')
    await compose.sql('alter system reset max_slot_wal_keep_size')
    await compose.sql('select pg_reload_conf()')
    const productId = await newProduct(client, 7)
    await compose.run('start', 'postgres-replica')
    const isThere = `select count(*) from products where id = '${productId}'`
    await eventually(() => compose.sql(isThere, 'postgres-replica').catch(() => 'not yet')).toBe('1')
    expect(await compose.run('logs', '--no-log-prefix', 'postgres-replica')).toContain('copying the primary')
    expect(['reserved', 'extended']).toContain(await compose.sql(state))
  })

  it('keeps what there is through down and up', async () => {
    const productId = await newProduct(client, 7)
    await expectNothingWaits()
    await compose.run('down')
    await up()
    const answer = await client.sendUntilAnswered({ method: 'GET', path: `/v1/products/${productId}/stock` })
    expect(answer.body).toMatchObject({ onHand: 7 })
    expect(await compose.sql(`select count(*) from products where id = '${productId}'`, 'postgres-replica')).toBe('1')
    await expectNothingWaits()
  })

  it('leaves nothing after down -v', async () => {
    await compose.run('down', '--volumes', '--rmi', 'local')
    const filter = ['--quiet', '--filter', `label=com.docker.compose.project=${compose.project}`]
    for (const things of [
      ['ps', '--all'],
      ['volume', 'ls'],
      ['network', 'ls'],
      ['image', 'ls'],
    ]) {
      expect(await docker([...things, ...filter]), things.join(' ')).toBe('')
    }
  })
})
