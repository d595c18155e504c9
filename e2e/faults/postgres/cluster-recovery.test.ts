import { spawn } from 'node:child_process'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import type { Cluster } from '../../../infra/local/postgres/cluster.ts'
import { type Connection, withConnection } from '../../../infra/local/postgres/sql.ts'
import { birthOf } from '../../../infra/local/processes.ts'
import {
  add,
  createGround,
  type Ground,
  kill,
  killServer,
  values,
  valuesSoon,
} from '../../../infra/local/testing/cluster.ts'
import { waitUntil } from '../../../infra/local/waits.ts'

// Each test starts servers several times, half a second to four seconds each.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 })

let template: Ground
let ground: Ground
beforeAll(async () => {
  template = await createGround()
  const cluster = await template.start()
  await add(cluster.primaryUrl, 1)
  expect(await valuesSoon(cluster.replicaUrl, [1])).toEqual([1])
  await cluster.stop()
})
afterAll(() => template.clear())
beforeEach(async () => {
  ground = await createGround(template.dataDir)
})
afterEach(() => ground.clear())

/** Checks that the cluster is intact: the old data is there, and new writes reach the replica. */
async function expectWhole({ primaryUrl, replicaUrl }: Cluster, expected: number[]): Promise<void> {
  expect(await values(primaryUrl)).toEqual(expected)
  await add(primaryUrl, 1000)
  expect(await valuesSoon(replicaUrl, [...expected, 1000])).toEqual([...expected, 1000])
}

/** Ends five segments of WAL, each followed by the checkpoint that lets the previous segment be removed. */
async function fillSegments(sql: Connection): Promise<void> {
  for (let segment = 0; segment < 5; segment++) {
    await sql`select pg_logical_emit_message(false, 'fill', 'x')`
    await sql`select pg_switch_wal()`
    await sql`checkpoint`
  }
}

test('after a kill of the owner, the next start takes the servers over', async () => {
  await ground.startAndKillOwner()
  const cluster = await ground.start()
  expect(ground.lines.filter((line) => line.startsWith('stopping a PostgreSQL left over'))).toHaveLength(2)
  await expectWhole(cluster, [1])
})

test('after a kill of the owner and of its servers, nothing committed is lost', async () => {
  await ground.startAndKillOwner()
  for (const role of ['primary', 'replica']) {
    killServer(Number.parseInt(await readFile(join(ground.dataDir, role, 'postmaster.pid'), 'utf8'), 10))
  }
  await expectWhole(await ground.start(), [1])
})

test.each(['initialising', 'copying', 'starting the primary', 'starting the replica'])(
  'a first start killed at "%s" does not hinder the next',
  async (moment) => {
    const empty = await createGround()
    try {
      await empty.startAndKillOwner(moment)
      const cluster = await empty.start()
      await add(cluster.primaryUrl, 1)
      expect(await valuesSoon(cluster.replicaUrl, [1])).toEqual([1])
    } finally {
      await empty.clear()
    }
  },
)

test('half-made folders and a stale postmaster.pid are no obstacle', async () => {
  await rm(join(ground.dataDir, 'replica'), { recursive: true })
  for (const name of ['primary.new', 'replica.new']) {
    await mkdir(join(ground.dataDir, name, 'base'), { recursive: true })
    await writeFile(join(ground.dataDir, name, 'PG_VERSION'), '18\n')
  }
  // The id of a living process that is no postgres, as after a reboot.
  const folder = join(ground.dataDir, 'primary')
  await writeFile(join(folder, 'postmaster.pid'), `${process.pid}\n${folder}\n`)
  await expectWhole(await ground.start(), [1])
})

test('a postmaster.pid that names a server of another folder is no obstacle', async () => {
  const other = await createGround(template.dataDir)
  try {
    const { pids, primaryUrl } = await other.start()
    const [checkpointer] = await withConnection(
      primaryUrl,
      (sql) => sql`select pid from pg_stat_activity where backend_type = 'checkpointer'`,
    )
    await writeFile(join(ground.dataDir, 'primary/postmaster.pid'), `${pids().primary}\n`)
    await writeFile(join(ground.dataDir, 'replica/postmaster.pid'), `${checkpointer?.pid}\n`)
    await expectWhole(await ground.start(), [1])
    expect(await values(primaryUrl)).toEqual([1])
  } finally {
    await other.clear()
  }
})

test('a postgres of this folder that another user or tool has started is left alone, and named at once', async () => {
  const folder = join(ground.dataDir, 'primary')
  const foreign = spawn('sleep', ['60'], { argv0: 'postgres', cwd: folder, stdio: 'ignore' })
  try {
    await writeFile(join(folder, 'postmaster.pid'), `${foreign.pid}\n`)
    await expect(ground.start()).rejects.toThrow(
      `Process ${foreign.pid} is a postgres of ${folder} that another user or tool has started: stop it first`,
    )
    expect(birthOf(foreign.pid ?? 0)).toBeDefined()
    expect(await readFile(join(folder, 'postmaster.pid'), 'utf8')).toBe(`${foreign.pid}\n`)
  } finally {
    await kill(foreign)
  }
})

test('a promoted replica keeps its writes: the old primary stays down, and the next start swaps them', async () => {
  const cluster = await ground.start()
  killServer(cluster.pids().primary)
  await withConnection(cluster.replicaUrl ?? '', (sql) => sql`select pg_promote()`)
  await add(cluster.replicaUrl, 2)
  await waitUntil(() => ground.lines.includes('the replica was promoted: leaving the old primary down'), 30_000)
  expect(cluster.pids().primary).toBeNull()
  await cluster.stop()

  const swapped = await ground.start()
  expect(ground.lines.join('\n')).toContain('the replica was promoted earlier: it is the primary now')
  await expectWhole(swapped, [1, 2])
  await swapped.stop()

  const third = await ground.start()
  expect(await valuesSoon(third.replicaUrl, [1, 2, 1000])).toEqual([1, 2, 1000])
  expect(await readdir(ground.dataDir)).toContain('superseded')
})

test('a replica that stayed away for too long is copied anew', async () => {
  // Without a replica the slot is dropped, so the next checkpoints remove the WAL that the replica would need.
  const alone = await ground.start({ replica: false, settings: { min_wal_size: '32MB' } })
  expect(alone.replicaUrl).toBeUndefined()
  await withConnection(alone.primaryUrl, fillSegments)
  await alone.stop()

  const cluster = await ground.start()
  expect(ground.lines.join('\n')).toMatch(/can't follow any more: .*has already been removed/)
  await expectWhole(cluster, [1])
})

test('a replica whose slot was lost is copied anew', async () => {
  // Nobody reads from the slot, one segment is allowed, and five are filled: the next checkpoint invalidates the slot.
  const settings = { min_wal_size: '32MB', max_slot_wal_keep_size: '16MB' }
  const alone = await ground.start({ replica: false, settings })
  await withConnection(alone.primaryUrl, async (sql) => {
    await sql`select pg_create_physical_replication_slot('replica', true)`
    await fillSegments(sql)
    const [slot] = await sql`select wal_status from pg_replication_slots`
    expect(slot?.wal_status).toBe('lost')
  })
  await alone.stop()

  const cluster = await ground.start()
  expect(ground.lines).toContain("the replica can't follow any more: its slot was lost")
  await expectWhole(cluster, [1])
})

test.each([
  ['does not start', (folder: string) => writeFile(join(folder, 'global/pg_control'), '')],
  ['starts but refuses connections', (folder: string) => rm(join(folder, 'base'), { recursive: true })],
])('a damaged replica that %s is copied anew', async (_symptom, damage) => {
  await damage(join(ground.dataDir, 'replica'))
  const cluster = await ground.start()
  expect(ground.lines.join('\n')).toContain("the replica can't follow any more")
  await expectWhole(cluster, [1])
})

test('a lost primary folder is replaced by the replica', async () => {
  await rm(join(ground.dataDir, 'primary'), { recursive: true })
  await expectWhole(await ground.start(), [1])
})

test('a damaged primary without a replica is left as it is, and said to be damaged', async () => {
  await rm(join(ground.dataDir, 'replica'), { recursive: true })
  await rm(join(ground.dataDir, 'primary/global/pg_control'))
  await expect(ground.start()).rejects.toThrow('is damaged, and there is no replica to take its place')
  expect(await readdir(join(ground.dataDir, 'primary'))).toContain('base')
})
