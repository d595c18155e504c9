import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PostgresServer } from '../../local/postgres/postgres-server.ts'
import { readPassword } from '../../local/postgres/prepare-folders.ts'
import type { PostgresPrograms } from '../../local/postgres/programs.ts'
import { waitForPromotion } from './restored.ts'

/** Not less than any server of ours has: recovery stops where the lost one had more. */
const settings = {
  max_connections: '500',
  max_worker_processes: '32',
  // Nothing is archived yet. What is to be, the history of the new timeline above all, is left for the server that comes after.
  archive_mode: 'on',
  archive_command: '',
}

export interface PrivateServer {
  folder: string
  programs: PostgresPrograms
  /** Settings besides those that are needed. */
  more?: Record<string, string>
  progress: (line: string) => void
  signal?: AbortSignal
}

/**
 * Runs a restored cluster to the end of its recovery, and `work` on it, on a port of the loopback address that nobody knows, then stops it.
 * Throws with the end of its log where it does not get there.
 */
export async function onPrivateServer<Result>(
  { folder, programs, more, progress, signal = new AbortController().signal }: PrivateServer,
  work: (server: PostgresServer) => Promise<Result>,
): Promise<Result> {
  const { password, access, remove } = await accessTo(folder, programs)
  const server = new PostgresServer({
    role: 'primary',
    programs,
    folder,
    logFile: `${folder}.log`,
    password,
    port: undefined,
    settings: () => ({ ...settings, ...access, ...more }),
    progress,
    signal,
  })
  try {
    await server.start()
    await waitForPromotion(server)
    return await work(server)
  } finally {
    await server.stop()
    await remove()
    await rm(`${folder}.log`, { force: true })
    await rm(`${folder}.log.1`, { force: true })
  }
}

/**
 * The superuser's password is in an embedded cluster's own folder. Of another it is not known, so while it runs alone it lets in whoever
 * is on this machine: which is the container of the restore, or should be nobody else.
 */
async function accessTo(folder: string, programs: PostgresPrograms) {
  const password = await readPassword(folder).catch(() => undefined)
  if (password !== undefined) return { password, access: {}, remove: async () => {} }
  const file = join(folder, 'private_hba.conf')
  await writeFile(file, 'host all all 127.0.0.1/32 trust\n')
  await programs.own(file)
  return { password: '', access: { hba_file: file }, remove: () => rm(file, { force: true }) }
}
