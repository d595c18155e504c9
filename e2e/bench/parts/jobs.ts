import { setTimeout as sleep } from 'node:timers/promises'
import { overrideEnvironment } from '#config'
import { systemContext, transaction } from '#database'
import { closeJobs, submitJob } from '#jobs'
import { ensureRabbit, startRabbit } from '../../../infra/local/engines/rabbitmq.ts'
import { type BenchCluster, type BenchDatabase, useDatabase } from '../bench-cluster.ts'
import { closeLater } from '../closing.ts'
import { startContender, startFunction } from '../contenders/servers.ts'
import type { Options } from '../options.ts'
import type { Measurement } from '../report/measurement.ts'
import type { Section } from '../report/results.ts'
import { createRecorder, rotated } from '../report/rounds.ts'

/** The number of jobs for each measured second, which is the target rate. All are submitted as fast as possible. */
const JOBS_PER_SECOND = 4_000
/** The number of jobs in a transaction, as for a change that needs several. */
const SUBMITTED_AT_ONCE = 100
const END_MAX_MS = 120_000

/**
 * Measures jobs a second, from the insert of the first job to the success of the last, with one worker process and work that does nothing:
 * through RabbitMQ (quorum queues, each message confirmed and acknowledged), or polled from the table.
 */
export async function measureJobs(
  cluster: BenchCluster,
  options: Options,
  progress: (line: string) => void,
): Promise<Pick<Section, 'series' | 'note'>> {
  const recorder = createRecorder('jobs', progress)
  await ensureRabbit(progress)
  const rabbit = await startRabbit()
  const stopRabbit = closeLater(rabbit.stop)
  const contenders = [
    { contender: 'told of by RabbitMQ', url: rabbit.url },
    { contender: 'found in the table', url: 'postgres:' },
  ]
  for (let round = 1; round <= options.rounds; round++) {
    for (const { contender, url } of rotated(contenders, round - 1)) {
      const database = await cluster.createDatabase(options.products)
      const settings = { JOBS_URL: url, JOBS_QUEUE: `bench-${round}` }
      const dispatcher = await startFunction('dispatch-jobs', database.url, cluster.folder, settings)
      const worker = await startContender('job-server', database.url, cluster.folder, settings)
      await useDatabase(database.url)
      await closeJobs()
      overrideEnvironment(settings)
      await measure(database, options.warmSeconds)
      recorder.note(round, contender, 'submitted and done', await measure(database, options.seconds))
      await Promise.all([dispatcher.stop(), worker.stop()])
      await database.remove()
    }
  }
  await closeJobs()
  overrideEnvironment({ JOBS_URL: undefined, JOBS_QUEUE: undefined })
  await stopRabbit()
  return { series: recorder.series, note: `RabbitMQ ${rabbit.version}.` }
}

async function measure({ sql }: BenchDatabase, seconds: number): Promise<Measurement> {
  await sql`truncate jobs cascade`
  const count = seconds * JOBS_PER_SECOND
  for (let done = 0; done < count; done += SUBMITTED_AT_ONCE) await submit()
  const deadline = Date.now() + END_MAX_MS
  while ((await sql`select 1 from jobs where state <> 'succeeded' limit 1`).length > 0) {
    if (Date.now() > deadline) break
    await sleep(100)
  }
  const [row] = await sql<[{ done: number; again: number; seconds: number; p50Ms: number; p99Ms: number }]>`
    select count(*)::int as done, count(*) filter (where attempts > 1)::int as again,
      extract(epoch from max(updated_at) - min(created_at))::float8 as seconds,
      (1000 * percentile_cont(0.5) within group (order by extract(epoch from updated_at - created_at)))::float8 as "p50Ms",
      (1000 * percentile_cont(0.99) within group (order by extract(epoch from updated_at - created_at)))::float8 as "p99Ms"
    from jobs where state = 'succeeded'`
  return {
    perSecond: row.done / row.seconds,
    p50Ms: row.p50Ms,
    p99Ms: row.p99Ms,
    answers: { succeeded: row.done, 'tried again': row.again },
    acknowledged: count,
    lost: count - row.done,
  }
}

function submit(): Promise<unknown> {
  const context = systemContext('function:bench')
  const request = { type: 'verify-ledger', payload: {} } as const
  return transaction(context, (tx) =>
    Promise.all(Array.from({ length: SUBMITTED_AT_ONCE }, () => submitJob(request, context, tx))),
  )
}
