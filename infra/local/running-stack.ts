import { overrideEnvironment } from '#config'
import { readStackFile } from './stack-file.ts'

/** Points this process at the databases and engines of the running stack of `npm start`. Returns the stack's URL, or undefined if none runs. */
export async function useRunningStack(dataDir: string): Promise<string | undefined> {
  const running = await readStackFile(dataDir)
  if (running === undefined) return undefined
  const { routerUrl, databaseUrl, databaseReplicaUrl, engines } = running
  const databases = { DATABASE_URL: databaseUrl, DATABASE_REPLICA_URL: databaseReplicaUrl ?? undefined }
  overrideEnvironment({ ...databases, ...engines })
  return routerUrl
}
