import { type BenchCluster, startBenchCluster } from './bench-cluster.ts'
import { withClosing } from './closing.ts'
import { type Options, type Part, readOptions } from './options.ts'
import { measureAdjust } from './parts/adjust.ts'
import { ARCHIVING_SERVER, measureBackup } from './parts/backup.ts'
import { measureBulk } from './parts/bulk.ts'
import { measureCheckout } from './parts/checkout.ts'
import { measureEvents } from './parts/events.ts'
import { measureJobs } from './parts/jobs.ts'
import { LARGE_SERVER, measureLarge } from './parts/large.ts'
import { measureLatency } from './parts/latency.ts'
import { measurePipeline } from './parts/pipeline.ts'
import { measureProcesses } from './parts/processes.ts'
import { measureRates } from './parts/rates.ts'
import { measureReads } from './parts/reads.ts'
import { measureRefused } from './parts/refused.ts'
import { measureReplica } from './parts/replica.ts'
import { measureRestore } from './parts/restore.ts'
import { measureRouter } from './parts/router.ts'
import { measureStack } from './parts/stack.ts'
import { measureStart } from './parts/start-time.ts'
import { measureTelemetry } from './parts/telemetry.ts'
import { publish } from './report/publish.ts'
import { describeMachine, type Section, writeResults } from './report/results.ts'

type Measure = (
  cluster: BenchCluster,
  options: Options,
  progress: (line: string) => void,
) => Promise<Pick<Section, 'series' | 'sellOuts' | 'note'> & { transactions?: string }>

const measures: Record<Exclude<Part, 'start'>, Measure> = {
  rates: measureRates,
  checkout: measureCheckout,
  adjust: measureAdjust,
  bulk: measureBulk,
  latency: measureLatency,
  router: measureRouter,
  processes: measureProcesses,
  refused: measureRefused,
  reads: measureReads,
  replica: measureReplica,
  stack: measureStack,
  telemetry: measureTelemetry,
  backup: measureBackup,
  events: measureEvents,
  pipeline: measurePipeline,
  jobs: measureJobs,
  large: measureLarge,
  restore: measureRestore,
}

/** Parts that start their own PostgreSQL. The parts after them use it too. */
const serverOf: Partial<Record<Part, Parameters<typeof startBenchCluster>[1]>> = {
  replica: { replica: true },
  stack: { replica: true },
  backup: ARCHIVING_SERVER,
  large: LARGE_SERVER,
  restore: { settings: { ...LARGE_SERVER.settings, ...ARCHIVING_SERVER.settings } },
}

const startedAt = performance.now()

function progress(line: string): void {
  process.stderr.write(`${((performance.now() - startedAt) / 1_000).toFixed(0).padStart(5)} s  ${line}\n`)
}

async function main(): Promise<void> {
  const options = optionsOrExit()
  await withClosing(async () => {
    let cluster: BenchCluster | undefined
    for (const part of options.render ? [] : options.parts) {
      if (part === 'start') {
        await writeResults(options.folder, { start: { ...stamp(), millisecondsTo: await measureStart(progress) } })
        continue
      }
      const server = serverOf[part]
      if (server || !cluster) cluster = await startBenchCluster(progress, server)
      const { transactions, ...measured } = await measures[part](cluster, options, progress)
      const machine = { ...describeMachine(), postgresql: cluster.serverVersion, ...(transactions && { transactions }) }
      const { rounds, seconds, warmSeconds, connections, products, largeProducts } = options
      const settings = { rounds, seconds, warmSeconds, connections, products, largeProducts }
      // After each part, so that an interrupted run keeps its results so far.
      await writeResults(options.folder, { [part]: { ...stamp(), machine, settings, ...measured } })
    }
    process.stdout.write(`\n${await publish(options.folder)}\n`)
  })
}

function optionsOrExit(): Options {
  try {
    return readOptions()
  } catch (error) {
    process.stderr.write(`${(error as Error).message} --help says more.\n`)
    process.exit(2)
  }
}

const stamp = () => ({ measuredAt: new Date().toISOString(), machine: describeMachine() })

await main()
