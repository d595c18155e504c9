import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import { birthOf } from '../processes.ts'
import { writeStackFile } from '../stack-file.ts'
import { add, createGround, type Ground, killServer, values, valuesSoon } from '../testing/cluster.ts'
import { waitUntil } from '../waits.ts'
import { withConnection } from './sql.ts'

// Each test starts servers several times, half a second to four seconds each.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 })

let template: Ground
let ground: Ground
beforeAll(async () => {
  template = await createGround()
  await (await template.start()).stop()
})
afterAll(() => template.clear())
beforeEach(async () => {
  ground = await createGround(template.dataDir)
})
afterEach(() => ground.clear())

test('data outlives a restart, the replica streams it, and stop leaves no process', async () => {
  const empty = await createGround()
  try {
    const begun = performance.now()
    const first = await empty.start({ fsync: true })
    const firstMs = performance.now() - begun
    await add(first.primaryUrl, 1)
    expect(await valuesSoon(first.replicaUrl, [1])).toEqual([1])
    const { primary, replica } = first.pids()
    await first.stop()
    expect([birthOf(primary ?? 0), birthOf(replica ?? 0)]).toEqual([undefined, undefined])
    expect(first.pids()).toEqual({ primary: null, replica: null })

    const again = performance.now()
    const second = await empty.start({ fsync: true })
    process.stdout.write(`first start ${Math.round(firstMs)} ms, second ${Math.round(performance.now() - again)} ms\n`)
    expect(await values(second.primaryUrl)).toEqual([1])
    await add(second.primaryUrl, 2)
    expect(await valuesSoon(second.replicaUrl, [1, 2])).toEqual([1, 2])
  } finally {
    await empty.clear()
  }
})

test('only the loopback address is listened on, and only with the password', async () => {
  const { primaryUrl } = await ground.start({ replica: false })
  const setting = await withConnection(
    primaryUrl,
    (sql) => sql`
    select name, setting from pg_settings
    where name in ('listen_addresses', 'unix_socket_directories', 'max_connections') order by name`,
  )
  expect(setting.map((row) => row.setting)).toEqual(['127.0.0.1', '200', ''])
  const url = new URL(primaryUrl)
  url.password = 'guessed'
  await expect(withConnection(url.href, (sql) => sql`select 1`)).rejects.toThrow('password authentication failed')
})

test('a second start on the same folder is refused and leaves the first alone', async () => {
  const cluster = await ground.start({ replica: false })
  // With this file, the second start knows that the first one is not stopping, and need not wait.
  const pids = { node: process.pid, primary: null, replica: null }
  await writeStackFile(ground.dataDir, {
    routerUrl: '',
    metricsUrl: '',
    databaseUrl: '',
    databaseReplicaUrl: null,
    pids,
  })
  await expect(ground.start()).rejects.toThrow(`is in use by process ${process.pid}`)
  await add(cluster.primaryUrl, 1)
  expect(await values(cluster.primaryUrl)).toEqual([1])
})

test('a killed server is reported and comes back on the same port', async () => {
  const exits: string[] = []
  const back: string[] = []
  const cluster = await ground.start({
    restartAfterMs: 100,
    onUnexpectedExit: (role, detail) => exits.push(`${role} ${detail.split(';')[0]}`),
    onRestart: (role) => back.push(role),
  })
  await add(cluster.primaryUrl, 1)
  const before = cluster.pids()

  killServer(before.replica)
  await waitUntil(() => back.includes('replica'), 30_000)
  await add(cluster.primaryUrl, 2)
  expect(await valuesSoon(cluster.replicaUrl, [1, 2])).toEqual([1, 2])

  killServer(before.primary)
  await waitUntil(() => back.includes('primary'), 30_000)
  await add(cluster.primaryUrl, 3)
  expect(await valuesSoon(cluster.replicaUrl, [1, 2, 3])).toEqual([1, 2, 3])
  expect(exits).toEqual(['replica killed by SIGKILL', 'primary killed by SIGKILL'])
  const after = cluster.pids()
  expect(after.primary).not.toBe(before.primary)
  expect(after.replica).not.toBe(before.replica)
})

test('a stop during the wait for a restart ends it', async () => {
  const exits: string[] = []
  const cluster = await ground.start({ onUnexpectedExit: (role) => exits.push(role) })
  killServer(cluster.pids().primary)
  await waitUntil(() => exits.length > 0, 10_000)
  await cluster.stop()
  expect(cluster.pids()).toEqual({ primary: null, replica: null })
})

test('a server that ends again and again is given up', async () => {
  const details: string[] = []
  const back: string[] = []
  const cluster = await ground.start({
    replica: false,
    restartAfterMs: 10,
    onUnexpectedExit: (_role, detail) => details.push(detail),
    onRestart: (role) => back.push(role),
  })
  for (let round = 1; round <= 5; round++) {
    killServer(cluster.pids().primary)
    await waitUntil(() => back.length === round, 30_000)
  }
  killServer(cluster.pids().primary)
  await waitUntil(() => details.some((detail) => detail.startsWith('given up')), 30_000)
  expect(details.at(-1)).toBe('given up after 5 restarts within 10 minutes')
  expect(cluster.pids().primary).toBeNull()
  // Six servers end, and each end may take seconds on a busy machine.
}, 120_000)

test('a server that does not start says why, and nothing stays behind', async () => {
  const started = ground.start({ replica: false, settings: { shared_buffers: 'plenty' } })
  await expect(started).rejects.toThrow(/The primary did not start \(exit code 1\)[\s\S]*shared_buffers/)
  const cluster = await ground.start({ replica: false })
  expect(cluster.pids().primary).toBeTypeOf('number')
})

test('a start can be called off', async () => {
  const signal = AbortSignal.timeout(150)
  await expect(ground.start({ signal })).rejects.toThrow()
  const cluster = await ground.start({ replica: false })
  expect(cluster.pids().primary).toBeTypeOf('number')
})
