import * as z from 'zod'
import { type RequestContext, requireScope } from '#database'
import { cutText, invalid, ServiceError } from '#errors'
import { validate } from '#input'
import { type JobRun, UnfitInput } from '#jobs'
import { CreateProductRequest, type ImportResult } from '../schema.ts'
import type { ImportFile, ImportRow } from './file.ts'
import { openFile } from './open-file.ts'
import type { ImportPayload } from './payload.ts'
import { type Upserted, type UpsertRow, upsertProducts } from './upsert.ts'

const ROWS_MAX = 100_000
/** Rows per transaction: their products are locked for some 50 ms, and the event loop is blocked for less than that. */
const BATCH_ROWS = 500
/** Characters of a transaction's rows, which limits the number of long rows. */
const BATCH_SIZE = 1024 * 1024
const ERRORS_MAX = 1_000
/** A row may have a hundred issues, with member names as long as the row itself. */
const MESSAGE_MAX = 500

type RowError = ImportResult['errors'][number]

/** The progress of an import: rows done, and their results. */
const Checkpoint = z.object({
  done: z.number(),
  total: z.number(),
  created: z.number(),
  updated: z.number(),
  failed: z.number(),
  errors: z.array(z.object({ line: z.number(), code: z.string(), message: z.string() })),
  ignoredColumns: z.number().optional(),
})
type Checkpoint = z.infer<typeof Checkpoint>

/**
 * Adds or changes a product for each row of the job's file. The file is first read to its end: if that is not possible, or the file has too many
 * rows, UnfitInput is thrown before any row has had an effect. An attempt continues after the last committed batch, so each row has its effect
 * once.
 */
export async function importProducts(format: ImportPayload, run: JobRun): Promise<ImportResult> {
  let reached = Checkpoint.nullable().parse(run.checkpoint) ?? (await lookThrough(format, run))
  await run.progress(reached.done, reached.total)
  const file = await openFile(format, run.input())
  for await (const rows of batchesOf(file, reached.done)) {
    const before = reached
    const batch = parseRows(rows, file, run.context)
    await run.step(async (tx) => {
      reached = advance(before, batch, await upsertProducts(tx, run.context, batch.rows), file)
      return { done: reached.done, total: reached.total, checkpoint: reached }
    })
  }
  const { done: _, ...result } = reached
  return result
}

/** Reads the whole file, and returns the checkpoint at which to begin. */
async function lookThrough(format: ImportPayload, run: JobRun): Promise<Checkpoint> {
  let total = 0
  try {
    const { rows, ignoredColumns } = await openFile(format, run.input())
    for await (const _ of rows) {
      if (++total > ROWS_MAX) throw invalid('file', `has more than ${ROWS_MAX} rows; send it in parts`)
    }
    return {
      done: 0,
      total,
      created: 0,
      updated: 0,
      failed: 0,
      errors: [],
      ...(ignoredColumns !== undefined && { ignoredColumns }),
    }
  } catch (error) {
    throw error instanceof ServiceError && error.code === 'validation_failed' ? new UnfitInput(error) : error
  }
}

/** The rows after the first `done`, in batches. Bounded: the file's rows have been counted. */
async function* batchesOf({ rows }: ImportFile, done: number): AsyncGenerator<ImportRow[]> {
  let batch: ImportRow[] = []
  let size = 0
  let passed = 0
  for await (const row of rows) {
    if (passed++ < done) continue
    batch.push(row)
    size += row.size
    if (batch.length < BATCH_ROWS && size < BATCH_SIZE) continue
    yield batch
    batch = []
    size = 0
  }
  if (batch.length > 0) yield batch
}

interface Batch {
  rows: UpsertRow[]
  errors: RowError[]
}

function parseRows(rows: readonly ImportRow[], file: ImportFile, context: RequestContext): Batch {
  const batch: Batch = { rows: [], errors: [] }
  for (const row of rows) {
    try {
      batch.rows.push(parseRow(row, file, context))
    } catch (error) {
      batch.errors.push(toRowError(row.line, error, file))
    }
  }
  return batch
}

function parseRow({ line, read }: ImportRow, { inItsWords }: ImportFile, context: RequestContext): UpsertRow {
  const json = read()
  const product = validate(CreateProductRequest, json)
  if (product.initialStock > 0) {
    requireScope(context, 'stock:write', `${inItsWords({ path: 'initialStock', message: '' }).path} above 0`)
  }
  const { initialStock: _, ...fields } = product
  // The schema's defaults for absent members must not replace a product's values.
  const patch = Object.fromEntries(Object.entries(fields).filter(([name]) => Object.hasOwn(json as object, name)))
  return { line, product, patch }
}

function toRowError(line: number, error: unknown, { inItsWords }: ImportFile): RowError {
  if (!(error instanceof ServiceError)) throw error
  const issues = error.issues
    ?.map(inItsWords)
    .map(({ path, message }) => (path === '' ? message : `${path}: ${message}`))
  const message = cutText(issues?.join('; ') ?? error.detail, MESSAGE_MAX)
  // Some characters that a client can send can't be stored.
  return { line, code: error.code, message: message.replaceAll(/[\p{Cc}\p{Cs}]/gu, '\uFFFD') }
}

function advance(
  before: Checkpoint,
  { rows, errors }: Batch,
  { created, updated, refused }: Upserted,
  file: ImportFile,
): Checkpoint {
  const all = [...errors, ...refused.map(({ line, error }) => toRowError(line, error, file))]
  all.sort((a, b) => a.line - b.line)
  return {
    ...before,
    done: before.done + rows.length + errors.length,
    created: before.created + created,
    updated: before.updated + updated,
    failed: before.failed + all.length,
    errors: [...before.errors, ...all].slice(0, ERRORS_MAX),
  }
}
