import { mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onStopSignal } from '#function/stop-signals'
import { ensurePgBackRest } from '../../local/engines/pgbackrest.ts'
import { duration } from '../format.ts'
import { causeDisaster } from './disaster.ts'
import { recover } from './recovery.ts'

/** The drill makes its own backups. */
const AGE_MAX_SECONDS = 3_600

/**
 * Destroys its own database while a shop sells on it, and restores it, all in a temporary folder. Says how much would have been lost and
 * how long the restore took. Throws an error with a line for each problem.
 */
export async function runDrill(progress: (line: string) => void): Promise<void> {
  const stopping = new AbortController()
  onStopSignal(
    () => stopping.abort(),
    () => {},
  )
  const { signal } = stopping
  const begun = performance.now()
  const program = await ensurePgBackRest(progress)
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'stock-drill-')))
  try {
    const disaster = await causeDisaster(folder, program, { progress, signal })
    const { findings, rtoSeconds = 0 } = await recover(disaster, { ageMaxSeconds: AGE_MAX_SECONDS, progress, signal })
    if (findings.length > 0) throw new Error(['The drill has failed:', ...findings].join('\n'))
    progress(`${disaster.acknowledged.length} acknowledged writes are there, and nothing from after ${disaster.target}`)
    progress(`RPO ${duration(disaster.rpoSeconds * 1_000)}: as much had not been archived when the database was lost`)
    progress(
      `RTO ${duration(rtoSeconds * 1_000)}: from the loss to the first reservation, all checks of the repository included`,
    )
    progress(`the drill took ${duration(performance.now() - begun)}`)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
