import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PostgresServer } from '../../local/postgres/postgres-server.ts'
import { readPassword } from '../../local/postgres/prepare-folders.ts'
import type { PostgresPrograms } from '../../local/postgres/programs.ts'
import { waitForPromotion } from './restored.ts'

/** At least the values of any server of ours: recovery stops if the lost server had more. */
const settings = {
  max_connections: '500',
  max_worker_processes: '32',
  // Nothing is archived yet. WAL files, above all the history of the new timeline, are left for the next server to archive.
  archive_mode: 'on',
  archive_command: '',
}

export interface PrivateServer {
  folder: string
  programs: PostgresPrograms
  /** Settings in addition to the required ones. */
  more?: Record<string, string>
  progress: (line: string) => void
  signal?: AbortSignal
}

/**
 * Runs a restored cluster until its recovery ends, then `work` on it, then stops it. It listens on a loopback port that nobody knows.
 * Throws an error with the end of its log if recovery does not end.
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
 * The superuser's password of an embedded cluster is in its own folder. That of another cluster is not known. So while such a cluster runs
 * privately, it accepts anyone on this machine: this is the container of the restore, or a machine that nobody else should be on.
 */
async function accessTo(folder: string, programs: PostgresPrograms) {
  const password = await readPassword(folder).catch(() => undefined)
  if (password !== undefined) return { password, access: {}, remove: async () => {} }
  const file = join(folder, 'private_hba.conf')
  await writeFile(file, 'host all all 127.0.0.1/32 trust\n')
  await programs.own(file)
  return { password: '', access: { hba_file: file }, remove: () => rm(file, { force: true }) }
}
