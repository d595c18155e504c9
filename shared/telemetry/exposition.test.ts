import { expect, it } from 'vitest'
import { expose, type Family } from './exposition.ts'

const labelSet = { trace_id: '0af7651916cd43dd8448eb211c80319c' }
const families: Family[] = [
  {
    name: 'answers_total',
    help: 'With a \\ and\na new line.',
    type: 'counter',
    values: [{ labels: { reason: 'a "quoted" \\ text\nof two lines' }, value: 2 }],
  },
  {
    name: 'wait_seconds',
    help: 'A wait.',
    type: 'histogram',
    values: [
      { metricName: 'wait_seconds_bucket', labels: { le: 0.5 }, value: 0, exemplar: null },
      {
        metricName: 'wait_seconds_bucket',
        labels: { le: 1 },
        value: 1,
        exemplar: { labelSet, value: 0.75, timestamp: 1_700_000_000.5 },
      },
      { metricName: 'wait_seconds_bucket', labels: { le: '+Inf' }, value: 1 },
      { metricName: 'wait_seconds_sum', labels: {}, value: 0.75 },
      { metricName: 'wait_seconds_count', labels: {}, value: 1 },
    ],
  },
  {
    name: 'bounds',
    help: 'What is no number.',
    type: 'gauge',
    values: [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY].map((value) => ({ labels: {}, value })),
  },
]

it('renames counters alone: the client of Node has gauges that end in _total', () => {
  const gauge: Family = { name: 'active_total', help: 'A gauge.', type: 'gauge', values: [{ labels: {}, value: 1 }] }
  expect(expose([gauge], 'openmetrics')).toContain('# TYPE active_total gauge\nactive_total 1\n')
})

it('writes the text format of Prometheus, without exemplars', () => {
  expect(expose(families, 'prometheus')).toBe(String.raw`# HELP answers_total With a \\ and\na new line.
# TYPE answers_total counter
answers_total{reason="a \"quoted\" \\ text\nof two lines"} 2
# HELP wait_seconds A wait.
# TYPE wait_seconds histogram
wait_seconds_bucket{le="0.5"} 0
wait_seconds_bucket{le="1"} 1
wait_seconds_bucket{le="+Inf"} 1
wait_seconds_sum 0.75
wait_seconds_count 1
# HELP bounds What is no number.
# TYPE bounds gauge
bounds NaN
bounds +Inf
bounds -Inf
`)
})

it('writes OpenMetrics, with exemplars', () => {
  expect(expose(families, 'openmetrics')).toBe(String.raw`# HELP answers With a \\ and\na new line.
# TYPE answers counter
answers_total{reason="a \"quoted\" \\ text\nof two lines"} 2
# HELP wait_seconds A wait.
# TYPE wait_seconds histogram
wait_seconds_bucket{le="0.5"} 0
wait_seconds_bucket{le="1.0"} 1 # {trace_id="0af7651916cd43dd8448eb211c80319c"} 0.75 1700000000.5
wait_seconds_bucket{le="+Inf"} 1
wait_seconds_sum 0.75
wait_seconds_count 1
# HELP bounds What is no number.
# TYPE bounds gauge
bounds NaN
bounds +Inf
bounds -Inf
# EOF
`)
})
