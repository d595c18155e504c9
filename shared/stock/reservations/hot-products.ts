import { gauge } from '#telemetry'

/** A hot product has at least this share of a minute's lines. So there are 20 hot products at most, and none if demand is even. */
const SHARE_MIN = 0.05
/** At fewer than one line a second, requests wait for no lock. */
const LINES_MIN = 60
/** Hot products that the metric reports. */
const RANKS = 5
/** Products that are counted. They include each product with 1 % of the lines, and its count is at most 1 % of the lines too low. */
const COUNTED_MAX = 100
const MINUTE_MS = 60_000

const lines = gauge(
  'stock_hot_product_lines',
  `Lines of reservations, held or refused, in the last full minute, of the ${RANKS} products with the most, if that is ${100 * SHARE_MIN} % of all.`,
  ['rank', 'sku'],
  () => {
    lines.reset()
    // There is always one series for each rank, so that the number of series does not depend on the demand.
    const hot = demand.hot(Date.now())
    for (let rank = 1; rank <= RANKS; rank++) {
      const { sku, count } = hot[rank - 1] ?? { sku: '', count: 0 }
      lines.set({ rank: String(rank), sku }, count)
    }
  },
)

const demand = createDemand()

/** Counts a line of a decided reservation request. */
export function countLine(sku: string): void {
  demand.count(sku, Date.now())
}

interface Minute {
  number: number
  total: number
  counts: Map<string, number>
}

/**
 * Finds the products with the most lines by the algorithm of Misra and Gries, in bounded memory whatever the demand:
 * https://doi.org/10.1016/0167-6423(82)90012-0
 */
export function createDemand() {
  let current: Minute = { number: 0, total: 0, counts: new Map() }
  let last = current

  function turnTo(nowMs: number): void {
    const number = Math.floor(nowMs / MINUTE_MS)
    if (number === current.number) return
    const none = { number: number - 1, total: 0, counts: new Map<string, number>() }
    last = current.number === number - 1 ? current : none
    current = { number, total: 0, counts: new Map() }
  }

  return {
    count(sku: string, nowMs: number): void {
      turnTo(nowMs)
      const { counts } = current
      current.total++
      const count = counts.get(sku)
      if (count !== undefined || counts.size < COUNTED_MAX) {
        counts.set(sku, (count ?? 0) + 1)
        return
      }
      for (const [other, theirs] of counts) {
        if (theirs === 1) counts.delete(other)
        else counts.set(other, theirs - 1)
      }
    },
    /** The hot products of the last full minute, hottest first. */
    hot(nowMs: number): Array<{ sku: string; count: number }> {
      turnTo(nowMs)
      const least = Math.max(LINES_MIN, last.total * SHARE_MIN)
      const all = Array.from(last.counts, ([sku, count]) => ({ sku, count }))
      return all
        .filter(({ count }) => count >= least)
        .sort((a, b) => b.count - a.count)
        .slice(0, RANKS)
    },
  }
}
