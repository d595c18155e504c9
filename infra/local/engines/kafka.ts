import { freePort } from '../ports.ts'
import { openFolder } from './engine-folder.ts'
import { ensureArchive } from './kafka-archive.ts'
import { ADDRESS, type Broker, prepareFolder, QUICK_COMPILER, spawnBroker, untilUp } from './kafka-broker.ts'
import { ensureKafkaJars, KAFKA_VERSION } from './kafka-jars.ts'
import { aclProperties, propertiesOf } from './kafka-properties.ts'

export interface RunningKafka {
  url: string
  pid: () => number
  /** A line that describes the running engine. */
  description: string
  /** Sends SIGKILL, as if the machine failed. */
  kill: () => Promise<void>
  /** Starts it again after a kill, on the same port and with its data. */
  restart: () => Promise<void>
  stop: () => Promise<void>
}

interface KafkaOptions {
  port?: number
  /** The port that the broker announces to clients, for a proxy in front. */
  advertisedPort?: number
  /** The folder for its data. Default: a temporary one. */
  folder?: string
  /** Whether it uses access control lists. A resource without one is open to all. */
  hasAcls?: boolean
  /** Whether it is for a test: it then starts with a third less work, but is slower once it has run for a long time. */
  isBrief?: boolean
}

/** Ensures that Kafka can be started, and fast. Returns its version. Otherwise throws an error that says what to do. */
export async function ensureKafka(progress: (line: string) => void): Promise<string> {
  await ensureArchive(await ensureKafkaJars(progress), progress)
  return KAFKA_VERSION
}

/**
 * Starts a broker that is its own controller (KRaft), on loopback ports and in its own folder. The folder is removed at the end
 * unless it was named. Throws an error with the broker's output if it does not come up.
 */
export async function startKafka(
  options: KafkaOptions = {},
  progress: (line: string) => void = () => {},
): Promise<RunningKafka> {
  const files = await ensureKafkaJars(progress)
  const port = options.port ?? (await freePort())
  const advertisedPort = options.advertisedPort ?? port
  const folder = await openFolder('kafka', ['java'], options.folder)
  const properties = propertiesOf(port, advertisedPort, await freePort())
  await prepareFolder(files, folder.path, { ...properties, ...(options.hasAcls && aclProperties) })

  let broker: Broker | undefined
  const kill = async () => broker?.end('SIGKILL')
  const start = async () => {
    broker = await spawnBroker(files, folder.path, options.isBrief ? [QUICK_COMPILER] : [])
    await untilUp(broker, port, progress)
  }
  // Killed, since a clean shutdown takes 5 s. No acknowledged data is lost.
  const stop = async () => {
    await kill()
    await folder.leave()
  }
  try {
    await start()
  } catch (error) {
    await stop()
    throw error
  }
  return {
    url: `kafka://${ADDRESS}:${advertisedPort}`,
    pid: () => broker?.child.pid ?? 0,
    description: `Kafka ${KAFKA_VERSION} on port ${port}`,
    kill,
    restart: start,
    stop,
  }
}
