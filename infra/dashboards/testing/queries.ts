import { parser as logql } from '@grafana/lezer-logql'
import { parser as traceql } from '@grafana/lezer-traceql'
import { parser as promql } from '@prometheus-io/lezer-promql'

const parsers = { promql, logql, traceql }

/** Returns the parts of a query with syntax errors. `$__rate_interval` is Grafana's variable, and stands for a duration. */
export function syntaxErrors(language: keyof typeof parsers, query: string): string[] {
  const errors: string[] = []
  const text = withInterval(query, '1m')
  parsers[language].parse(text).iterate({
    enter: (node) => {
      if (node.type.isError) errors.push(`${text.slice(0, node.from)} >>> ${text.slice(node.from)}`)
    },
  })
  return errors
}

/** Replaces the variable, as Grafana does before it asks Prometheus. */
export const withInterval = (query: string, interval: string) => query.replaceAll('$__rate_interval', interval)

/** The names of all series that a PromQL query reads. */
export function seriesIn(query: string): string[] {
  const names: string[] = []
  const text = withInterval(query, '1m')
  promql.parse(text).iterate({
    enter: ({ name, from, to }) => {
      if (name === 'VectorSelector') names.push(/^[\w:]+/.exec(text.slice(from, to))?.[0] ?? '')
    },
  })
  return [...new Set(names)]
}
