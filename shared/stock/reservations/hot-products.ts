import { gauge } from '#telemetry'

/** A hot product has this share of a minute's lines, or more. So there are 20 at most, and with even demand none. */
const SHARE_MIN = 0.05
/** Fewer than one a second wait for no lock. */
const LINES_MIN = 60
/** Hot products that are told of. */
const RANKS = 5
/** Products that are counted. Each product with 1 % of the lines is among them, with a count at most that much too low. */
const COUNTED_MAX = 100
const MINUTE_MS = 60_000

const lines = gauge(
  'stock_hot_product_lines',
  `Lines of reservations, held or refused, in the last full minute, of the ${RANKS} products with the most, if that is ${100 * SHARE_MIN} % of all.`,
  ['rank', 'sku'],
  () => {
    lines.reset()
    // There is always one of each rank, so that the number of series does not depend on what is asked for.
    const hot = demand.hot(Date.now())
    for (let rank = 1; rank <= RANKS; rank++) {
      const { sku, count } = hot[rank - 1] ?? { sku: '', count: 0 }
      lines.set({ rank: String(rank), sku }, count)
    }
  },
)

const demand = createDemand()

/** Counts a line of a reservation that was decided on. */
export function countLine(sku: string): void {
  demand.count(sku, Date.now())
}

interface Minute {
  number: number
  total: number
  counts: Map<string, number>
}

/**
 * Finds the products that most lines are of, by the algorithm of Misra and Gries, in bounded memory whatever is asked for:
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
