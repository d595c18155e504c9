import { join } from 'node:path'
import { ensureKafka, startKafka } from './engines/kafka.ts'
import { ensureRabbit, startRabbit } from './engines/rabbitmq.ts'
import { ensureRedis, startRedis } from './engines/redis.ts'
import type { Teardown } from './teardown.ts'

const settings = ['CACHE_URL', 'EVENTS_URL', 'JOBS_URL'] as const
/** Where the engines are that take the place of what is embedded, by the setting that says so. */
export type EngineUrls = { [Setting in (typeof settings)[number]]?: string }

/** Those that the environment names. */
export function namedEngines(environment: Record<string, string | undefined>): EngineUrls {
  return Object.fromEntries(settings.flatMap((name) => (environment[name] ? [[name, environment[name]]] : [])))
}

interface Engine {
  url: string
  description: string
  stop: () => Promise<void>
}

/**
 * Starts Redis, Kafka and RabbitMQ, side by side, with their data in `folder`; but none for which a URL is given. Throws with what
 * to install where one of them can't be had.
 */
export async function startEngines(
  folder: string,
  given: EngineUrls,
  teardown: Teardown,
  progress: (line: string) => void,
): Promise<EngineUrls> {
  const start = async (name: string, starter: (say: (line: string) => void, folder: string) => Promise<Engine>) => {
    const say = (line: string) => progress(`${name}: ${line}`)
    say('starting')
    const engine = await starter(say, join(folder, name.toLowerCase()))
    teardown.add(`stopping ${name}`, engine.stop)
    say(engine.description)
    return engine.url
  }
  const starting = [
    given.CACHE_URL ??
      start('Redis', async (say, own) => {
        await ensureRedis(say)
        return startRedis({ folder: own })
      }),
    given.EVENTS_URL ??
      start('Kafka', async (say, own) => {
        await ensureKafka(say)
        return startKafka({ folder: own }, say)
      }),
    given.JOBS_URL ??
      start('RabbitMQ', async (say, own) => {
        await ensureRabbit(say)
        return startRabbit({ folder: own })
      }),
  ] as const
  // One that fails must not leave another half started, with nothing in the teardown yet.
  await Promise.allSettled(starting)
  const [CACHE_URL, EVENTS_URL, JOBS_URL] = await Promise.all(starting)
  return { CACHE_URL, EVENTS_URL, JOBS_URL }
}
