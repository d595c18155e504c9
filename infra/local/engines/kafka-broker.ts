import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { waitUntil } from '../waits.ts'
import { exists } from './debian.ts'
import type { KafkaFiles } from './kafka-jars.ts'
import { watch } from './watch.ts'

const run = promisify(execFile)

export const ADDRESS = '127.0.0.1'
/** A start takes 4 s on two idle cores. After a kill, the controller first waits until the broker's session has expired. */
const START_MAX_MS = 60_000
const START_NOTICE_MS = 2_000
/** Java's optimising compiler only pays off for a process that runs for minutes. */
export const QUICK_COMPILER = '-XX:TieredStopAtLevel=1'
const PROPERTIES_FILE = 'server.properties'
export const DATA_FOLDER = 'data'

export type Properties = Record<string, string | number | boolean>

/** Writes the properties of a broker into its folder. Formats its data folder as the storage of a new cluster, unless it already is one. */
export async function prepareFolder(files: KafkaFiles, folder: string, properties: Properties): Promise<void> {
  const lines = Object.entries(properties).map(([name, value]) => `${name}=${value}\n`)
  await writeFile(join(folder, PROPERTIES_FILE), lines.join(''))
  if (await exists(join(folder, DATA_FOLDER, 'meta.properties'))) return
  // Name and value are one argument: an id may begin with a dash, and would be taken for the next option.
  const options = [`--cluster-id=${randomBytes(16).toString('base64url')}`, '--config', PROPERTIES_FILE]
  const args = [...(await javaArgs(files, QUICK_COMPILER)), 'kafka.tools.StorageTool', 'format', ...options]
  await run('java', args, optionsIn(folder))
}

export interface Broker {
  child: ChildProcess
  output: () => string
  hasEnded: () => boolean
  end: (signal: 'SIGTERM' | 'SIGKILL') => Promise<void>
}

/** Starts a broker in a prepared folder, with additional Java options. */
export async function spawnBroker(files: KafkaFiles, folder: string, javaOptions: string[]): Promise<Broker> {
  // Our own property, by which the process is found.
  const own = ['-Xmx512m', `-Dstock.folder=${folder}`]
  const args = [...(await javaArgs(files, ...own, ...javaOptions)), 'kafka.Kafka', PROPERTIES_FILE]
  const child = spawn('java', args, { ...optionsIn(folder), stdio: ['ignore', 'pipe', 'pipe'] })
  const { output, hasEnded, ended } = watch(child)
  const end = async (signal: NodeJS.Signals) => {
    child.kill(signal)
    if (!hasEnded()) await ended
  }
  return { child, output, hasEnded, end }
}

/** Resolves once the broker answers at `port`. Throws with its output if it does not come up. */
export async function untilUp(broker: Broker, port: number, progress: (line: string) => void): Promise<void> {
  const notice = setTimeout(() => progress('waiting for Kafka to answer'), START_NOTICE_MS)
  try {
    const isUp = await waitUntil(async () => broker.hasEnded() || (await answers(port)), START_MAX_MS, 50)
    if (!isUp || broker.hasEnded()) throw new Error(`Kafka did not start: ${broker.output()}`)
  } finally {
    clearTimeout(notice)
  }
}

/**
 * Kafka runs in its folder and gets only relative names, so that the folder's own name does not matter: Kafka takes a comma as the end
 * of a path, and Java can't open names with characters outside its locale.
 */
const optionsIn = (folder: string) => ({ cwd: folder, env: { ...process.env, LC_ALL: 'C.UTF-8' } })

/** The serial garbage collector uses the least of a small heap and of two cores. */
async function javaArgs({ jars, archive }: KafkaFiles, ...more: string[]): Promise<string[]> {
  const classes = (await exists(archive)) ? [`-XX:SharedArchiveFile=${archive}`] : []
  const logging = '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn'
  return ['-cp', join(jars, '*'), ...classes, '-XX:+UseSerialGC', logging, ...more]
}

/** An ApiVersions request, version 0. A broker answers it without authentication: https://kafka.apache.org/protocol#The_Messages_ApiVersions */
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
