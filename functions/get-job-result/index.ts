import * as z from 'zod'
import { httpFunction, namedType, ok } from '#function'
import { getJobResult } from '#jobs'

const typeOf = { csv: 'text/csv', ndjson: 'application/x-ndjson' } as const

export default httpFunction({
  name: 'get-job-result',
  route: 'GET /v1/jobs/{jobId}/result',
  params: { jobId: 'job' },
  tag: 'jobs',
  scope: 'jobs:read',
  summary:
    'Read the result of a job: a table as CSV or NDJSON, whichever `Accept` names, else as the job asked for it.',
  responses: { 200: z.unknown(), 404: ['job_not_found'] },
  produces: ['application/json', typeOf.csv, typeOf.ndjson],
  sends: ['Content-Disposition', 'Vary'],
  handler: async ({ params, headers, context }) => {
    const { result, table } = await getJobResult(params.jobId, context)
    if (!table) return ok(result)
    const named = namedType(headers.get('accept'), Object.values(typeOf))
    const format = named === typeOf.csv ? 'csv' : named === typeOf.ndjson ? 'ndjson' : table.format
    return ok(table.open(format), {
      'content-type': `${typeOf[format]}; charset=utf-8`,
      'content-disposition': `attachment; filename="${params.jobId}.${format}"`,
      vary: 'accept',
    })
  },
})
