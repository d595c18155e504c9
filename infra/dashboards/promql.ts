/** The rate of a counter, or of a histogram's `_count`, summed over all processes. */
export const rate = (counter: string, by = ''): string => `sum${group(by)} (rate(${counter}[$__rate_interval]))`

/** A quantile of a histogram, over all processes. `series` is the histogram's name, with a selector if needed. */
export function quantile(q: number, series: string, by = ''): string {
  const [name, selector = ''] = series.split(/(?=\{)/)
  const labels = by ? `le, ${by}` : 'le'
  return `histogram_quantile(${q}, sum by (${labels}) (rate(${name}_bucket${selector}[$__rate_interval])))`
}

/** The median, and the value that one in a hundred exceeds. */
export const median99 = (series: string) => ({ median: quantile(0.5, series), '99 %': quantile(0.99, series) })

const group = (by: string) => (by ? ` by (${by})` : '')
