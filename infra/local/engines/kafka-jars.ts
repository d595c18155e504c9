import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { exists, installPackages } from './debian.ts'

const run = promisify(execFile)

export const KAFKA_VERSION = '4.4.0'
/** The oldest Java that brokers of Kafka 4 run on. */
const JAVA_MIN = 17
const COPY = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies'
/** Some 50 jars, 43 MB in all: long enough for a very slow mirror. */
const FETCH_MAX_MS = 300_000

export interface KafkaFiles {
  /** The folder of Kafka's jars and their dependencies. */
  jars: string
  /** The path of the archive of the classes, if there is one. Java accepts it only for these jars and for the Java build that made it. */
  archive: string
}

/**
 * Returns the files that Kafka runs from. Maven fetches the jars once for each user. Java and Maven are installed if they are missing
 * and this is root on Debian. Otherwise throws an error that says what to do.
 */
export async function ensureKafkaJars(progress: (line: string) => void): Promise<KafkaFiles> {
  const jars = join(cacheFolder(), `kafka-${KAFKA_VERSION}`)
  const isThere = await exists(jars)
  await requireTools(isThere, progress)
  if (!isThere) await fetchInto(jars, progress)
  return { jars, archive: join(jars, `java-${await javaBuild()}.jsa`) }
}

function cacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'stock-management-service')
}

async function requireTools(hasJars: boolean, progress: (line: string) => void): Promise<void> {
  const missing = await missingTools(hasJars)
  if (missing.length > 0) await installPackages(missing, progress)
  const stillMissing = missing.length > 0 ? await missingTools(hasJars) : []
  if (stillMissing.length === 0) return
  const what = `there is no Java ${JAVA_MIN} or newer${hasJars ? '' : ', or no Maven'}`
  throw new Error(`${what}: install them (apt-get install ${stillMissing.join(' ')}, brew install openjdk maven)`)
}

/** The Debian packages of the missing tools. */
async function missingTools(hasJars: boolean): Promise<string[]> {
  const [java, maven] = await Promise.all([javaBuild(), hasJars || succeeds('mvn', ['--version'])])
  return [...(Number.parseInt(java, 10) >= JAVA_MIN ? [] : ['default-jre-headless']), ...(maven ? [] : ['maven'])]
}

/** Returns, for example, 17.0.15+6-Debian-1deb12u1, or 0 without Java. */
async function javaBuild(): Promise<string> {
  const { stderr } = await run('java', ['-version']).catch(() => ({ stderr: '' }))
  return /\(build ([\w.+-]+)/.exec(stderr)?.[1] ?? '0'
}

function succeeds(command: string, args: string[]): Promise<boolean> {
  return run(command, args).then(
    () => true,
    () => false,
  )
}

/** Fetches into a temporary folder beside `folder` and then renames it, so that an incomplete folder is never taken for the jars. */
async function fetchInto(folder: string, progress: (line: string) => void): Promise<void> {
  progress(`fetching Kafka ${KAFKA_VERSION} with Maven, once for this user (43 MB)`)
  await mkdir(cacheFolder(), { recursive: true })
  const unfinished = await mkdtemp(`${folder}-unfinished-`)
  try {
    const pom = join(unfinished, 'pom.xml')
    await writeFile(pom, POM)
    const jars = join(unfinished, 'jars')
    const args = ['--batch-mode', '--quiet', '--file', pom, COPY, '-DincludeScope=runtime', `-DoutputDirectory=${jars}`]
    await run('mvn', args, { timeout: FETCH_MAX_MS })
    await rename(jars, folder).catch((error: NodeJS.ErrnoException) => {
      // Another run finished first, with the same jars.
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
    })
  } catch (error) {
    throw new Error(`Kafka could not be fetched with Maven: ${(error as Error).message}`)
  } finally {
    await rm(unfinished, { recursive: true, force: true })
  }
}

const POM = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>stock-management-service</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>${KAFKA_VERSION}</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
`
