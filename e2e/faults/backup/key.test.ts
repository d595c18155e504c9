import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { backUp } from '../../../infra/backup/repository/on-repository.ts'
import { type BackupType, eachRepository, findRepositories } from '../../../infra/backup/repository/repository.ts'
import { onPrivateServer } from '../../../infra/backup/restore/private-server.ts'
import { withConnection } from '../../../infra/local/postgres/sql.ts'
import { type ArchivingCluster, findPgBackRest, startArchivingCluster } from './archiving-cluster.ts'

// Tests the rotation of the backup key in docs/runbooks/rotate-secrets.md: a second repository with another key replaces the first one, while
// the database is written to and its WAL is archived. Nothing is restarted.

vi.setConfig({ testTimeout: 240_000, hookTimeout: 900_000 })

const say = (line: string) => process.stdout.write(`backup key: ${line}\n`)
const program = await findPgBackRest(say)
const first = { folder: 'first', key: 'the-first-key-of-the-backups' }
const second = { folder: 'second', key: 'the-second-key-of-the-backups' }

let archiving: ArchivingCluster
beforeAll(async () => {
  if (program !== undefined) archiving = await startArchivingCluster(program, first)
})
afterAll(() => archiving?.stop())

const onPrimary = <Result>(work: Parameters<typeof withConnection<Result>>[1]) =>
  withConnection(archiving.cluster.primaryUrl, work)

/** Writes a row, and waits until its WAL segment is in every repository. */
async function writeAndArchive(what: string): Promise<void> {
  const segment = await onPrimary(async (sql) => {
    await sql`insert into writes values (${what})`
    const [row] = await sql<[{ segment: string }]>`select pg_walfile_name(pg_switch_wal()) as segment`
    return row.segment
  })
  await vi.waitFor(
    async () => {
      const [row] = await onPrimary(
        (sql) => sql<[{ last: string | null }]>`select left(last_archived_wal, 24) as last from pg_stat_archiver`,
      )
      expect((row.last ?? '') >= segment).toBe(true)
    },
    { timeout: 60_000, interval: 100 },
  )
}

const backUpAll = async (type: BackupType) =>
  eachRepository(await findRepositories(archiving.run), (repository) => backUp(repository, type, say))

/** Returns the rows that a restore of the newest state brings back. */
async function restored(): Promise<string[]> {
  const { programs, run } = archiving
  const folder = await archiving.makeFolder('restored')
  try {
    await run('restore', `--pg1-path=${folder}`)
    return await onPrivateServer({ folder, programs, progress: say }, (server) =>
      withConnection(server.url('stock'), async (sql) => {
        const rows = await sql<Array<{ what: string }>>`select what from writes order by what`
        return rows.map(({ what }) => what)
      }),
    )
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

describe.skipIf(program === undefined)('the key of the backups', () => {
  it('is rotated by a second repository, from which all is restored once the first one is gone', async () => {
    const { run, archiveTo } = archiving
    await onPrimary((sql) => sql`create table writes (what text primary key)`)
    await run('stanza-create')
    await backUpAll('full')
    await writeAndArchive('1 with the first key')

    await archiving.makeFolder(second.folder)
    await archiveTo(first, second)
    await run('stanza-create')
    await writeAndArchive('2 with both')
    await backUpAll('diff')
    await writeAndArchive('3 with both')

    // From now on, only the second repository exists.
    await archiveTo(second)
    await writeAndArchive('4 with the second key')
    await rm(join(archiving.folder, first.folder), { recursive: true })
    expect(await restored()).toEqual(['1 with the first key', '2 with both', '3 with both', '4 with the second key'])

    await archiveTo({ ...second, key: first.key })
    await expect(restored()).rejects.toThrow('pgBackRest could not restore')
  })
})
