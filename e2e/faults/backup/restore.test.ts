import { randomUUID } from 'node:crypto'
import { appendFile, open, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { findRepositories, readRepository } from '../../../infra/backup/repository/repository.ts'
import { onPrivateServer } from '../../../infra/backup/restore/private-server.ts'
import { checkRestored } from '../../../infra/backup/restore/restored.ts'
import type { PostgresServer } from '../../../infra/local/postgres/postgres-server.ts'
import { withConnection } from '../../../infra/local/postgres/sql.ts'
import {
  type ArchivingCluster,
  findPgBackRest,
  installBackup,
  runBackup,
  startArchivingCluster,
} from './archiving-cluster.ts'

// A server that archives its WAL, with one backup in the middle of its writes. Each test restores it by the command line, as a person would.

vi.setConfig({ testTimeout: 180_000, hookTimeout: 900_000 })

const say = (line: string) => process.stdout.write(`restore: ${line}\n`)
const program = await findPgBackRest(say)

let archiving: ArchivingCluster
let app: string
let backupName: string
/** Before the backup, between the writes 2 and 3 after it, and after all of them. */
const moments = { first: '', between: '', last: '' }
/** A moment within the second in which the backup ended. */
let asItEnded: string

beforeAll(async () => {
  if (program === undefined) return
  archiving = await startArchivingCluster(program, { folder: 'first', key: 'the-key' })
  app = await installBackup(archiving)
  await onPrimary((sql) => sql`create table writes (what text primary key)`)
  moments.first = await moment()
  await write('1 before the backup')
  expect((await runBackup(archiving, app, '', ['now', '--type', 'full'])).failed).toBe('')
  const [repository] = await findRepositories(archiving.run)
  const backup = repository && (await readRepository(repository.run)).backups[0]
  backupName = backup?.name ?? ''
  const endedAt = backup?.endedAt.getTime() ?? 0
  asItEnded = new Date(endedAt + 999).toISOString()
  await vi.waitFor(() => expect(Date.now()).toBeGreaterThan(endedAt + 1_000), { timeout: 5_000, interval: 5 })
  await write('2 after the backup')
  moments.between = await moment()
  await write('3 after the moment')
  await archived()
  moments.last = await moment()
})
afterAll(() => archiving?.stop())

const onPrimary = <Result>(work: Parameters<typeof withConnection<Result>>[1]) =>
  withConnection(archiving.cluster.primaryUrl, work)

const write = (what: string) => onPrimary((sql) => sql`insert into writes values (${what})`)

/** Returns a moment after all earlier writes and before all later ones, to the millisecond, which is what a person can name. */
async function moment(): Promise<string> {
  const at = new Date(Date.now() + 1)
  await vi.waitFor(() => expect(Date.now()).toBeGreaterThan(at.getTime()), { timeout: 1_000, interval: 1 })
  return at.toISOString()
}

/** Waits until all earlier writes are in the archive. */
async function archived(): Promise<void> {
  const [{ segment }] = await onPrimary(
    (sql) => sql<[{ segment: string }]>`select pg_walfile_name(pg_switch_wal()) as segment`,
  )
  await vi.waitFor(
    async () => {
      const [row] = await onPrimary(
        (sql) => sql<[{ last: string | null }]>`select last_archived_wal as last from pg_stat_archiver`,
      )
      expect(row.last ?? '').toMatch(/^[0-9A-F]{24}$/)
      expect((row.last ?? '') >= segment).toBe(true)
    },
    { timeout: 60_000, interval: 100 },
  )
}

/** Makes an empty folder for a cluster, in a folder that the account owns. */
async function emptyFolder(name: string): Promise<string> {
  await archiving.makeFolder(name)
  return archiving.makeFolder(`${name}/data`)
}

const restoreTo = (folder: string, ...args: string[]) => runBackup(archiving, app, folder, ['restore', ...args])

const onRestored = <Result>(folder: string, work: (server: PostgresServer) => Promise<Result>) =>
  onPrivateServer({ folder, programs: archiving.programs, progress: say }, work)

const writesAt = (server: PostgresServer) =>
  withConnection(server.url('stock'), async (sql) => {
    const rows = await sql<Array<{ what: string }>>`select what from writes order by what`
    return rows.map(({ what }) => what)
  })

/** Returns each file below a folder, with its size and its time of modification. */
async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = await Promise.all(
    entries.map(async (entry) => {
      const path = join(entry.parentPath, entry.name)
      const { size, mtimeMs } = await stat(path)
      return `${path} ${size} ${mtimeMs}`
    }),
  )
  return files.sort()
}

const ALL = ['1 before the backup', '2 after the backup', '3 after the moment']

describe.skipIf(program === undefined)('a restore from the repository', () => {
  it('to a moment brings back what was written before it, and nothing after it, on a server that is promoted and marked', async () => {
    const folder = await emptyFolder('between')
    const { printed, failed } = await restoreTo(folder, '--to', moments.between)
    expect(failed).toBe('')
    expect(printed).toMatch(new RegExp(`^from ${backupName}  full, `))
    expect(printed).toMatch(/^Restored to \S+Z\./m)
    await onRestored(folder, async (server) => {
      expect(await writesAt(server)).toEqual(ALL.slice(0, 2))
      const state = await withConnection(
        server.url('stock'),
        (sql) => sql`
          select timeline_id as timeline, pg_is_in_recovery() as recovers,
                 (select count(*)::int from restores where resumed_at is null) as marks
          from pg_control_checkpoint()`,
      )
      expect([...state]).toEqual([{ timeline: 2, recovers: false, marks: 1 }])
    })
  })

  it('to a backup by its name brings back its end', async () => {
    const folder = await emptyFolder('named')
    expect((await restoreTo(folder, '--to', backupName)).failed).toBe('')
    expect(await onRestored(folder, writesAt)).toEqual(ALL.slice(0, 1))
  })

  it.each([
    ['a moment before the first backup', () => moments.first, /^There is no backup to restore \S+Z from \(list\)\.$/m],
    ['the second in which the backup ended', () => asItEnded, /^There is no backup to restore \S+Z from \(list\)\.$/m],
    ['a moment that is to come', () => '2999-01-01T00:00:00Z', /^2999-01-01T00:00:00\.000Z is to come/m],
    ['an unknown backup', () => '20200101-000000F', /^There is no backup to restore the end of 20200101-000000F from/m],
    ['no moment', () => 'yesterday', /^Say to what: --to latest, /m],
  ])('to %s is refused in a line, and touches nothing', async (_what, target, line) => {
    const parent = await archiving.makeFolder(`refused-${randomUUID()}`)
    const folder = join(parent, 'data')
    for (const dryRun of [[], ['--dry-run']]) {
      const { printed, failed } = await restoreTo(folder, '--to', target(), ...dryRun)
      expect(failed).toMatch(line)
      expect(failed.trim().split('\n')).toHaveLength(1)
      expect(printed).toBe('')
    }
    expect(await readdir(parent)).toEqual([])
  })

  it('to a moment after the end of the archive says where that ends, and can be repeated to the latest', async () => {
    const folder = await emptyFolder('after')
    const { failed } = await restoreTo(folder, '--to', moments.last)
    expect(failed).toMatch(
      /^The archive ends before \S+Z: its last commit is of \S+ \S+\. Restore that by --to latest --delta/m,
    )
    expect((await restoreTo(folder, '--to', 'latest', '--delta')).failed).toBe('')
    expect(await onRestored(folder, writesAt)).toEqual(ALL)
  })

  it('with --dry-run says from where and what, and touches nothing', async () => {
    const folder = join(archiving.folder, 'between/data')
    const before = await filesIn(join(archiving.folder, 'between'))
    for (const delta of [[], ['--delta']]) {
      const { printed, failed } = await restoreTo(folder, '--to', moments.between, '--dry-run', ...delta)
      expect(failed).toBe('')
      expect(printed).toMatch(
        new RegExp(
          `^from ${backupName}  full, .*\nWould restore it to ${folder}, and the log up to ${moments.between};`,
        ),
      )
    }
    expect(await filesIn(join(archiving.folder, 'between'))).toEqual(before)
  })

  it('is refused where there are files, and with --delta mends what is damaged, missing or too much', async () => {
    const folder = join(archiving.folder, 'between/data')
    const before = await filesIn(folder)
    const { failed } = await restoreTo(folder, '--to', 'latest')
    expect(failed).toContain('because it contains files')
    expect(await filesIn(folder)).toEqual(before)

    const paths = await onRestored(folder, async (server) => {
      expect(await checkRestored(server.url('stock'), () => {})).toEqual([])
      const [row] = await withConnection(
        server.url('stock'),
        (sql) => sql<[{ writes: string; products: string }]>`
          select pg_relation_filepath('writes') as writes, pg_relation_filepath('products') as products`,
      )
      return row
    })
    await overwrite(join(folder, paths.writes))
    expect(await onRestored(folder, (server) => checkRestored(server.url('stock'), () => {}))).toEqual([
      expect.stringMatching(/^table writes: .*invalid page in block 0/),
      expect.stringMatching(/^index writes_pkey: .*invalid page in block 0/),
    ])
    await rm(join(folder, paths.products))
    await appendFile(join(folder, 'base/of-nobody'), 'x')
    expect((await restoreTo(folder, '--to', 'latest', '--delta')).failed).toBe('')
    await onRestored(folder, async (server) => {
      expect(await writesAt(server)).toEqual(ALL)
      expect(await checkRestored(server.url('stock'), () => {})).toEqual([])
    })
    expect(await readdir(join(folder, 'base'))).not.toContain('of-nobody')
  })

  it('is refused while a server runs there, which goes on', async () => {
    const folder = join(archiving.folder, 'postgres/primary')
    const { failed } = await restoreTo(folder, '--to', 'latest', '--delta')
    expect(failed).toContain('unable to restore while PostgreSQL is running')
    await write('4 after the refusal')
    expect(await onPrimary((sql) => sql`select from writes`)).toHaveLength(4)
  })
})

describe.skipIf(program === undefined)('a drill of the repository', () => {
  const drill = () => runBackup(archiving, app, '', ['drill'])
  const holdAt = (number: number, at: string) =>
    onPrimary(
      (sql) => sql`
      insert into reservations (id, state, expires_at, created_at, updated_at)
      values (${`ffffffff-0000-7000-8000-00000000000${number}`}, 'expired', ${at}, ${at}, ${at})`,
    )

  it('says what a loss would have cost, and how long it took until a reservation was held', async () => {
    await holdAt(1, '2999-01-01T00:00:00Z')
    await archived()
    const whole = await drill()
    expect(whole.failed).toBe('')
    expect(whole.printed).toMatch(
      /^RPO 0\.0 s: the server's newest write is of 2999-01-01T00:00:00\.000Z, the newest .* is of 2999-/m,
    )
    expect(whole.printed).toMatch(/^RTO \d+\.\d s: /m)
    expect(whole.printed).toMatch(/^The drill has succeeded\.\nThe drill took \d+\.\d s\.$/m)
    await holdAt(2, '2999-01-01T00:01:30Z')
    expect((await drill()).printed).toMatch(/^RPO 90\.0 s: the server's newest write is of 2999-01-01T00:01:30/m)
  })

  it('demands the migrations that the server has had for long, and tells of others', async () => {
    const migrations = await onPrimary(
      (sql) => sql<Array<{ name: string }>>`select name from schema_migrations order by name`,
    )
    const last = migrations.at(-1)?.name ?? ''
    await onPrimary((sql) => sql`delete from schema_migrations where name = ${last}`)
    await archived()
    const { printed, failed } = await drill()
    expect(failed).toBe('')
    expect(printed).toContain(`${last} is not in the archive or not applied yet`)
    // As if the migration had been applied before, and the restore had lost it.
    await onPrimary((sql) => sql`insert into schema_migrations values (${last}, now() - interval '2 hours')`)
    expect((await drill()).failed).toContain(`the schema lacks ${last}`)
  })

  it('fails where no reservation can be held', async () => {
    await onPrimary((sql) => sql`alter table reservations add constraint closed check (false) not valid`)
    await archived()
    const { printed, failed } = await drill()
    expect(failed).toMatch(/^no reservation can be held: .*closed/m)
    expect(printed).not.toContain('RTO')
  })
})

/** Writes over the middle of a file's first page. */
async function overwrite(path: string): Promise<void> {
  const file = await open(path, 'r+')
  await file.write(Buffer.alloc(512, 0x5a), 0, 512, 7_000)
  await file.close()
}
