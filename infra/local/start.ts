import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { environment } from '#config'
import { banner } from './banner.ts'
import { type EngineUrls, namedEngines, startEngines } from './engines/start-engines.ts'
import { lockFolder } from './folder-lock.ts'
import { checkThatPortIsFree } from './ports.ts'
import { type Cluster, startCluster } from './postgres/cluster.ts'
import type { ServedFunctions } from './serve-functions.ts'
import { readSettings, type Settings } from './settings.ts'
import { removeStackFile, writeStackFile } from './stack-file.ts'
import { createTeardown, type Teardown } from './teardown.ts'

const USAGE = `npm start [-- --engines] [--observe]: PostgreSQL with a replica, every function and the router, in one process.

  --engines             Redis, Kafka and RabbitMQ too, instead of what is embedded; each is started, and first installed where
                        that is possible (root on Debian), unless its URL is set
  --observe             keeps the last 1,000 traces, with their lines of the log: npm run trace -- <request id | trace id>

  PORT                  3000
  HOST                  127.0.0.1
  METRICS_PORT          where the metrics are, on 127.0.0.1; any free port, which stack.json names
  DATA_DIR              .local; where the data and stack.json are
  SEED                  1; 0 leaves out the demo catalogue, and is the default with a DATABASE_URL
  BOOTSTRAP_API_KEY     an admin key; dev-admin-key, with the embedded PostgreSQL on a loopback address only
  DATABASE_URL          a PostgreSQL to use instead of the embedded one
  DATABASE_REPLICA_URL  its replica
  CACHE_URL             memory:; a redis:// URL for a cache and rate limits that all processes share
  EVENTS_URL            postgres:, the log in the database; kafka://host:port[,host:port]
  JOBS_URL              postgres:, the queue in the database; amqp://user:password@host:port
  RATE_LIMIT            1000 requests a second of each API key, twice that at once; 0: no limit
  ALLOWED_HOSTS         hosts to serve besides localhost and loopback addresses: names or addresses, with commas between
  LOG_LEVEL             info
  ACCESS_LOG            1, a line for each request; 0 leaves them out
`

/** Requests get a few seconds to end. A request that hangs longer must not prevent a clean shutdown of the database. */
const FUNCTIONS_MS = 8_000

const progress = (line: string) => {
  process.stdout.write(`[${(performance.now() / 1000).toFixed(1).padStart(4)}s] ${line}\n`)
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      help: { type: 'boolean', short: 'h' },
      engines: { type: 'boolean', default: false },
      observe: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    process.stdout.write(USAGE)
    return
  }
  const settings = readSettings(environment())
  await checkThatPortIsFree(settings)
  const teardown = createTeardown(progress)
  try {
    await bringUp(settings, values, teardown)
    await teardown.requested()
  } catch (error) {
    teardown.fail(error)
  }
  const exitCode = await teardown.run()
  if (exitCode === 0) progress('stopped')
  process.exit(exitCode)
}

async function bringUp(
  settings: Settings,
  { engines: withEngines, observe }: { engines: boolean; observe: boolean },
  teardown: Teardown,
): Promise<void> {
  const { dataDir, databaseUrl, databaseReplicaUrl, bootstrapApiKey } = settings
  await mkdir(dataDir, { recursive: true })
  const lock = await lockFolder(dataDir)
  teardown.add('releasing the data folder', lock.release)
  // A killed run may have left its file behind, which would be wrong while this run starts.
  await removeStackFile(dataDir)

  const stack = { refresh: () => {} }
  // Loading all functions takes about as long as starting PostgreSQL, so both run at the same time.
  const loading = import('./serve-functions.ts')
  // After PostgreSQL is up: on two cores, starting three more servers at the same time would delay all of them.
  const cluster = databaseUrl ? undefined : await startEmbedded(dataDir, teardown, () => stack.refresh())
  const named = namedEngines(environment())
  const engines = withEngines ? await startEngines(join(dataDir, 'engines'), named, teardown, progress) : named
  teardown.signal.throwIfAborted()
  const { serveFunctions } = await loading
  teardown.signal.throwIfAborted()
  const service = await serveFunctions({
    ...settings,
    engines,
    observe,
    databaseUrl: databaseUrl ?? cluster?.primaryUrl ?? '',
    databaseReplicaUrl: cluster ? cluster.replicaUrl : databaseReplicaUrl,
    progress,
  })
  teardown.add('stopping the functions', service.stop, FUNCTIONS_MS)
  teardown.signal.throwIfAborted()
  stack.refresh = await publish({ ...settings, engines }, service, cluster, teardown)
  process.stdout.write(banner(service, bootstrapApiKey))
}

async function startEmbedded(dataDir: string, teardown: Teardown, onChange: () => void): Promise<Cluster> {
  const cluster = await startCluster({
    dataDir: join(dataDir, 'postgres'),
    replica: true,
    progress,
    signal: teardown.signal,
    onUnexpectedExit: (role, detail) => {
      progress(`the ${role} ended unexpectedly: ${detail}`)
      onChange()
    },
    onRestart: (role) => {
      progress(`the ${role} is back`)
      onChange()
    },
  })
  teardown.add('stopping PostgreSQL', cluster.stop)
  return cluster
}

/** Writes stack.json. Returns the function that writes it again after process ids have changed. */
async function publish(
  settings: Settings & { engines: EngineUrls },
  service: ServedFunctions,
  cluster: Cluster | undefined,
  teardown: Teardown,
) {
  const { dataDir, databaseUrl, databaseReplicaUrl, engines } = settings
  const write = () =>
    writeStackFile(dataDir, {
      routerUrl: service.url,
      metricsUrl: service.metricsUrl,
      ...(service.tracesUrl && { tracesUrl: service.tracesUrl }),
      databaseUrl: databaseUrl ?? cluster?.primaryUrl ?? '',
      databaseReplicaUrl: (cluster ? cluster.replicaUrl : databaseReplicaUrl) ?? null,
      ...(Object.keys(engines).length > 0 && { engines }),
      pids: { node: process.pid, ...(cluster?.pids() ?? { primary: null, replica: null }) },
    })
  await write()
  // One write at a time, and none after the removal: two servers may come back at the same time, or during a stop.
  let last = Promise.resolve()
  teardown.add('removing stack.json', () => last.then(() => removeStackFile(dataDir)))
  return () => {
    last = last.then(() => (teardown.signal.aborted ? undefined : write())).catch(teardown.fail)
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(1)
})
