/** The text formats of Prometheus and of OpenMetrics. */
export type Format = 'prometheus' | 'openmetrics'

export const contentTypes: Readonly<Record<Format, string>> = {
  prometheus: 'text/plain; version=0.0.4; charset=utf-8',
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
}

type Labels = Readonly<Record<string, string | number>>

interface Value {
  /** Set if it differs from the family's name, as for a histogram's buckets. */
  metricName?: string
  labels: Labels
  value: number
  exemplar?: { labelSet: Labels; value: number; timestamp: number } | null
}

export interface Family {
  name: string
  help: string
  type: string
  values: readonly Value[]
}

/**
 * Writes metrics as text. The driver's own OpenMetrics writer renames the counters for good, so that a scrape in the other format would lose their
 * `_total`. Only OpenMetrics has exemplars: https://prometheus.io/docs/specs/om/open_metrics_spec/
 */
export function expose(families: readonly Family[], format: Format): string {
  const isOpenMetrics = format === 'openmetrics'
  const lines = families.flatMap((family) => {
    const isCounter = family.type === 'counter'
    const name = isOpenMetrics && isCounter ? family.name.replace(/_total$/, '') : family.name
    const head = [`# HELP ${name} ${escapeText(family.help)}`, `# TYPE ${name} ${family.type}`]
    return [...head, ...family.values.map((value) => lineOf(family.name, value, isOpenMetrics))]
  })
  return `${lines.join('\n')}\n${isOpenMetrics ? '# EOF\n' : ''}`
}

function lineOf(family: string, { metricName, labels, value, exemplar }: Value, isOpenMetrics: boolean) {
  const line = `${metricName ?? family}${labelsOf(labels, isOpenMetrics)} ${numberOf(value)}`
  if (!isOpenMetrics || !exemplar) return line
  return `${line} # ${labelsOf(exemplar.labelSet, isOpenMetrics) || '{}'} ${numberOf(exemplar.value)} ${exemplar.timestamp}`
}

function labelsOf(labels: Labels, isOpenMetrics: boolean): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${labelOf(value, isOpenMetrics)}"`)
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}

/** OpenMetrics writes the bounds of buckets as floats: `1.0`. */
function labelOf(value: string | number, isOpenMetrics: boolean): string {
  if (typeof value === 'string') return escapeText(value).replaceAll('"', '\\"')
  return isOpenMetrics && Number.isInteger(value) ? value.toFixed(1) : String(value)
}

function numberOf(value: number): string {
  if (Number.isFinite(value) || Number.isNaN(value)) return String(value)
  return value > 0 ? '+Inf' : '-Inf'
}

function escapeText(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
}
