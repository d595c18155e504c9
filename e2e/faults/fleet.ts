import { fileURLToPath } from 'node:url'
import { environment } from '#config'
import { buildOfAll } from '#testing/builds'
import { listeningUrl, type Started, startNode } from './processes.ts'

/** One process of a function's bundle. */
export interface Member {
  name: string
  /** Where it listens: elsewhere after each restart. */
  url: () => string
  /** Its own metrics, in the Prometheus text format. */
  metrics: () => Promise<string>
  /** SIGSTOP, and SIGCONT by what it gives. */
  pause: () => () => void
  /** SIGKILL, and the wait for its end. */
  kill: () => Promise<void>
  restart: () => Promise<void>
}

export interface Fleet {
  members: Member[]
  /** Those that serve one function. */
  of: (name: string) => Member[]
  stop: () => Promise<void>
}

/**
 * Starts a process of a function's bundle for each name, on the database of this test, with more settings if given; a name may come
 * several times.
 */
export async function startFleet(names: string[], settings: Record<string, string> = {}): Promise<Fleet> {
  const { dist } = await buildOfAll()
  const members = names.map((name) =>
    createMember(name, fileURLToPath(new URL(`functions/${name}/index.mjs`, dist)), settings),
  )
  const stop = async () => {
    await Promise.all(members.map((member) => member.kill()))
  }
  try {
    await Promise.all(members.map((member) => member.restart()))
  } catch (error) {
    await stop()
    throw error
  }
  return { members, of: (wanted) => members.filter(({ name }) => name === wanted), stop }
}

function createMember(name: string, file: string, more: Record<string, string>): Member {
  let started: Started | undefined
  let url = ''
  return {
    name,
    url: () => url,
    metrics: async () => (await fetch(`${url}/metrics`)).text(),
    pause() {
      started?.process.kill('SIGSTOP')
      return () => started?.process.kill('SIGCONT')
    },
    async kill() {
      started?.process.kill('SIGKILL')
      await started?.exit
      started = undefined
    },
    async restart() {
      const { DATABASE_URL = '' } = environment()
      // A load test is one client to the rate limit.
      const settings = { DATABASE_URL, PORT: '0', HOST: '127.0.0.1', RATE_LIMIT: '0', LOG_LEVEL: 'info', ...more }
      started = startNode(file, settings)
      url = await listeningUrl(started)
    },
  }
}
