import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { PostgresServer } from '../../local/postgres/postgres-server.ts'
import { readPassword } from '../../local/postgres/prepare-folders.ts'
import { DATABASE } from '../../local/postgres/replication.ts'
import { withConnection } from '../../local/postgres/sql.ts'
import { inspectRepository } from '../repository/inspect.ts'
import { checkRestored, waitForPromotion } from '../restore/restored.ts'
import type { Archive } from './archive.ts'
import type { Disaster, Drill } from './disaster.ts'
import type { Acknowledged } from './load.ts'
import { type Shop, startShop } from './shop.ts'

export interface Recovery {
  /** A sentence for each problem. If there is none, the drill has succeeded. */
  findings: string[]
  /** The time from the loss to the first reservation that the restored shop served; undefined if there was none. */
  rtoSeconds: number | undefined
}

/** How many requests run at the same time when all acknowledged writes are requested again. */
const CLIENTS = 8

/**
 * Restores the archive of a disaster to a fresh server, starts the shop on it, and checks that everything is there and nothing else. An
 * error on the way becomes a finding.
 */
export async function recover(
  disaster: Disaster,
  { ageMaxSeconds, progress, signal }: Drill & { ageMaxSeconds: number },
): Promise<Recovery> {
  const findings: string[] = []
  const recovery: Recovery = { findings, rtoSeconds: undefined }
  const folder = join(disaster.folder, 'restored')
  let server: PostgresServer | undefined
  let shop: Shop | undefined
  try {
    progress('checking the repository: its age, every name in the archive, every checksum')
    findings.push(...(await inspectRepository(disaster.run, { ageMaxSeconds, last: disaster.lastArchived })))
    progress(`restoring to ${disaster.target}`)
    const target = ['--type=time', `--target=${disaster.target}`, '--target-action=promote']
    await restoreFiles(disaster, folder, target)
    server = await restoredServer(disaster, folder, { progress, signal })
    await server.start()
    await waitForPromotion(server)
    const url = server.url(DATABASE)
    findings.push(...(await checkMigrations(url, disaster)))
    progress('starting a shop on it')
    shop = await startShop(url, join(disaster.folder, 'after'), disaster.adminKey, signal)
    const isServing = await servesReservation(shop)
    if (isServing) recovery.rtoSeconds = (Date.now() - disaster.lostAt) / 1000
    else findings.push('the shop served no reservation')
    findings.push(...(await checkAnswers(shop, disaster, progress)), ...(await checkRestored(url, progress)))
  } catch (error) {
    findings.push(error instanceof Error ? error.message : String(error))
  } finally {
    await shop?.stop()
    await server?.stop()
    await rm(folder, { recursive: true, force: true })
    await rm(join(disaster.folder, 'after'), { recursive: true, force: true })
  }
  return recovery
}

/** Creates `folder` and restores the cluster of an archive into it. `target` contains the pgBackRest arguments that say up to when. */
export async function restoreFiles({ run, programs }: Archive, folder: string, target: string[]): Promise<void> {
  await mkdir(folder, { mode: 0o700 })
  await programs.own(folder)
  await run('restore', `--pg1-path=${folder}`, ...target)
}

/** Makes a server on the restored files. It is not started yet. */
export async function restoredServer(
  { folder: scratch, programs }: Archive,
  folder: string,
  { progress, signal }: Drill,
): Promise<PostgresServer> {
  return new PostgresServer({
    role: 'primary',
    programs,
    folder,
    logFile: join(scratch, 'restored.log'),
    password: await readPassword(folder),
    port: undefined,
    // At least the value of the lost server, or recovery stops.
    settings: () => ({ max_connections: '200' }),
    progress,
    signal,
  })
}

async function checkMigrations(url: string, { migrations }: Disaster): Promise<string[]> {
  const rows = await withConnection(
    url,
    (sql) => sql<Array<{ name: string }>>`select name from schema_migrations order by name`,
  )
  const found = rows.map(({ name }) => name)
  return String(found) === String(migrations)
    ? []
    : [`the schema has ${found.at(-1)} and should have ${migrations.at(-1)}`]
}

async function servesReservation(shop: Shop): Promise<boolean> {
  const { items } = JSON.parse((await shop.read('/v1/products?limit=50')).text) as { items: Array<{ id: string }> }
  for (const { id: productId } of items) {
    const write = { path: '/v1/reservations', body: { lines: [{ productId, quantity: 1 }] }, key: `drill-${productId}` }
    if ((await shop.write(write)).status === 201) return true
  }
  return false
}

/** Checks that writes acknowledged before the moment get the same answer again, that later writes are unknown, and that a token from then is valid. */
async function checkAnswers(shop: Shop, disaster: Disaster, progress: (line: string) => void): Promise<string[]> {
  const { acknowledged, marker } = disaster
  progress(`asking for ${acknowledged.length} acknowledged writes again`)
  const findings = await checkTokens(shop, disaster)
  const queue = [...acknowledged]
  let lost = 0
  const ask = async () => {
    for (let next = queue.pop(); next; next = queue.pop()) if (!(await isThere(shop, next))) lost++
  }
  await Promise.all(Array.from({ length: CLIENTS }, ask))
  if (lost > 0) findings.push(`${lost} of ${acknowledged.length} acknowledged writes are lost`)
  if ((await shop.write(marker)).isReplay) findings.push('a write from after the moment is there')
  return findings
}

/** A write's idempotency record is in the same commit as its effect: the same answer comes only if both are there. */
async function isThere(shop: Shop, { write, answer }: Acknowledged): Promise<boolean> {
  const again = await shop.write(write)
  return again.isReplay && again.status === answer.status && again.text === answer.text
}

/** A token of the old timeline, with a position that the new timeline has not reached, is answered and renewed: docs/decisions/0007. */
async function checkTokens(shop: Shop, { acknowledged }: Disaster): Promise<string[]> {
  const token = acknowledged.findLast(({ answer }) => answer.token !== null)?.answer.token
  if (!token) return ['no acknowledged write has a consistency token']
  const { status, token: renewed } = await shop.read('/v1/products?limit=1', token)
  const [before, after] = [token, renewed ?? ''].map((each) => Number.parseInt(each, 16))
  if (status === 200 && after !== undefined && before !== undefined && after > before) return []
  return [`a read with the token ${token} was answered ${status}, with the token ${renewed}`]
}
