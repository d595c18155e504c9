import { type Sql, snapshot } from '#database'
import { logger } from '#telemetry'
import { countProducts, findDiscrepancies, nextProducts } from './audit.ts'
import { noteAudit, notePartOfAudit } from './audit-metrics.ts'

/** Products a statement: some ten milliseconds, and more where they have long ledgers. */
const CHUNK_MAX = 100
/** A run begins no further chunk after this: a fiftieth of a connection, at a run each 30 s. */
const RUN_MS = 500
/** Of a chunk, in the log. An audit by a client names more. */
const LOGGED_MAX = 10

/** An audit of all products in parts. */
interface RollingAudit {
  /** The last product that was audited; undefined before the first by id. */
  after: string | undefined
  /** Products until it is over, by the number of them at its beginning. */
  left: number
  consistent: boolean
}

let audit: RollingAudit | undefined

/**
 * Audits the next products after those of the run before, for half a second, each chunk at one moment; after the last product comes the first
 * again. Discrepancies go to the log and the metrics at once, and an audit counts as consistent once it has found none in all products. A
 * process begins at a random product, so that one which is often restarted gets to all of them too. Gives the number of audited products.
 */
export function auditNextProducts(): Promise<number> {
  return snapshot(async (sql) => {
    const endAt = performance.now() + RUN_MS
    audit ??= { after: await randomProduct(sql), ...(await newAudit(sql)) }
    let audited = 0
    // Bounded: each turn audits products, and `left` is of those that there are.
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
  // Products are never deleted as rows, so there are some.
  audit.left -= Math.max(1, chunk.length)
  return chunk.length
}

/** Any product; undefined where there is none. */
async function randomProduct(sql: Sql): Promise<string | undefined> {
  const [row] = await sql<Array<{ id: string }>>`
    select id from products order by id offset floor(random() * (select count(*) from products)) limit 1`
  return row?.id
}
