import * as z from 'zod'
import { type RequestContext, read, requireScope, type Sql } from '#database'
import { ServiceError } from '#errors'
import { scopeOf } from './job-types.ts'
import { isKept } from './prune.ts'
import { csvHeader, type Row, toCsv, toNdjson } from './rows.ts'
import { type ResultFormat, resultFormats } from './schema.ts'

/** The result of a job that has a table. */
const TableResult = z.object({ format: z.enum(resultFormats), columns: z.array(z.string()) })

export interface JobResult {
  /** The result as `get-job` shows it. */
  result: unknown
  /** The table, if the job has one, with the format that was requested with the job. It can be opened in either format. */
  table: { format: ResultFormat; open: (format: ResultFormat) => ReadableStream<Uint8Array> } | undefined
}

/** The result of a succeeded job. Throws `job_not_found` while there is none, or `forbidden`. */
export async function getJobResult(id: string, context: RequestContext): Promise<JobResult> {
  const find = async (sql: Sql) => {
    const [row] = await sql<Array<{ type: string; result: unknown; isThere: boolean }>>`
      select type, result, state = 'succeeded' and ${isKept(sql)} as "isThere" from jobs where id = ${id}`
    return row
  }
  const job = await read(context, find, (found) => !found?.isThere)
  const scope = job && scopeOf(job.type)
  if (scope) requireScope(context, scope, `The result of a job of the type ${job.type}`)
  if (!job?.isThere)
    throw new ServiceError('job_not_found', `There is no result of a job with the id '${id}', or none yet.`)
  const { data: table } = TableResult.safeParse(job.result)
  if (!table) return { result: job.result, table: undefined }
  const { format, columns } = table
  return { result: job.result, table: { format, open: (asked) => openTable(id, columns, asked, context) } }
}

/** Reads a chunk at a time, as fast as the reader takes it: a table may be larger than a function's memory. */
function openTable(
  id: string,
  columns: string[],
  format: ResultFormat,
  context: RequestContext,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder()
  let number = 0
  return new ReadableStream({
    start(controller) {
      if (format === 'csv') controller.enqueue(encoder.encode(csvHeader(columns)))
    },
    async pull(controller) {
      const rows = await readChunk(id, number++, context)
      if (rows) controller.enqueue(encoder.encode(format === 'csv' ? toCsv(columns, rows) : toNdjson(rows)))
      else controller.close()
    },
  })
}

/** Undefined past the last chunk. The primary confirms this, because a replica may lag. */
function readChunk(id: string, number: number, context: RequestContext): Promise<Row[] | undefined> {
  const find = async (sql: Sql) => {
    const [chunk] = await sql<Array<{ rows: Row[] }>>`
      select rows from job_results where job_id = ${id} and number = ${number}`
    return chunk?.rows
  }
  return read(context, find, (rows) => rows === undefined)
}
