import { parts } from '../options.ts'
import type { Measurement } from './measurement.ts'
import { type Comparison, compare, type Spread, seriesOf, spreadOf, valuesOf } from './ratios.ts'
import type { Results, Section } from './results.ts'

/** Renders the results as Markdown, with the machine and everything that a reader needs to judge them. */
export function renderTables(results: Results): string {
  const { start, ...sections } = results
  const blocks = [
    comparisonTable(compare(results)),
    results.rates && ratesTable(results.rates),
    results.latency && latencyTable(results.latency),
    table(
      ['part', 'measured', 'answers a second', 'min-max', 'lost', 'wrong balances'],
      otherParts.flatMap((part) => otherRows(part, results[part])),
    ),
    costsTable(results),
    results.replica && primaryTable(results.replica),
    results.events && eventsTable(results.events),
    start && startTable(start.millisecondsTo),
    Object.entries(sections)
      .map(([part, section]) => provenance(part, section))
      .join('\n'),
  ]
  return blocks.filter((block) => block !== undefined && block !== '').join('\n\n')
}

/** The parts without their own table. */
const otherParts = parts.filter(
  (part) => part !== 'start' && part !== 'rates' && part !== 'latency' && part !== 'events',
)

function table(head: string[], rows: string[][]): string {
  if (rows.length === 0) return ''
  const line = (cells: string[]) => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}

function comparisonTable(comparisons: Comparison[]): string {
  return table(
    ['compared', 'median', 'min-max', 'floor / aim', ''],
    comparisons.map(({ label, unit, target, verdict, ...spread }) => {
      const write = writers[unit]
      const aims = target
        ? `${target.floor.toLocaleString('en')} / ${target.aim.toLocaleString('en')}${unit === 'ms' ? ' ms' : ''}`
        : ''
      return [label, `**${write(spread.median)}**`, range(spread, write), aims, verdict]
    }),
  )
}

const writers: Record<Comparison['unit'], (value: number) => string> = {
  '×': (value) => short(value),
  '× the time': (value) => short(value),
  ms: (value) => `${value.toFixed(1)} ms`,
  '/s': (value) => whole(value),
}

function ratesTable({ series, sellOuts, settings }: Section): string {
  const contenders = [...new Set(series.map(({ contender }) => contender))]
  return table(
    [
      'reservations a second',
      'hot',
      'min-max',
      `${whole(settings.products)} products`,
      'min-max',
      'lost',
      'wrong balances',
      'oversold',
    ],
    contenders.map((contender) => {
      const rates = ['hot', 'spread'].flatMap((scenario) => {
        const own = series.find((each) => each.contender === contender && each.scenario === scenario)
        if (!own) return ['', '']
        const spread = valuesOf(own, 'perSecond')
        return [whole(spread.median), range(spread, whole)]
      })
      const all = series.filter((each) => each.contender === contender).flatMap(({ measurements }) => measurements)
      const sales = sellOuts?.[contender] ?? []
      const oversold = sales.reduce((sum, { sold, pieces }) => sum + Math.max(0, sold - pieces), 0)
      const of = sales.reduce((sum, { pieces }) => sum + pieces, 0)
      return [contender, ...rates, lostOf(all), wrongOf(all), `${oversold} of ${whole(of)}`]
    }),
  )
}

function latencyTable(section: Section): string {
  const contenders = [...new Set(section.series.map(({ contender }) => contender))]
  return table(
    ['at half of saturation, one hot product', 'arrivals a second', 'p50 ms', 'min-max', 'p99 ms', 'min-max'],
    contenders.flatMap((contender) => {
      const half = seriesOf(section, contender, 'half')
      if (!half) return []
      const p50 = valuesOf(half, 'p50Ms')
      const p99 = valuesOf(half, 'p99Ms')
      const arrivals = whole(valuesOf(half, 'arrivalsPerSecond').median)
      return [[contender, arrivals, p50.median.toFixed(1), range(p50, tenth), p99.median.toFixed(1), range(p99, tenth)]]
    }),
  )
}

function otherRows(part: string, section: Section | undefined): string[][] {
  return (section?.series ?? []).map(({ contender, scenario, measurements }) => {
    const spread = spreadOf(measurements.map(({ perSecond }) => perSecond))
    const name = contender === 'reserve-stock' ? scenario : `${contender}, ${scenario}`
    return [part, name, whole(spread.median), range(spread, whole), lostOf(measurements), wrongOf(measurements)]
  })
}

/** The costs of each operation for the service, PostgreSQL and the client. */
function costsTable({ start: _, ...sections }: Results): string {
  const cost = (
    measurements: Measurement[],
    member: 'serviceMicroseconds' | 'databaseMicroseconds' | 'clientMicroseconds' | 'walBytes' | 'commitsPerSecond',
  ) => whole(spreadOf(measurements.map((measurement) => measurement[member] ?? 0)).median)
  return table(
    ['each operation', '', 'service, µs of CPU', 'PostgreSQL, µs', 'client, µs', 'WAL, bytes', 'commits a second'],
    Object.entries(sections).flatMap(([part, { series }]) =>
      series
        .filter(({ measurements }) => measurements.every(({ walBytes }) => walBytes !== undefined))
        .map(({ contender, scenario, measurements }) => [
          part,
          `${contender}, ${scenario}`,
          cost(measurements, 'serviceMicroseconds'),
          cost(measurements, 'databaseMicroseconds'),
          cost(measurements, 'clientMicroseconds'),
          cost(measurements, 'walBytes'),
          cost(measurements, 'commitsPerSecond'),
        ]),
    ),
  )
}

function primaryTable(section: Section): string {
  return table(
    [
      'reads, 5 % of which insist on the primary',
      'transactions on the primary for each 1,000',
      'min-max',
      'reads a second',
    ],
    section.series
      .filter(({ scenario }) => scenario === 'reads')
      .map((series) => {
        const spread = valuesOf(series, 'primaryPerThousand')
        return [
          series.contender,
          whole(spread.median),
          range(spread, whole),
          whole(valuesOf(series, 'perSecond').median),
        ]
      }),
  )
}

function eventsTable(section: Section): string {
  const cell = (
    contender: string,
    scenario: string,
    member: Parameters<typeof valuesOf>[1],
    write: (value: number) => string,
  ) => {
    const series = seriesOf(section, contender, scenario)
    const spread = series && valuesOf(series, member)
    return spread ? [write(spread.median), range(spread, write)] : ['', '']
  }
  const percent = (value: number) => `${value.toFixed(1)} %`
  const milliseconds = (value: number) => `${whole(value)} ms`
  return table(
    ['events in Kafka', 'median', 'min-max'],
    [
      ['a second, from the outbox to Kafka', ...cell('publish-events', 'backlog', 'perSecond', whole)],
      [
        'age on arrival at a consumer, at 2,000 reservations a second, p50',
        ...cell('follower', 'lag', 'p50Ms', milliseconds),
      ],
      ['the same, p99', ...cell('follower', 'lag', 'p99Ms', milliseconds)],
      ...['KafkaJS as it is', 'KafkaJS without idle timers', 'detect-low-stock'].map((name) => [
        `of a core, by an idle consumer: ${name}`,
        ...cell(name, 'idle', 'cpuPercent', percent),
      ]),
    ],
  )
}

function startTable(millisecondsTo: Record<string, number[]>): string {
  const bare = spreadOf(millisecondsTo['bare Hono'] ?? []).median
  return table(
    ['from start to first answer', 'median ms', 'min-max', 'of bare Hono'],
    Object.entries(millisecondsTo).map(([name, values]) => {
      const spread = spreadOf(values)
      return [name, whole(spread.median), range(spread, whole), short(spread.median / bare)]
    }),
  )
}

function provenance(part: string, { machine, settings, measuredAt, note, series }: Section): string {
  const unexpected = series.flatMap(({ contender, scenario, measurements }) => {
    const count = sum(measurements.map((measurement) => measurement.unexpected ?? 0))
    return count > 0 ? [`${whole(count)} answers of ${contender} (${scenario}) were of another status.`] : []
  })
  const { cores, model, memoryGiB, node, postgresql, transactions } = machine
  const software = [`node ${node}`, `PostgreSQL ${postgresql}`, transactions].filter(Boolean).join(', ')
  const runs = `${settings.rounds} ${settings.rounds === 1 ? 'round' : 'rounds'} of ${settings.seconds} s over ${settings.connections} connections`
  const hardware = `${cores} cores of ${model}, ${memoryGiB} GiB`
  return `* ${part}: ${[measuredAt.slice(0, 10), runs, hardware, software].join('; ')}.${[note, ...unexpected].map((text) => text && ` ${text}`).join('')}`
}

type Counted = Array<{ acknowledged: number; lost: number; inconsistent?: number }>

const lostOf = (measurements: Counted) =>
  `${sum(measurements.map(({ lost }) => lost))} of ${whole(sum(measurements.map(({ acknowledged }) => acknowledged)))}`
const wrongOf = (measurements: Counted) => String(sum(measurements.map(({ inconsistent }) => inconsistent ?? 0)))
const sum = (values: number[]) => values.reduce((total, value) => total + value, 0)

export const whole = (value: number) => Math.round(value).toLocaleString('en')
const tenth = (value: number) => value.toFixed(1)
/** Formats with three digits: more would be noise. */
export const short = (value: number) =>
  value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)
const range = ({ min, max }: Spread, write: (value: number) => string) => `${write(min)}-${write(max)}`
