import { invalid } from '#errors'
import { accepted, httpFunction, Upload } from '#function'
import { submitJob } from '#jobs'
import { Job } from '#jobs/schema'
import { ImportPayload, ImportQuery } from '#products/schema'

const description = `A row for each product, which is added, or changed where its sku is known; its stock is left alone then.

NDJSON: the members of create-product, a line each. CSV: the first line names the columns, in any case:
\`sku\` and \`name\`, which there must be, and \`description\`, \`priceAmount\` (in minor units), \`priceCurrency\`, \`status\`,
\`lowStockThreshold\`, \`initialStock\` and \`attributes.<name>\`. An empty field says nothing; a column of any other name is an
error of the file. Of a sku that comes twice, the later row wins.

What is wrong with a row is in the job's \`result.errors\`, by its line; the others are imported. A file that can't be read has no
effect: its job is \`dead\`, and \`error\` says why. \`initialStock\` above 0 needs the scope \`stock:write\` besides.`

export default httpFunction({
  name: 'import-products',
  route: 'POST /v1/products/imports',
  tag: 'products',
  scope: 'products:write',
  summary: 'Queue the import of a file of products, as NDJSON or CSV, up to 100,000 rows.',
  request: { query: ImportQuery, body: Upload, contentTypes: ['application/x-ndjson', 'text/csv'], description },
  responses: { 202: Job, 413: ['too_large'], 415: ['unsupported_media_type'] },
  // A file is in memory while it arrives, which may take as long as the server allows: four files make 128 MiB.
  limits: { maxBodyBytes: 32 * 1024 * 1024, inFlight: 4, timeoutMs: 120_000 },
  handler: async ({ query, body, context }) => {
    const { format: name, currency } = query
    const format = body.type === 'text/csv' ? 'csv' : 'ndjson'
    if (name && format !== 'csv') throw invalid('format', 'is for text/csv: no shop exports NDJSON')
    const payload = ImportPayload.parse({ format, ...(name && { shop: { name, currency } }) })
    const job = await submitJob({ type: 'import-products', payload, input: body.blocks }, context)
    return accepted(`/v1/jobs/${job.id}`, job)
  },
})
