import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { inspectRepository } from '../../../infra/backup/repository/inspect.ts'
import { findRepositories, readRepository } from '../../../infra/backup/repository/repository.ts'
import { ensureS3Store, type S3Store, startS3Store } from '../../../infra/local/engines/s3-store.ts'
import { freePort } from '../../../infra/local/ports.ts'
import { withConnection } from '../../../infra/local/postgres/sql.ts'
import {
  type ArchivingCluster,
  findPgBackRest,
  findProgram,
  installBackup,
  type Repository,
  runBackup,
  startArchivingCluster,
} from './archiving-cluster.ts'

// A primary with a replica, and two repositories: a folder, and a bucket in an S3 store over TLS. The program of the container `backup` runs
// as a process, makes the first backup in each and restores it. Then things go wrong, in this order, and the command line must report them.

vi.setConfig({ testTimeout: 300_000, hookTimeout: 900_000 })

const say = (line: string) => process.stdout.write(`repositories: ${line}\n`)
const program = await findPgBackRest(say)
const storeProgram = program && (await findProgram(ensureS3Store, say))

const first: Repository = { folder: 'first', key: 'the-key-of-the-first-repository' }
const second: Repository = { folder: 'second', key: 'the-key-of-the-second-repository' }

let archiving: ArchivingCluster
let store: S3Store
let service: ChildProcess
let app: string
let url: string
const lines: string[] = []

beforeAll(async () => {
  if (storeProgram === undefined || program === undefined) return
  archiving = await startArchivingCluster(program, first, { replica: true })
  const folder = join(archiving.folder, 'store')
  await mkdir(folder)
  store = await startS3Store(storeProgram, folder)
  second.store = store
  await archiving.archiveTo(first, second)
  app = await installBackup(archiving)
})
afterAll(async () => {
  service?.kill('SIGKILL')
  await archiving?.stop()
  await store?.stop()
})

async function startService(): Promise<void> {
  const port = await freePort()
  url = `http://127.0.0.1:${port}`
  const { env, ...account } = archiving.process
  service = spawn(process.execPath, [join(app, 'index.mjs')], {
    ...account,
    env: { ...env, PORT: String(port), HOST: '127.0.0.1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  for (const stream of [service.stdout, service.stderr]) stream?.on('data', (text) => lines.push(String(text)))
}

const backup = (...args: string[]) => runBackup(archiving, app, join(archiving.folder, 'restored/data'), args)

/** Returns the value of a series in the service's metrics. */
async function metric(series: string): Promise<number | undefined> {
  const text = await (await fetch(`${url}/metrics`)).text()
  const line = text.split('\n').find((each) => each.startsWith(`${series} `))
  return line === undefined ? undefined : Number(line.slice(series.length))
}
const runsOf = (type: string, repository: number, result: string) =>
  metric(`backup_runs_total{type="${type}",repository="${repository}",result="${result}"}`)
const runsOfBoth = (type: string, result: string) => Promise.all([runsOf(type, 1, result), runsOf(type, 2, result)])

/** Returns the files in the second repository whose path contains this text. */
async function filesOfSecond(part: string): Promise<string[]> {
  const entries = await readdir(join(store.folder, second.folder), { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
  return files.filter((path) => path.includes(part)).sort()
}

/** Does `work` while the file is missing. */
async function without<Result>(path: string, work: () => Promise<Result>): Promise<Result> {
  const aside = join(archiving.folder, 'aside')
  await rename(path, aside)
  return work().finally(() => rename(aside, path))
}

const SOUND = 'The repository is sound: each moment since its oldest backup can be restored.\n'

describe.skipIf(storeProgram === undefined)('two repositories', () => {
  it('are each given a first backup by the process that makes them, restored, and told of in its metrics', async () => {
    await startService()
    await vi.waitFor(async () => expect(await runsOfBoth('drill', 'succeeded'), lines.join('')).toEqual([1, 1]), {
      timeout: 240_000,
      interval: 500,
    })
    for (const type of ['full', 'diff', 'incr'] as const)
      expect(await runsOfBoth(type, 'succeeded')).toEqual(type === 'full' ? [1, 1] : [0, 0])
    for (const type of ['full', 'drill', 'look']) expect(await runsOfBoth(type, 'failed')).toEqual([0, 0])
    expect([
      await metric('backup_drill_failed{repository="1"}'),
      await metric('backup_drill_failed{repository="2"}'),
    ]).toEqual([0, 0])
    expect(await metric('backup_runs_total{type="look",result="failed"}')).toBe(0)
    for (const repository of [1, 2]) {
      const age = (await metric(`backup_age_seconds{type="full",repository="${repository}"}`)) ?? Number.NaN
      expect(age).toBeLessThan(240)
      // The drill came after the backup, and the backup came after the process first saw the repository.
      expect(await metric(`backup_drill_age_seconds{repository="${repository}"}`)).toBeLessThan(age)
      expect(await metric(`backup_cluster_bytes{repository="${repository}"}`)).toBeGreaterThan(1_000_000)
      expect(await metric(`backup_archive_gap_segments{repository="${repository}"}`)).toBe(0)
    }
    expect((await fetch(`${url}/healthz`)).status).toBe(200)
    service.kill('SIGTERM')
    expect(await once(service, 'exit')).toEqual([0, null])
  })

  it('are both read by verify, and each by itself', async () => {
    expect(await backup('verify')).toEqual({ printed: `repository 1: ${SOUND}repository 2: ${SOUND}`, failed: '' })
    const { printed } = await backup('list', '--repository', '2')
    expect(printed).toMatch(
      /^repository 2: \S+F {2}full, .*\nrepository 2: The archive has \d+ segments of the log\.\n$/,
    )
    expect((await backup('verify', '--repository', '3')).failed).toContain(
      'There is no repository 3: the settings have 1, 2.',
    )
  })

  it('are filled from the replica, and from the primary where that does not replay or is gone, which is said', async () => {
    const { cluster } = archiving
    const onReplica = (work: Parameters<typeof withConnection>[1]) => withConnection(cluster.replicaUrl ?? '', work)
    const backUp = () => backup('now', '--repository', '1')
    const well = await backUp()
    expect(well.failed).toBe('')
    expect(well.printed).toContain('replay on the standby reached')
    expect(well.printed).toMatch(/^repository 1: \S+ {2}incr, /m)

    await onReplica((sql) => sql`select pg_wal_replay_pause()`)
    const behind = await backUp()
    await onReplica((sql) => sql`select pg_wal_replay_resume()`)
    expect(behind.failed).toBe('')
    expect(behind.printed).toMatch(/^repository 1: the replica can't be backed up from, so the primary is \(.*standby/m)
    expect(behind.printed).toMatch(/^repository 1: \S+ {2}incr, /m)

    await onReplica((sql) => sql`select pg_wal_replay_pause()`)
    const losing = backUp()
    await vi.waitFor(async () => {
      const waiting = await onReplica(
        (sql) => sql`select from pg_stat_activity where pid <> pg_backend_pid() and query like '%replayLsn%'`,
      )
      expect(waiting).toHaveLength(1)
    })
    process.kill(cluster.pids().replica ?? 0, 'SIGKILL')
    const lost = await losing
    expect(lost.failed).toBe('')
    expect(lost.printed).toMatch(/^repository 1: the replica can't be backed up from, so the primary is \(.*query/m)
    expect(lost.printed).toMatch(/^repository 1: \S+ {2}incr, /m)

    // The replica stays down.
    await vi.waitFor(() => expect(cluster.pids().replica).toBe(null))
    const alone = await backUp()
    expect(alone.failed).toBe('')
    expect(alone.printed).toContain('unable to check pg2')
    expect(alone.printed).toMatch(/^repository 1: \S+ {2}incr, /m)
  })

  it('are each as old as its own newest backup', async () => {
    const repositories = await findRepositories(archiving.run)
    const ended = await Promise.all(
      repositories.map(async ({ run }) => (await readRepository(run)).backups.at(-1)?.endedAt.getTime() ?? 0),
    )
    const [, endedSecond = 0] = ended
    const bound = { ageMaxSeconds: 3_600, now: new Date(endedSecond + 3_602_000) }
    const found = await Promise.all(repositories.map(({ run }) => inspectRepository(run, bound)))
    expect(found).toEqual([[], ['the newest backup is 3602 s old; 3600 s are allowed']])
  })

  it('do not make up for each other: a segment that the second alone lacks is named, and a drill of it fails', async () => {
    const files = (await filesOfSecond('archive/stock/18-1/0')).filter((path) => /-[0-9a-f]{40}/.test(path))
    const [, repository] = await findRepositories(archiving.run)
    const needed = repository && (await readRepository(repository.run)).backups.at(-1)?.archiveStop
    for (const path of files.filter((each) => basename(each).startsWith(needed ?? '-') || each === files.at(-1))) {
      const finding = `repository 2: the archive lacks ${basename(path).slice(0, 24)}\n`
      await without(path, async () => {
        const verified = await backup('verify')
        expect(verified.printed).toBe(`repository 1: ${SOUND}`)
        expect(verified.failed).toBe(finding)
        if (path === files.at(-1)) return
        const drilled = await backup('drill', '--repository', '2')
        expect(drilled.failed).toContain(finding)
        expect(drilled.failed).toMatch(/^repository 2: The (primary did not start|server ended during recovery)/m)
      })
    }
  })

  it('are told apart by damage to a page of a backup, and by a wrong key', async () => {
    const sizes = await Promise.all(
      (await filesOfSecond('F/')).map(async (path) => ({ path, size: (await stat(path)).size })),
    )
    const { path } = sizes.reduce((largest, each) => (each.size > largest.size ? each : largest))
    const content = await readFile(path)
    const damaged = Buffer.from(content)
    damaged.writeUInt8((damaged[damaged.length >> 1] ?? 0) ^ 0xff, damaged.length >> 1)
    await writeFile(path, damaged)
    const verified = await backup('verify')
    await writeFile(path, content)
    expect(verified.printed).toBe(`repository 1: ${SOUND}`)
    expect(verified.failed).toMatch(/^repository 2: backup \S+F is invalid$/m)

    await archiving.archiveTo(first, { ...second, key: 'another-key' })
    const closed = await backup('verify')
    expect(closed.printed).toBe(`repository 1: ${SOUND}`)
    expect(closed.failed).toContain("repository 2: The repository can't be read")
    const restored = await backup('restore', '--to', 'latest', '--dry-run', '--repository', '2')
    expect(restored.failed).toContain("repository 2: The repository can't be read")
    await archiving.archiveTo(first, second)
  })

  it('are each restored from: the second by itself once the first is gone', async () => {
    await rm(join(archiving.folder, first.folder), { recursive: true })
    for (const name of ['restored', 'restored/data']) await archiving.makeFolder(name)
    const { printed, failed } = await backup('restore', '--to', 'latest')
    expect(failed).toBe('')
    expect(printed).toMatch(/^from repository 2: \S+F {2}full, /m)
    expect(printed).toMatch(/^Restored to \S+Z\./m)
    expect((await backup('verify', '--repository', '2')).printed).toBe(`repository 2: ${SOUND}`)
  })
})
