import type { Measurement, SellOut, Series } from './measurement.ts'

/** Collects the measurements of a part, and reports each as progress. */
export function createRecorder(part: string, progress: (line: string) => void) {
  const series: Series[] = []
  const sellOuts: Record<string, SellOut[]> = {}
  return {
    series,
    sellOuts,
    note(round: number, contender: string, scenario: string, measurement: Measurement): void {
      let own = series.find((each) => each.contender === contender && each.scenario === scenario)
      if (!own) {
        own = { contender, scenario, measurements: [] }
        series.push(own)
      }
      own.measurements.push(measurement)
      progress(`${part}, round ${round}: ${contender}, ${scenario}: ${describe(measurement)}`)
    },
    noteSellOut(round: number, contender: string, sellOut: SellOut): void {
      sellOuts[contender] = [...(sellOuts[contender] ?? []), sellOut]
      progress(`${part}, round ${round}: ${contender} sold ${sellOut.sold} of ${sellOut.pieces} pieces`)
    },
  }
}

function describe({ perSecond, p50Ms, p99Ms, answers, lost, inconsistent = 0, cpuPercent }: Measurement): string {
  if (cpuPercent !== undefined) return `${cpuPercent.toFixed(1)} % of a core`
  const latency = p50Ms === undefined ? '' : `, p50 ${p50Ms.toFixed(1)} ms, p99 ${p99Ms?.toFixed(1)} ms`
  const wrong = lost + inconsistent > 0 ? `, LOST ${lost}, INCONSISTENT ${inconsistent}` : ''
  return `${perSecond.toFixed(0)}/s${latency}, answers ${JSON.stringify(answers)}${wrong}`
}

/** Rotates the order in each round, so that no contender always runs after the same other one. */
export function rotated<Item>(items: readonly Item[], round: number): Item[] {
  const shift = round % Math.max(1, items.length)
  return [...items.slice(shift), ...items.slice(0, shift)]
}
