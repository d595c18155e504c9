import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { watch } from '../../local/engines/watch.ts'
import { readStackFile } from '../../local/stack-file.ts'
import { waitUntil } from '../../local/waits.ts'

const START = fileURLToPath(new URL('../../local/start.ts', import.meta.url))
/** The service starts in 4 s on an idle laptop. */
const START_MAX_MS = 120_000

/** A write that a client can repeat: the same path, body and key each time. */
export interface Write {
  path: string
  body: object
  key: string
}

export interface Answer {
  status: number
  text: string
  token: string | null
  isReplay: boolean
}

/** The service in a separate process. */
export interface Shop {
  write: (write: Write) => Promise<Answer>
  read: (path: string, token?: string) => Promise<Answer>
  stop: () => Promise<void>
}

/** Makes an admin key for this drill, for the shops before and after the loss. */
export const newKey = () => `drill-${randomBytes(18).toString('base64url')}`

/** Starts the service on a database, with its demo catalogue. Throws an error with its output if it does not come up. `signal` ends it. */
export async function startShop(databaseUrl: string, folder: string, key: string, signal: AbortSignal): Promise<Shop> {
  await mkdir(folder, { recursive: true })
  const settings = {
    DATABASE_URL: databaseUrl,
    DATA_DIR: folder,
    BOOTSTRAP_API_KEY: key,
    HOST: '127.0.0.1',
    PORT: '0',
    SEED: '1',
    RATE_LIMIT: '0',
    LOG_LEVEL: 'error',
  }
  const child = spawn(process.execPath, ['--import', 'tsx', START], {
    env: { PATH: process.env.PATH, ...settings },
    stdio: ['ignore', 'pipe', 'pipe'],
    signal,
    killSignal: 'SIGKILL',
  })
  const { output, hasEnded, ended } = watch(child)
  const stop = async () => {
    child.kill('SIGKILL')
    await ended
  }
  const urlOf = async () => (await readStackFile(folder))?.routerUrl
  await waitUntil(async () => hasEnded() || (await urlOf()) !== undefined, START_MAX_MS, 100)
  const url = hasEnded() ? undefined : await urlOf()
  if (url === undefined) {
    await stop()
    throw new Error(`The service did not start: ${output()}`)
  }
  const authorization = `Bearer ${key}`
  return {
    write: ({ path, body, key: idempotencyKey }) => {
      const headers = { authorization, 'content-type': 'application/json', 'idempotency-key': idempotencyKey }
      return send(url + path, { method: 'POST', headers, body: JSON.stringify(body) })
    },
    read: (path, token) =>
      send(url + path, { headers: { authorization, ...(token && { 'consistency-token': token }) } }),
    stop,
  }
}

/** A request that takes longer hangs: the database is gone. */
const ANSWER_MAX_MS = 15_000

async function send(url: string, request: RequestInit): Promise<Answer> {
  const response = await fetch(url, { ...request, signal: AbortSignal.timeout(ANSWER_MAX_MS) })
  return {
    status: response.status,
    text: await response.text(),
    token: response.headers.get('consistency-token'),
    isReplay: response.headers.get('idempotent-replayed') === 'true',
  }
}
