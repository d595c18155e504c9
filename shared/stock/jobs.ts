import { runner } from '#jobs'
import { auditStock } from './audit.ts'
import { exportStock } from './export.ts'
import { ExportPayload, VerifyPayload } from './job-payloads.ts'

export const stockJobs = {
  'export-stock': runner(ExportPayload, async ({ format }, { save }) => ({ format, ...(await exportStock(save)) })),
  'verify-ledger': runner(VerifyPayload, (_, { progress }) => auditStock(progress)),
}
