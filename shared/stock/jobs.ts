import { runner } from '#jobs'
import { ExportPayload, VerifyPayload } from './job-payloads.ts'
import { auditStock } from './reads/audit.ts'
import { exportStock } from './reads/export.ts'

export const stockJobs = {
  'export-stock': runner(ExportPayload, async ({ format }, { save }) => ({ format, ...(await exportStock(save)) })),
  'verify-ledger': runner(VerifyPayload, (_, { progress }) => auditStock(progress)),
}
