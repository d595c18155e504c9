import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { environment } from '#config'
import { sql } from '#testing'
import { openProxy, type TcpProxy } from '#testing/proxy'
import { startNode } from '../processes.ts'

/** The test's server, which claims to be PostgreSQL 14. */
let server: TcpProxy

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url))

beforeAll(async () => {
  const [version] = await sql<[{ name: string; number: string }]>`
    select current_setting('server_version') as name, current_setting('server_version_num') as number`
  const disguise = (bytes: Buffer) =>
    Buffer.from(
      bytes
        .toString('latin1')
        .replaceAll(version.number, '140009')
        .replaceAll(version.name, '14.9'.padEnd(version.name.length)),
      'latin1',
    )
  server = await openProxy(environment().DATABASE_URL ?? '', disguise)
})

afterAll(() => server.close())

it.each([
  ['a migration', at('../../../infra/migrate/index.ts')],
  ['npm start', at('../../../infra/local/start.ts')],
  ['a function', at('../processes/host-fixture.ts')],
])('%s ends with one line where the server is too old', async (_, file) => {
  const started = startNode(file, {
    DATABASE_URL: server.url,
    DATA_DIR: '/tmp/never-made',
    PORT: '0',
    HOST: '127.0.0.1',
    BOOTSTRAP_API_KEY: 'an-admin-key-of-this-test',
    NODE_OPTIONS: '--import tsx',
  })
  expect(await started.exit).toBe(1)
  const complaints = started.lines.filter((line) => line.includes('PostgreSQL'))
  expect(complaints).toEqual([
    expect.stringMatching(/^DATABASE_URL: is PostgreSQL 14\.9 *; this service needs PostgreSQL 15 or newer$/),
  ])
  expect(started.lines.join('\n')).not.toContain(' at ')
})
