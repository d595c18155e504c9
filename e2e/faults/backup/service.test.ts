import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { buildOfAll } from '#testing/builds'
import { freePort } from '../../../infra/local/ports.ts'
import { type ArchivingCluster, findPgBackRest, startArchivingCluster } from './archiving-cluster.ts'

// What the container `backup` runs, as a process on a cluster that archives: by itself it makes the first backup, and restores it.

vi.setConfig({ testTimeout: 240_000, hookTimeout: 900_000 })

const say = (line: string) => process.stdout.write(`backup service: ${line}\n`)
const program = await findPgBackRest(say)

let archiving: ArchivingCluster
let service: ChildProcess
let url: string
const lines: string[] = []

beforeAll(async () => {
  if (program === undefined) return
  archiving = await startArchivingCluster(program, { folder: 'repository', key: 'the-key-of-the-backups' })
  const { dist } = await buildOfAll()
  const { primaryUrl } = archiving.cluster
  const settings = { DATABASE_URL: primaryUrl, BOOTSTRAP_API_KEY: 'an-admin-key-of-this-test', SEED: '1' }
  const env = { PATH: process.env.PATH, ...settings }
  await promisify(execFile)(process.execPath, [fileURLToPath(new URL('migrate/index.mjs', dist))], { env })
  service = await start(fileURLToPath(new URL('backup/', dist)))
})
afterAll(async () => {
  service?.kill('SIGKILL')
  await archiving?.stop()
})

/** As the account that the cluster's files belong to. */
async function start(bundle: string): Promise<ChildProcess> {
  const { folder, programs, configFile, account, makeFolder, cluster } = archiving
  const own = await makeFolder('app')
  await cp(bundle, own, { recursive: true })
  await programs.own(own)
  const port = await freePort()
  url = `http://127.0.0.1:${port}`
  const { hostname, port: postgresPort, username, password } = new URL(cluster.primaryUrl)
  const child = spawn(process.execPath, [join(own, 'index.mjs')], {
    ...account,
    cwd: folder,
    env: {
      PATH: `${dirname(program ?? '')}:${process.env.PATH}`,
      PORT: String(port),
      HOST: '127.0.0.1',
      PGHOST: hostname,
      PGPORT: postgresPort,
      PGUSER: username,
      PGPASSWORD: password,
      PGBACKREST_CONFIG: configFile,
      POSTGRES_BIN: dirname(programs.binaries.postgres),
      TMPDIR: await makeFolder('scratch'),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => lines.push(String(text)))
  return child
}

/** The value of a series of its metrics. */
async function metric(series: string): Promise<number | undefined> {
  const text = await (await fetch(`${url}/metrics`)).text()
  const line = text.split('\n').find((each) => each.startsWith(`${series} `))
  return line === undefined ? undefined : Number(line.slice(series.length))
}
const runsOf = (type: string, result: string) => metric(`backup_runs_total{type="${type}",result="${result}"}`)

describe.skipIf(program === undefined)('the process that makes the backups', () => {
  it('makes the first backup, restores it, says so in its metrics, and ends when it is told to', async () => {
    await vi.waitFor(async () => expect(await runsOf('drill', 'succeeded'), lines.join('')).toBe(1), {
      timeout: 200_000,
      interval: 500,
    })
    expect(await Promise.all(['full', 'diff', 'incr'].map((type) => runsOf(type, 'succeeded')))).toEqual([1, 0, 0])
    expect(await Promise.all(['full', 'drill', 'look'].map((type) => runsOf(type, 'failed')))).toEqual([0, 0, 0])
    expect(await metric('backup_age_seconds{type="full"}')).toBeLessThan(200)
    expect(await metric('backup_cluster_bytes')).toBeGreaterThan(1_000_000)
    expect(await metric('backup_archive_gap_segments')).toBe(0)
    expect((await fetch(`${url}/healthz`)).status).toBe(200)
    service.kill('SIGTERM')
    expect(await once(service, 'exit')).toEqual([0, null])
  })
})
