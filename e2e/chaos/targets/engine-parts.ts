import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { openProxy, type TcpProxy } from '#testing/proxy'
import { ensureKafka, startKafka } from '../../../infra/local/engines/kafka.ts'
import { ensureRabbit, startRabbit } from '../../../infra/local/engines/rabbitmq.ts'
import { ensureRedis, startRedis } from '../../../infra/local/engines/redis.ts'
import { freePort } from '../../../infra/local/ports.ts'
import { startCluster } from '../../../infra/local/postgres/cluster.ts'
import { withConnection } from '../../../infra/local/postgres/sql.ts'
import { processesNaming, serverProcesses, signalAll } from '../../../infra/local/processes.ts'
import { closeLater } from '../../bench/closing.ts'
import type { engineParts } from '../faults.ts'

export interface Engine {
  /** Sends SIGKILL. The engine is then started again automatically. */
  kill: () => void
  /** Sends a signal to all of its processes. */
  signal: (name: NodeJS.Signals) => void
  /** Sets how late a replica replays. */
  lag?: (delay: string) => Promise<void>
}

type EnginePart = (typeof engineParts)[number]

export interface Engines {
  engines: Record<EnginePart, [Engine & { name: string; proxy: TcpProxy }]>
  /** The settings by which functions find the engines, through the network in front of each. */
  settings: Record<string, string>
  /** The primary's URL, without that network. */
  directUrl: string
}

/** How long an engine stays down after a kill. This is not for PostgreSQL, which has its own supervisor. */
const DOWN_MS = 1_000

/** Starts a primary with its replica, Redis, Kafka and RabbitMQ. Calls `fail` if one does not come back. */
export async function startEngineParts(
  folder: string,
  progress: (line: string) => void,
  fail: (line: string) => void,
): Promise<Engines> {
  progress('starting PostgreSQL and its replica, Redis, Kafka, RabbitMQ')
  await ensureRedis(progress)
  await ensureKafka(progress)
  await ensureRabbit(progress)
  const again = (name: string, restart: () => Promise<unknown>) => () => {
    restart().catch((error: Error) => fail(`${name} did not come back: ${error.message}`))
  }
  const postgres = await startPostgres(join(folder, 'postgres'))
  const redis = await startRedisPart(join(folder, 'redis'), again)
  const kafka = await startKafkaPart(again)
  const rabbitmq = await startRabbitPart(join(folder, 'rabbitmq'), again)
  return {
    engines: {
      primary: [postgres.primary],
      replica: [postgres.replica],
      redis: [redis],
      kafka: [kafka],
      rabbitmq: [rabbitmq],
    },
    directUrl: postgres.directUrl,
    settings: {
      DATABASE_URL: postgres.primary.proxy.url,
      DATABASE_REPLICA_URL: postgres.replica.proxy.url,
      DATABASE_POOL_MAX: '4',
      CACHE_URL: redis.proxy.url,
      EVENTS_URL: `${kafka.proxy.url}?partitions=4`,
      JOBS_URL: rabbitmq.proxy.url,
      RATE_LIMIT: '0',
      ACCESS_LOG: '0',
      WEBHOOK_ALLOW_PRIVATE: '1',
    },
  }
}

async function networkBefore(url: string): Promise<TcpProxy> {
  const proxy = await openProxy(url)
  closeLater(proxy.close)
  return proxy
}

type Again = (name: string, restart: () => Promise<unknown>) => () => void

async function startPostgres(dataDir: string) {
  const cluster = await startCluster({ dataDir, replica: true, restartAfterMs: DOWN_MS })
  closeLater(cluster.stop)
  const { primaryUrl, replicaUrl = '' } = cluster
  const part = async (name: 'primary' | 'replica', url: string) => {
    const pids = () => {
      const { roots, children } = serverProcesses(join(dataDir, name))
      // The postmaster first, since it would start new children.
      return [...roots, ...children]
    }
    const kill = () => signalAll([cluster.pids()[name] ?? []].flat(), 'SIGKILL')
    return {
      name,
      kill,
      signal: (signal: NodeJS.Signals) => signalAll(pids(), signal),
      proxy: await networkBefore(url),
    }
  }
  const lag = (delay: string) =>
    withConnection(replicaUrl, async (sql) => {
      await sql.unsafe(`alter system set recovery_min_apply_delay = '${delay}'`)
      await sql`select pg_reload_conf()`
    })
  return {
    directUrl: primaryUrl,
    primary: await part('primary', primaryUrl),
    replica: { ...(await part('replica', replicaUrl)), lag },
  }
}

async function startRedisPart(folder: string, again: Again) {
  const port = await freePort()
  let redis = await startRedis({ port, folder })
  closeLater(() => redis.stop())
  const kill = again('redis', async () => {
    process.kill(redis.pid, 'SIGKILL')
    await redis.stop()
    await sleep(DOWN_MS)
    redis = await startRedis({ port, folder })
  })
  const signal = (name: NodeJS.Signals) => signalAll([redis.pid], name)
  return { name: 'redis', kill, signal, proxy: await networkBefore(redis.url) }
}

async function startKafkaPart(again: Again) {
  const port = await freePort()
  const proxy = await networkBefore(`kafka://127.0.0.1:${port}`)
  const kafka = await startKafka({ port, advertisedPort: Number(new URL(proxy.url).port) })
  closeLater(kafka.stop)
  const kill = again('kafka', async () => {
    await kafka.kill()
    await sleep(DOWN_MS)
    await kafka.restart()
  })
  return { name: 'kafka', kill, signal: (name: NodeJS.Signals) => signalAll([kafka.pid()], name), proxy }
}

async function startRabbitPart(folder: string, again: Again) {
  const rabbit = await startRabbit({ folder })
  closeLater(rabbit.stop)
  const kill = again('rabbitmq', async () => {
    await rabbit.kill()
    await sleep(DOWN_MS)
    await rabbit.restart()
  })
  const signal = (name: NodeJS.Signals) => signalAll(processesNaming(folder, ['beam.smp']), name)
  return { name: 'rabbitmq', kill, signal, proxy: await networkBefore(rabbit.url) }
}
