import { randomInt } from 'node:crypto'
import fc from 'fast-check'
import { expect, vi } from 'vitest'
import { environment } from '#config'
import { systemContext, transaction } from '#database'
import { submitJob } from '#jobs'
import { sql } from '#testing'
import type { JobsBroker } from '#testing/rabbit'
import { listeningUrl, type Started, startFixture } from '../processes.ts'

/** A process of dispatch-jobs or process-job that can be killed. */
export interface JobsProcess {
  /** Returns how many jobs it has begun since its last start. */
  begun: () => number
  kill: () => Promise<void>
  restart: () => Promise<void>
}

export interface Work {
  /** A job takes up to this long. */
  workMs?: number
  concurrency?: number
}

export async function startProcess(
  role: 'dispatch-jobs' | 'process-job',
  { settings }: Pick<JobsBroker, 'settings'>,
  { workMs = 0, concurrency = 8 }: Work = {},
): Promise<JobsProcess> {
  const { DATABASE_URL = '' } = environment()
  let started: Started | undefined
  const process: JobsProcess = {
    begun: () => started?.lines.filter((line) => line === 'began').length ?? 0,
    async kill() {
      started?.process.kill('SIGKILL')
      await started?.exit
      started = undefined
    },
    async restart() {
      started = await startFixture(new URL('./jobs-process.ts', import.meta.url), {
        ...settings,
        DATABASE_URL,
        ROLE: role,
        WORK_MS: String(workMs),
        CONCURRENCY: String(concurrency),
        PORT: '0',
      })
      await listeningUrl(started)
    },
  }
  await process.restart()
  return process
}

export async function killAll(processes: JobsProcess[]): Promise<void> {
  await Promise.all(processes.splice(0).map((process) => process.kill()))
}

/** Queues jobs in transactions of a hundred. */
export async function submitMany(count: number): Promise<void> {
  const context = systemContext('function:test')
  for (let done = 0; done < count; done += 100) {
    await transaction(context, async (tx) => {
      for (let index = done; index < Math.min(done + 100, count); index++) {
        await submitJob({ type: 'verify-ledger', payload: {} }, context, tx)
      }
    })
  }
}

const FAR_MS = 90_000

/** Resolves when at least `count` jobs have succeeded. */
export async function succeeded(count: number): Promise<void> {
  const look = async () => {
    const [row] = await sql<[{ done: number }]>`select count(*) as done from jobs where state = 'succeeded'`
    expect(row.done).toBeGreaterThanOrEqual(count)
  }
  await vi.waitFor(look, { timeout: FAR_MS, interval: 50 })
}

/** Fails unless every job has ended, with its effect there once, and nothing is left that would start it again. */
export async function expectAllDone(count: number, broker: JobsBroker): Promise<void> {
  await succeeded(count)
  const states = await sql`select state, count(*) from jobs group by state`
  expect([...states]).toEqual([{ state: 'succeeded', count }])
  // Two attempts that both took effect would have left two chunks, or the same chunk twice.
  const effects = await sql`
    select count(*) as chunks, count(distinct job_id) as jobs, sum(json_array_length(rows))::int as rows from job_results`
  expect([...effects]).toEqual([{ chunks: count, jobs: count, rows: count }])
  await vi.waitFor(
    async () => {
      const { JOBS_QUEUE: queue } = broker.settings
      const left = await broker.withChannel(async (channel) => ({
        waiting: (await channel.checkQueue(`${queue}.verify-ledger`)).messageCount,
        dead: (await channel.checkQueue(`${queue}.dead`)).messageCount,
      }))
      expect(left).toEqual({ waiting: 0, dead: 0 })
      expect(await sql`select 1 from job_dispatches`).toEqual([])
    },
    { timeout: FAR_MS, interval: 100 },
  )
}

/** Returns seeds for randomized tests: from `JOBS_SEED`, or new ones. */
export function seeds(count: number): number[] {
  const { JOBS_SEED } = environment()
  if (JOBS_SEED !== undefined) return [Number(JOBS_SEED)]
  const first = randomInt(1_000_000_000)
  return Array.from({ length: count }, (_, index) => first + index)
}

export function draw<Value>(arbitrary: fc.Arbitrary<Value>, seed: number): Value {
  const [drawn] = fc.sample(arbitrary, { seed, numRuns: 1 })
  if (drawn === undefined) throw new Error('fast-check drew nothing')
  return drawn
}
