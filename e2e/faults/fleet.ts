import { fileURLToPath } from 'node:url'
import { environment } from '#config'
import { buildOfAll } from '#testing/builds'
import { listeningUrl, type Started, startNode } from './processes.ts'

/** One process of a function's bundle. */
export interface Member {
  name: string
  /** Returns its URL, which changes at each restart. */
  url: () => string
  /** Returns its log lines since its last start. */
  lines: () => string[]
  /** Returns its own metrics in the Prometheus text format. */
  metrics: () => Promise<string>
  /** Sends SIGSTOP. Returns a function that sends SIGCONT. */
  pause: () => () => void
  /** Sends SIGKILL and waits for its end. */
  kill: () => Promise<void>
  /** Sends SIGTERM and waits for its end. Throws if the process does not end cleanly. */
  drain: () => Promise<void>
  /** Starts it again, from then on with these additional settings, if given. */
  restart: (settings?: Record<string, string>) => Promise<void>
}

export interface Fleet {
  members: Member[]
  /** Returns the members that serve one function. */
  of: (name: string) => Member[]
  stop: () => Promise<void>
}

/**
 * Starts a process of a function's bundle for each name, on the database of this test, with more settings if given. A name may come
 * several times. If the bundles of another release are given, starts those.
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
      // For the rate limit, a load test is a single client.
      const defaults = { DATABASE_URL, PORT: '0', HOST: '127.0.0.1', RATE_LIMIT: '0', LOG_LEVEL: 'info' }
      started = startNode(file, { ...defaults, ...more })
      url = await listeningUrl(started)
    },
  }
}
