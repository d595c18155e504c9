import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { backUp } from '../../../infra/backup/repository/on-repository.ts'
import { ensureStanza, findRepositories, readRepository } from '../../../infra/backup/repository/repository.ts'
import { withConnection } from '../../../infra/local/postgres/sql.ts'
import { type ArchivingCluster, findPgBackRest, startArchivingCluster } from './archiving-cluster.ts'

// A promoted server writes to a new timeline at once, but records it only at its next checkpoint, minutes later if it has much to write.

vi.setConfig({ testTimeout: 120_000, hookTimeout: 900_000 })

const say = (line: string) => process.stdout.write(`promoted: ${line}\n`)
const program = await findPgBackRest(say)

let archiving: ArchivingCluster
beforeAll(async () => {
  if (program === undefined) return
  archiving = await startArchivingCluster(program, { folder: 'first', key: 'the-key' }, { replica: true })
})
afterAll(() => {
  vi.unstubAllEnvs()
  return archiving?.stop()
})

describe.skipIf(program === undefined)('a server that was promoted a moment ago', () => {
  it('is backed up at once', async () => {
    const { cluster, run, process: account } = archiving
    await ensureStanza(run)
    await withConnection(cluster.primaryUrl, (sql) => sql`create table writes as select generate_series(1, 200000)`)
    process.kill(cluster.pids().primary ?? 0, 'SIGKILL')
    await vi.waitFor(() => expect(cluster.pids().primary).toBe(null))
    const url = new URL(cluster.replicaUrl ?? '')
    await withConnection(url.href, (sql) => sql`select pg_promote()`)
    for (const name of ['PGHOST', 'PGUSER', 'PGPASSWORD']) vi.stubEnv(name, account.env[name])
    vi.stubEnv('PGPORT', url.port)
    const [repository] = await findRepositories(run)
    if (repository) await backUp(repository, 'full', say)
    const backups = repository && (await readRepository(repository.run)).backups
    expect(backups?.map(({ archiveStop }) => archiveStop.slice(0, 8))).toEqual(['00000002'])
  })
})
