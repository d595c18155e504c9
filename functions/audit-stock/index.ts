import { httpFunction, ok } from '#function'
import { auditFor } from '#stock'
import { Audit } from '#stock/schema'

export default httpFunction({
  name: 'audit-stock',
  route: 'GET /v1/stock/audit',
  tag: 'stock',
  scope: 'admin',
  summary: 'Check every balance against the ledger and the holds, at one moment.',
  responses: { 200: Audit },
  // The audit holds a connection and a snapshot while it reads: a minute is enough for some million ledger rows.
  limits: { inFlight: 2, timeoutMs: 60_000 },
  handler: async ({ context }) => ok(await auditFor(context)),
})
