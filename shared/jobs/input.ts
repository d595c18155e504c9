import { askPrimary, type Sql } from '#database'
import { ServiceError } from '#errors'

/** The most jobs with a file that may wait: a hundred files of 32 MiB take 3 GiB. */
const WAITING_MAX = 100
/** The most such jobs of one submitter, so that others find room however many it sends. */
const WAITING_OF_ONE_MAX = 75
const KEPT_DAYS = 30

/** Stores the file of a job, in the transaction that submits the job. Throws `overloaded`. */
export async function storeInput(
  tx: Sql,
  { id: jobId, actor }: { id: string; actor: string },
  blocks: readonly Uint8Array[],
): Promise<void> {
  const [{ waiting, own }] = await tx<[{ waiting: number; own: number }]>`
    select count(*) as waiting, count(*) filter (where actor = ${actor}) as own
    from job_inputs join jobs on id = job_id where number = 0 and state <> 'dead'`
  if (waiting >= WAITING_MAX || own >= WAITING_OF_ONE_MAX) {
    const detail = `${waiting} files are waiting already, ${own} of them yours. Try again when some have been worked on.`
    throw new ServiceError('overloaded', detail, { retryAfterSeconds: 30 })
  }
  // One at a time: if they were sent together, all of them would be in memory as text too.
  for (const [number, block] of blocks.entries()) {
    await tx`insert into job_inputs (job_id, number, bytes) values (${jobId}, ${number}, ${block})`
  }
}

/** The file of a job, block by block. Throws `validation_failed` if it has been deleted. */
export async function* readInput(jobId: string): AsyncGenerator<Uint8Array> {
  for (let number = 0; ; number++) {
    const [row] = await askPrimary(
      (sql) => sql<Array<{ bytes: Uint8Array }>>`
      select bytes from job_inputs where job_id = ${jobId} and number = ${number}`,
    )
    if (row) yield row.bytes
    else if (number > 0) return
    else throw inputGone()
  }
}

function inputGone(): ServiceError {
  const message = `is not kept any more: the job died ${KEPT_DAYS} days ago. Send it again`
  return new ServiceError('validation_failed', `The file ${message}.`, { issues: [{ path: 'file', message }] })
}
