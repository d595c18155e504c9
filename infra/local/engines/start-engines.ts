import { join } from 'node:path'
import type { Teardown } from '../teardown.ts'
import { ensureKafka, startKafka } from './kafka.ts'
import { ensureRabbit, startRabbit } from './rabbitmq.ts'
import { ensureRedis, startRedis } from './redis.ts'

const settings = ['CACHE_URL', 'EVENTS_URL', 'JOBS_URL'] as const
/** The URLs of engines that replace the embedded ones, by setting. */
export type EngineUrls = { [Setting in (typeof settings)[number]]?: string }

/** The engines that the environment names. */
export function namedEngines(environment: Record<string, string | undefined>): EngineUrls {
  return Object.fromEntries(settings.flatMap((name) => (environment[name] ? [[name, environment[name]]] : [])))
}

interface RunningEngine {
  url: string
  description: string
  stop: () => Promise<void>
}

/**
 * Starts Redis, Kafka and RabbitMQ at the same time, with their data in `folder`, except those with a URL in `given`. Throws with what
 * to install if one of them is missing.
 */
export async function startEngines(
  folder: string,
  given: EngineUrls,
  teardown: Teardown,
  progress: (line: string) => void,
): Promise<EngineUrls> {
  const start = async (
    name: string,
    starter: (say: (line: string) => void, folder: string) => Promise<RunningEngine>,
  ) => {
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
  // A failure must not leave another engine half started: the teardown does not know that engine yet.
  await Promise.allSettled(starting)
  const [CACHE_URL, EVENTS_URL, JOBS_URL] = await Promise.all(starting)
  return { CACHE_URL, EVENTS_URL, JOBS_URL }
}
