import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { ensureKafka } from '../infra/local/engines/kafka.ts'
import { ensurePatroni } from '../infra/local/engines/patroni.ts'
import { ensurePgBackRest } from '../infra/local/engines/pgbackrest.ts'
import { ensurePgBouncer } from '../infra/local/engines/pgbouncer.ts'
import { ensurePostgres15 } from '../infra/local/engines/postgres-15.ts'
import { ensureProgram } from '../infra/local/engines/prometheus.ts'
import { ensureRabbit } from '../infra/local/engines/rabbitmq.ts'
import { ensureRedis } from '../infra/local/engines/redis.ts'
import { ensureS3Store } from '../infra/local/engines/s3-store.ts'
import { useScratchFolder } from '../infra/testing/scratch-folder.ts'
import { type Counts, runEndToEnd } from './collection/run.ts'

const USAGE = `npm test

Lint, types, dead code; then every suite (vitest) and the Postman collection (Newman) on a stack of their own.
The last line counts what passed, failed and was skipped.

  TEST_REDIS_URL, TEST_KAFKA_URL, TEST_RABBIT_URL in the environment: servers to use instead of ones that are started
  TMPDIR in the environment: where servers keep their data, instead of in memory where Linux has the room

Parts of it:

  npm run test:unit                          the tests that need no server
  npm run test:related                       the tests that import what has changed since this branch left main, committed or not
  npm run test:related -- --project pure     those of them that need no server
  npx vitest run --project engines           the tests on servers, without those that kill, cut and pause things (--project faults)
  npx vitest run shared/stock                a folder's
`

const root = fileURLToPath(new URL('../', import.meta.url))

/** Runs a command of this project's own packages and passes its output through. Returns its exit code. */
function run(name: string, args: string[]): Promise<number> {
  const bin = join(root, 'node_modules', '.bin', name)
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [bin, ...args], { cwd: root, stdio: 'inherit' })
    child.once('error', reject)
    child.once('exit', (code) => resolve(code ?? 1))
  })
}

async function check(): Promise<boolean> {
  const startedAt = performance.now()
  const checks: Array<[string, string[]]> = [
    ['biome', ['check', '--error-on-warnings', '.']],
    ['tsc', []],
    ['knip', []],
  ]
  const codes = await Promise.all(checks.map(([name, args]) => run(name, args)))
  if (codes.some((code) => code !== 0)) return false
  process.stdout.write(`lint, types and dead code are fine (${seconds(startedAt)} s)\n`)
  return true
}

/** The servers that the suites start. */
const servers: Record<string, (say: (line: string) => void) => Promise<unknown>> = {
  redis: ensureRedis,
  rabbitmq: ensureRabbit,
  kafka: ensureKafka,
  pgbackrest: ensurePgBackRest,
  's3 store': ensureS3Store,
  pgbouncer: ensurePgBouncer,
  'postgresql 15': ensurePostgres15,
  prometheus: (say) => ensureProgram('prometheus', say),
  patroni: ensurePatroni,
}

/** Fetches the missing servers. If one can't be fetched, the suite that needs it says so and skips its tests. */
async function fetchServers(): Promise<void> {
  const fetching = Object.entries(servers).map(([name, ensure]) =>
    ensure((line) => process.stdout.write(`${name}: ${line}\n`)),
  )
  await Promise.allSettled(fetching)
}

/** Runs the vitest suites. A run that breaks before it has counted anything is one failure. */
async function suites(): Promise<Counts> {
  const folder = await mkdtemp(join(tmpdir(), 'stock-report-'))
  const file = join(folder, 'report.json')
  try {
    const code = await run('vitest', ['run', '--reporter=default', '--reporter=json', `--outputFile.json=${file}`])
    const report = JSON.parse(await readFile(file, 'utf8').catch(() => '{}'))
    const { numPassedTests: passed = 0, numFailedTests: failed = 0, numPendingTests: skipped = 0 } = report
    return { passed, failed: code !== 0 && failed === 0 ? 1 : failed, skipped }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Runs the Postman collection, and writes its lines in one piece. A run that breaks is one failure. */
async function collection(): Promise<Counts> {
  const lines: string[] = []
  const counts = await runEndToEnd({ write: (text) => lines.push(text) }).catch((error: Error) => {
    lines.push(`${error.message}\n`)
    return { passed: 0, failed: 1, skipped: 0 }
  })
  process.stdout.write(lines.join(''))
  return counts
}

const seconds = (startedAt: number) => ((performance.now() - startedAt) / 1000).toFixed(0)

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { help: { type: 'boolean', short: 'h' } } })
  if (values.help) {
    process.stdout.write(USAGE)
    return
  }
  useScratchFolder()
  const startedAt = performance.now()
  // The first uses the CPU, the second waits for the network.
  const [isFine] = await Promise.all([check(), fetchServers()])
  if (!isFine) {
    process.stdout.write('0 passed, 1 failed\n')
    process.exit(1)
  }
  // The collection spends most of its time waiting for holds and keys to expire.
  const counts = await Promise.all([suites(), collection()])
  const sum = (name: keyof Counts) => counts.reduce((total, count) => total + count[name], 0)
  process.stdout.write(`all of it took ${seconds(startedAt)} s on Node ${process.version}\n`)
  process.stdout.write(`${sum('passed')} passed, ${sum('failed')} failed, ${sum('skipped')} skipped\n`)
  process.exit(sum('failed') === 0 && sum('passed') > 0 ? 0 : 1)
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(1)
})
