import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { arrows, forbiddenImports } from './arrows.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))

const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.ts'], {
  cwd: root,
  encoding: 'utf8',
})
  .trim()
  .split('\n')

it('no file imports what the arrows forbid', () => {
  expect(files.length).toBeGreaterThan(500)
  expect(files.flatMap((file) => forbiddenImports(file, readFileSync(`${root}${file}`, 'utf8')))).toEqual([])
})

it('no arrow leads in a circle', () => {
  const reached = (from: string, seen: ReadonlySet<string> = new Set()): string[] =>
    (arrows[from]?.modules ?? []).flatMap((to) => (seen.has(to) ? [] : [to, ...reached(to, new Set([...seen, to]))]))
  expect(Object.keys(arrows).filter((name) => reached(name).includes(name))).toEqual([])
})

it.each([
  [
    'shared/stock/changes/reserve.ts',
    "import { createProduct } from '#products'",
    'no arrow leads from stock to products',
  ],
  ['shared/input/text.ts', "import type { Reservation } from '#stock/schema'", 'no arrow leads from input to stock'],
  ['shared/input/text.ts', "type Held = import('#stock/schema').Reservation", 'no arrow leads from input to stock'],
  ['shared/events/outbox/outbox.ts', "export * from '#jobs'", 'no arrow leads from events to jobs'],
  ['shared/events/outbox/outbox.ts', "export { submitJob } from '#jobs'", 'no arrow leads from events to jobs'],
  ['shared/jobs/attempts/claim.ts', "const kafka = await import('kafkajs')", 'jobs does not own this package'],
  ['shared/stock/stock.test.ts', "import { Redis } from 'ioredis'", 'stock does not own this package'],
  ['functions/get-stock/index.ts', "import postgres from 'postgres'", 'functions does not own this package'],
  ['functions/get-stock/index.ts', "import other from '../get-product/index.ts'", 'functions do not import each other'],
  ['functions/get-stock/index.ts', "import { sql } from '#testing'", 'only tests import what is made for tests'],
  [
    'shared/events/outbox/relay.ts',
    "import { told } from './events-fixture.ts'",
    'only tests import what is made for tests',
  ],
  [
    'shared/stock/changes/reserve.ts',
    "import { startCluster } from '../../../infra/local/postgres/cluster.ts'",
    'no arrow leads',
  ],
  ['shared/stock/changes/reserve.ts', "import type { Sql } from '../../database/connect.ts'", 'is entered by its name'],
  ['infra/router/proxy/proxy.ts', "import { pools } from '#function/pools'", 'package.json has no such name'],
])('finds the import planted in %s: %s', (file, source, reason) => {
  expect(forbiddenImports(file, source)).toEqual([expect.stringContaining(reason)])
})
