import { type Sql, snapshot } from '#database'
import { logger } from '#telemetry'
import { countProducts, findDiscrepancies, nextProducts } from './audit.ts'
import { noteAudit, notePartOfAudit } from './audit-metrics.ts'

/** Products per statement: some ten milliseconds of work, or more if they have long ledgers. */
const CHUNK_MAX = 100
/** A run begins no further chunk after this time: a run each 30 s then uses about a fiftieth of a connection. */
const RUN_MS = 500
/** The most discrepancies of a chunk that are logged. An audit by a client names more. */
const LOGGED_MAX = 10

/** An audit of all products in parts. */
interface RollingAudit {
  /** The last product that was audited; undefined before the first by id. */
  after: string | undefined
  /** Products left until the audit is over, counted from the number of products at its beginning. */
  left: number
  consistent: boolean
}

let audit: RollingAudit | undefined

/**
 * Audits the products after those of the previous run, for half a second, all of them at one moment. After the last product it continues with the
 * first. Discrepancies go to the log and the metrics at once. An audit counts as consistent when it has covered all products and found no
 * discrepancy. A process begins at a random product, so that a process that often restarts gets to all of them too. Returns the number of audited
 * products.
 */
export function auditNextProducts(): Promise<number> {
  return snapshot(async (sql) => {
    const endAt = performance.now() + RUN_MS
    audit ??= { after: await randomProduct(sql), ...(await newAudit(sql)) }
    let audited = 0
    // Bounded: each turn audits products, and `left` counts products that exist.
    while (audit.left > 0) {
      audited += await auditChunk(sql, audit)
      if (performance.now() >= endAt) break
    }
    if (audit.left > 0) return audited
    noteAudit(audit.consistent)
    audit = { after: audit.after, ...(await newAudit(sql)) }
    return audited
  })
}

const newAudit = async (sql: Sql) => ({ left: await countProducts(sql), consistent: true })

async function auditChunk(sql: Sql, audit: RollingAudit): Promise<number> {
  const limit = Math.min(CHUNK_MAX, audit.left)
  const following = await nextProducts(sql, audit.after, limit)
  const chunk = following.length > 0 ? following : await nextProducts(sql, undefined, limit)
  const found = await findDiscrepancies(sql, chunk)
  notePartOfAudit(chunk.length, found.length === 0)
  if (found.length > 0)
    logger().error(
      { discrepancies: found.slice(0, LOGGED_MAX) },
      'balances differ from the ledger or from what is held',
    )
  audit.consistent &&= found.length === 0
  audit.after = chunk.at(-1)
  // Rows of products are never deleted, so a chunk is never empty.
  audit.left -= Math.max(1, chunk.length)
  return chunk.length
}

/** The id of a random product; undefined if there is no product. */
async function randomProduct(sql: Sql): Promise<string | undefined> {
  const [row] = await sql<Array<{ id: string }>>`
    select id from products order by id offset floor(random() * (select count(*) from products)) limit 1`
  return row?.id
}
