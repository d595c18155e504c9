import { scheduleFunction } from '#function'
import { auditNextProducts } from '#stock'

export default scheduleFunction({
  name: 'audit-balances',
  // Some thousand products each time. A wrong balance does not cost a sale at once, and the database forbids the worst errors.
  everyMs: 30_000,
  summary: 'Check the balances of the next products against the ledger and the holds, over and over.',
  // A statement is ended after 60 s.
  limits: { timeoutMs: 70_000 },
  handler: async () => ({ audited: await auditNextProducts() }),
})
