import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { freePort } from '../ports.ts'
import { waitUntil } from '../waits.ts'
import { exists } from './debian.ts'
import { openFolder } from './engine-folder.ts'
import { ensureKafkaJars, KAFKA_VERSION } from './kafka-jars.ts'
import { watch } from './watch.ts'

const run = promisify(execFile)

export interface RunningKafka {
  url: string
  pid: () => number
  /** A line that describes what runs. */
  description: string
  /** SIGKILL: as when the machine fails. */
  kill: () => Promise<void>
  /** Starts it again after a kill, on the same port and with its data. */
  restart: () => Promise<void>
  stop: () => Promise<void>
}

interface KafkaOptions {
  port?: number
  /** The port that the broker announces to clients, for a proxy in front. */
  advertisedPort?: number
  /** The folder in which its data is kept. Default: a temporary one. */
  folder?: string
  /** Whether it has access control lists. A resource without one is open to all. */
  hasAcls?: boolean
  /** Whether it is for a test: it starts with a third less work, and is slower once it has run for long. */
  isBrief?: boolean
}

/** It takes 4 s on two quiet cores; after a kill the controller waits first until the broker's session has expired. */
const START_MAX_MS = 60_000
const START_NOTICE_MS = 2_000
const ADDRESS = '127.0.0.1'
/** Java's optimising compiler pays for what runs for minutes. */
const QUICK_COMPILER = '-XX:TieredStopAtLevel=1'
const PROPERTIES_FILE = 'server.properties'
const DATA_FOLDER = 'data'

/** Ensures that Kafka can be started. Gives its version; throws with what to do otherwise. */
export async function ensureKafka(progress: (line: string) => void): Promise<string> {
  await ensureKafkaJars(progress)
  return KAFKA_VERSION
}

/**
 * Starts a broker, which is its own controller (KRaft), on loopback ports and in a folder of its own, which is removed at the end
 * unless it was named. Throws with its output if it does not come up.
 */
export async function startKafka(
  options: KafkaOptions = {},
  progress: (line: string) => void = () => {},
): Promise<RunningKafka> {
  const jars = await ensureKafkaJars(progress)
  const port = options.port ?? (await freePort())
  const folder = await openFolder('kafka', ['java'], options.folder)
  const properties = {
    ...propertiesOf(port, options.advertisedPort ?? port, await freePort()),
    ...(options.hasAcls && aclProperties),
  }
  await writeFile(join(folder.path, PROPERTIES_FILE), toText(properties))
  if (!(await exists(join(folder.path, DATA_FOLDER, 'meta.properties')))) await format(jars, folder.path)

  let broker: Broker | undefined
  const kill = async () => broker?.kill()
  const start = async () => {
    broker = spawnBroker(jars, folder.path, options.isBrief ?? false)
    const notice = setTimeout(() => progress('waiting for Kafka to answer'), START_NOTICE_MS)
    try {
      const isUp = await waitUntil(async () => broker?.hasEnded() || (await answers(port)), START_MAX_MS, 50)
      if (!isUp || broker.hasEnded()) throw new Error(`Kafka did not start: ${broker.output()}`)
    } finally {
      clearTimeout(notice)
    }
  }
  // A kill, since a clean shutdown takes 5 s, and no acknowledged data is lost.
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
    url: `kafka://${ADDRESS}:${options.advertisedPort ?? port}`,
    pid: () => broker?.child.pid ?? 0,
    description: `Kafka ${KAFKA_VERSION} on port ${port}`,
    kill,
    restart: start,
    stop,
  }
}

/** Makes the data folder the storage of a new cluster. */
async function format(jars: string, folder: string): Promise<void> {
  // One argument, since an id may begin with a dash, and would be taken for the next option.
  const options = [`--cluster-id=${randomBytes(16).toString('base64url')}`, '--config', PROPERTIES_FILE]
  const args = [...javaArgs(jars, QUICK_COMPILER), 'kafka.tools.StorageTool', 'format', ...options]
  await run('java', args, optionsIn(folder))
}

interface Broker {
  child: ChildProcess
  output: () => string
  hasEnded: () => boolean
  kill: () => Promise<void>
}

function spawnBroker(jars: string, folder: string, isBrief: boolean): Broker {
  // A property of our own, by which the process is found.
  const args = [
    ...javaArgs(jars, '-Xmx512m', ...(isBrief ? [QUICK_COMPILER] : []), `-Dstock.folder=${folder}`),
    'kafka.Kafka',
    PROPERTIES_FILE,
  ]
  const child = spawn('java', args, { ...optionsIn(folder), stdio: ['ignore', 'pipe', 'pipe'] })
  const { output, hasEnded, ended } = watch(child)
  const kill = async () => {
    child.kill('SIGKILL')
    if (!hasEnded()) await ended
  }
  return { child, output, hasEnded, kill }
}

/**
 * Kafka runs in its folder and gets only relative names, so that the folder's own name does not matter: Kafka takes a comma for the end
 * of a path, and Java can't open names with characters outside of its locale.
 */
const optionsIn = (folder: string) => ({ cwd: folder, env: { ...process.env, LC_ALL: 'C.UTF-8' } })

/** The serial collector takes the least of a small heap and of two cores. */
function javaArgs(jars: string, ...more: string[]): string[] {
  const logging = '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn'
  return ['-cp', join(jars, '*'), '-XX:+UseSerialGC', logging, ...more]
}

function propertiesOf(port: number, advertisedPort: number, controllerPort: number) {
  return {
    'process.roles': 'broker,controller',
    'node.id': 1,
    'controller.quorum.voters': `1@${ADDRESS}:${controllerPort}`,
    listeners: `PLAINTEXT://${ADDRESS}:${port},CONTROLLER://${ADDRESS}:${controllerPort}`,
    'advertised.listeners': `PLAINTEXT://${ADDRESS}:${advertisedPort}`,
    'controller.listener.names': 'CONTROLLER',
    'log.dirs': DATA_FOLDER,
    'auto.create.topics.enable': false,
    // One broker, and each partition costs files and time at its start.
    'offsets.topic.num.partitions': 1,
    'offsets.topic.replication.factor': 1,
    'transaction.state.log.num.partitions': 1,
    'transaction.state.log.replication.factor': 1,
    'transaction.state.log.min.isr': 1,
    'share.coordinator.state.topic.num.partitions': 1,
    'share.coordinator.state.topic.replication.factor': 1,
    'share.coordinator.state.topic.min.isr': 1,
    'group.initial.rebalance.delay.ms': 0,
    // Lets a test's consumers have shorter sessions than the 6 s that are the default's least.
    'group.min.session.timeout.ms': 1_000,
    // A broker that restarts after a kill has to wait until its earlier session has expired.
    'broker.session.timeout.ms': 1_500,
    'broker.heartbeat.interval.ms': 300,
  }
}

const aclProperties = {
  'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
  'allow.everyone.if.no.acl.found': true,
}

const toText = (properties: Record<string, string | number | boolean>) =>
  Object.entries(properties)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('')

/** ApiVersions, version 0, which a broker answers without authentication: https://kafka.apache.org/protocol#The_Messages_ApiVersions */
const API_VERSIONS = Buffer.from([0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 0, 255, 255])

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: ADDRESS, timeout: 1_000 }, () => socket.write(API_VERSIONS))
    const end = (isAnswer: boolean) => {
      socket.destroy()
      resolve(isAnswer)
    }
    socket.once('data', () => end(true))
    for (const event of ['error', 'timeout', 'close']) socket.once(event, () => end(false))
  })
}
