import { fileURLToPath } from 'node:url'
import { environment } from '#config'
import { buildOfAll } from '#testing/builds'
import { listeningUrl, type Started, startNode } from './processes.ts'

/** One process of a function's bundle. */
export interface Member {
  name: string
  /** Where it listens: elsewhere after each restart. */
  url: () => string
  /** What it has logged since its last start. */
  lines: () => string[]
  /** Its own metrics, in the Prometheus text format. */
  metrics: () => Promise<string>
  /** SIGSTOP, and SIGCONT by what it gives. */
  pause: () => () => void
  /** SIGKILL, and the wait for its end. */
  kill: () => Promise<void>
  /** SIGTERM, and the wait for its end. Throws where that is no clean one. */
  drain: () => Promise<void>
  /** With more settings from then on, if given. */
  restart: (settings?: Record<string, string>) => Promise<void>
}

export interface Fleet {
  members: Member[]
  /** Those that serve one function. */
  of: (name: string) => Member[]
  stop: () => Promise<void>
}

/**
 * Starts a process of a function's bundle for each name, on the database of this test, with more settings if given; a name may come
 * several times. Of another release than this one where its bundles are given.
 */
export async function startFleet(
  names: string[],
  settings: Record<string, string> = {},
  bundles?: URL,
): Promise<Fleet> {
  const dist = bundles ?? (await buildOfAll()).dist
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

function createMember(name: string, file: string, settings: Record<string, string>): Member {
  const more = { ...settings }
  let started: Started | undefined
  let url = ''
  return {
    name,
    url: () => url,
    lines: () => started?.lines ?? [],
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
    async drain() {
      started?.process.kill('SIGTERM')
      const code = await started?.exit
      if (code !== 0 && started) throw new Error(`${name} ended with ${code}:\n${started?.lines.join('\n')}`)
      started = undefined
    },
    async restart(changed = {}) {
      Object.assign(more, changed)
      const { DATABASE_URL = '' } = environment()
      // A load test is one client to the rate limit.
      const defaults = { DATABASE_URL, PORT: '0', HOST: '127.0.0.1', RATE_LIMIT: '0', LOG_LEVEL: 'info' }
      started = startNode(file, { ...defaults, ...more })
      url = await listeningUrl(started)
    },
  }
}
