import { counter, gauge } from '#telemetry'

const audits = counter('stock_audits_total', 'Audits of all stock, by result: consistent or inconsistent.', ['result'])
const auditedAt = gauge('stock_audit_timestamp_seconds', 'When an audit last had that result.', ['result'])
const audited = counter('stock_audited_products_total', 'Products that audit-balances has audited.')

/** Counts a finished audit of all products. */
export function noteAudit(consistent: boolean): void {
  audits.inc({ result: resultOf(consistent) })
  auditedAt.set({ result: resultOf(consistent) }, Date.now() / 1_000)
}

/** Counts a part of an audit. An inconsistency is reported at once, because the rest of the audit may take hours. */
export function notePartOfAudit(products: number, consistent: boolean): void {
  audited.inc(products)
  if (!consistent) auditedAt.set({ result: resultOf(false) }, Date.now() / 1_000)
}

const resultOf = (consistent: boolean) => (consistent ? 'consistent' : 'inconsistent')
