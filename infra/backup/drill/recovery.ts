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
  /** A sentence for each thing that is wrong; none, and the drill has succeeded. */
  findings: string[]
  /** From the loss to the first reservation that the restored shop served; undefined if there was none. */
  rtoSeconds: number | undefined
}

/** Requests at once, when all that was acknowledged is asked for again. */
const CLIENTS = 8

/**
 * Restores what a disaster has left to a fresh server, starts the shop on it, and checks that all is there and nothing else. What goes
 * wrong on the way is a finding.
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

/** Restores the cluster of an archive into `folder`, which is made. `target` is the arguments of pgBackRest's that say up to when. */
export async function restoreFiles({ run, programs }: Archive, folder: string, target: string[]): Promise<void> {
  await mkdir(folder, { mode: 0o700 })
  await programs.own(folder)
  await run('restore', `--pg1-path=${folder}`, ...target)
}

/** A server, not started yet, on what has been restored. */
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
    // Not less than the lost server had, or recovery stops.
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

/** What was acknowledged before the moment is answered as then; what came after has never been; and a token from then is good. */
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

/** Its record is in the commit of its effect: that answer, and no other, is given only if both are there. */
async function isThere(shop: Shop, { write, answer }: Acknowledged): Promise<boolean> {
  const again = await shop.write(write)
  return again.isReplay && again.status === answer.status && again.text === answer.text
}

/** A token of the old timeline, of a place that the new one has not reached, is answered and renewed: docs/decisions/0007. */
async function checkTokens(shop: Shop, { acknowledged }: Disaster): Promise<string[]> {
  const token = acknowledged.findLast(({ answer }) => answer.token !== null)?.answer.token
  if (!token) return ['no acknowledged write has a consistency token']
  const { status, token: renewed } = await shop.read('/v1/products?limit=1', token)
  const [before, after] = [token, renewed ?? ''].map((each) => Number.parseInt(each, 16))
  if (status === 200 && after !== undefined && before !== undefined && after > before) return []
  return [`a read with the token ${token} was answered ${status}, with the token ${renewed}`]
}
