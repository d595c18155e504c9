import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { EngineUrls } from './engines/start-engines.ts'
import { livingHolders, STACK_FILE } from './folder-lock.ts'

export interface Stack {
  routerUrl: string
  /** The metrics of the process that runs all functions. */
  metricsUrl: string
  /** The URL of the kept traces, with `--observe`. */
  tracesUrl?: string
  databaseUrl: string
  databaseReplicaUrl: string | null
  /** The engines that are not embedded. */
  engines?: EngineUrls
  pids: { node: number; primary: number | null; replica: number | null }
}

/** Writes the addresses of the running stack. The file contains the database's password, so only the owner may read it. It is replaced as a whole. */
export async function writeStackFile(dataDir: string, stack: Stack): Promise<void> {
  const unfinished = `${stackFile(dataDir)}.new`
  await rm(unfinished, { force: true })
  await writeFile(unfinished, `${JSON.stringify(stack, null, 2)}\n`, { mode: 0o600 })
  await rename(unfinished, stackFile(dataDir))
}

/** Returns the running stack, or undefined if none runs. A stack that was killed leaves its file behind. */
export async function readStackFile(dataDir: string): Promise<Stack | undefined> {
  const written = await readFile(stackFile(dataDir), 'utf8').catch(() => undefined)
  if (written === undefined) return undefined
  const stack = JSON.parse(written) as Stack
  return (await livingHolders(dataDir)).includes(stack.pids.node) ? stack : undefined
}

/** Removes the file while the stack is not up, or is about to stop. */
export async function removeStackFile(dataDir: string): Promise<void> {
  await rm(stackFile(dataDir), { force: true })
}

function stackFile(dataDir: string): string {
  return join(dataDir, STACK_FILE)
}
