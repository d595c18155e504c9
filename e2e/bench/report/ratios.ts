import { median } from '../load/statistics.ts'
import type { Measurement, Series } from './measurement.ts'
import type { Results, Section } from './results.ts'

export interface Spread {
  median: number
  min: number
  max: number
}

export interface Comparison extends Spread {
  label: string
  unit: '×' | '× the time' | 'ms' | '/s'
  /** The minimum, and the goal. If undefined, the ratio is only reported. */
  target?: { floor: number; aim: number }
  verdict: 'aim met' | 'floor met' | 'missed' | ''
}

type Name = [part: Exclude<keyof Results, 'start'>, contender: string, scenario: string]

/** Each kind of telemetry, with the target for the remaining share of reserve-stock's rate, if there is one. */
const telemetryKinds: Record<string, { floor: number; aim: number } | undefined> = {
  'metrics and access log': { floor: 0.93, aim: 0.97 },
  '1 % of traces': undefined,
  '10 % of traces': { floor: 0.88, aim: 0.95 },
  'all traces': { floor: 0.6, aim: 0.75 },
  'all traces and log records': undefined,
}

/** Ratios of reservations a second, between the two measurements of each round. Braces contain a setting of the run. */
const ratios: Array<{ label: string; of: Name; to: Name; target?: { floor: number; aim: number } }> = [
  ...compared('pgbench', { hot: { floor: 9.5, aim: 12 }, spread: { floor: 1.1, aim: 2 } }),
  ...compared('pgbench, one writing statement', {}),
  {
    label: 'one hot product: with an Idempotency-Key ÷ without',
    of: ['rates', 'reserve-stock, Idempotency-Key', 'hot'],
    to: ['rates', 'reserve-stock', 'hot'],
    target: { floor: 0.8, aim: 0.9 },
  },
  // If pgbench is not installed.
  ...compared('driver without HTTP', { hot: { floor: 6, aim: 12 }, spread: { floor: 1.1, aim: 2 } }),
  ...compared('naive handler', {}),
  ...compared('Medusa', { hot: { floor: 40, aim: 80 } }),
  ...(['hot', 'spread'] as const).map((scenario) => ({
    label: `${scenario === 'hot' ? 'one hot product' : '{products} products'}: sales ÷ pgbench with the same two transactions`,
    of: ['checkout', 'one process', scenario] satisfies Name as Name,
    to: ['checkout', 'pgbench', scenario] satisfies Name as Name,
    target: scenario === 'hot' ? { floor: 5, aim: 8 } : { floor: 1.3, aim: 2 },
  })),
  {
    label: 'sales of four processes ÷ one, one hot product',
    of: ['checkout', 'four processes', 'hot'],
    to: ['checkout', 'one process', 'hot'],
    target: { floor: 0.75, aim: 0.9 },
  },
  ...(['hot', 'spread'] as const).map((scenario) => ({
    label: `${scenario === 'hot' ? 'one hot product' : '{products} products'}: adjust-stock ÷ pgbench`,
    of: ['adjust', 'adjust-stock', scenario] satisfies Name as Name,
    to: ['adjust', 'pgbench', scenario] satisfies Name as Name,
    ...(scenario === 'hot' && { target: { floor: 5, aim: 8 } }),
  })),
  {
    label: 'four processes ÷ one, one hot product',
    of: ['processes', 'four processes', 'hot'],
    to: ['processes', 'one process', 'hot'],
    target: { floor: 0.6, aim: 0.9 },
  },
  {
    label: '{largeProducts} products ÷ {products}',
    of: ['large', 'reserve-stock', 'many products'],
    to: ['large', 'reserve-stock', 'few products'],
    target: { floor: 0.7, aim: 0.9 },
  },
  {
    label: 'refused ÷ accepted, one hot product',
    of: ['refused', 'reserve-stock', 'refused'],
    to: ['refused', 'reserve-stock', 'accepted'],
    target: { floor: 1.8, aim: 3 },
  },
  ...['cache in memory', 'cache in Redis', 'no cache'].map((contender, index) => ({
    label: `get-product, ${contender} ÷ bare Hono handler`,
    of: ['reads', contender, 'get-product'] satisfies Name as Name,
    to: ['reads', 'bare Hono handler', 'get-product'] satisfies Name as Name,
    ...(index < 2 && { target: { floor: 0.4, aim: 0.6 } }),
  })),
  ...['memory', 'Redis'].map((place) => ({
    label: `get-product, requests counted in ${place} ÷ not counted`,
    of: ['reads', `cache in ${place}, counted in ${place}`, 'get-product'] satisfies Name as Name,
    to: ['reads', `cache in ${place}`, 'get-product'] satisfies Name as Name,
  })),
  ...['get-product', 'reserve-stock'].flatMap((name) =>
    ['nginx', 'direct'].map((other) => ({
      label: `${name} behind the router ÷ ${other === 'nginx' ? 'behind nginx' : 'without a proxy'}, 32 connections`,
      of: ['router', 'router', name] satisfies Name as Name,
      to: ['router', other, name] satisfies Name as Name,
      ...(name === 'get-product' && other === 'nginx' && { target: { floor: 0.45, aim: 0.8 } }),
    })),
  ),
  {
    label: 'one hot product: npm start as a whole ÷ reserve-stock alone',
    of: ['stack', 'npm start', 'hot'],
    to: ['stack', 'reserve-stock', 'hot'],
    target: { floor: 0.65, aim: 0.8 },
  },
  ...['reserve-stock', 'sales', 'get-product'].flatMap((name) =>
    Object.entries(telemetryKinds).map(([kind, target]) => ({
      label: `${name}, with ${kind} ÷ without telemetry`,
      of: ['telemetry', kind, name] satisfies Name as Name,
      to: ['telemetry', 'off', name] satisfies Name as Name,
      ...(name === 'reserve-stock' && target && { target }),
    })),
  ),
  {
    label: 'sales while the log is archived ÷ while it is not',
    of: ['backup', 'archived', 'sales'],
    to: ['backup', 'nothing archived', 'sales'],
    target: { floor: 0.95, aim: 1 },
  },
  {
    label: 'sales during a full backup ÷ while the log is archived',
    of: ['backup', 'archived, during a backup', 'sales'],
    to: ['backup', 'archived', 'sales'],
    target: { floor: 0.85, aim: 0.95 },
  },
  {
    label: 'sales that all stages keep up with ÷ sales that the front alone takes',
    of: ['pipeline', 'all stages', 'sales'],
    to: ['pipeline', 'front alone', 'sales'],
    target: { floor: 0.5, aim: 0.8 },
  },
  {
    label: 'commits that wait for the replica ÷ for the disk, one hot product',
    of: ['replica', 'commits wait for the replica', 'hot'],
    to: ['replica', 'commits wait for the disk', 'hot'],
  },
  {
    label: 'list-products, page 10,000 ÷ page 1, of {largeProducts} products',
    of: ['large', 'list-products', 'page 10000'],
    to: ['large', 'list-products', 'page 1'],
    target: { floor: 0.67, aim: 0.67 },
  },
]

function compared(other: string, targets: Partial<Record<'hot' | 'spread', { floor: number; aim: number }>>) {
  return (['hot', 'spread'] as const).map((scenario) => ({
    label: `${scenario === 'hot' ? 'one hot product' : '{products} products'}: reserve-stock ÷ ${other}`,
    of: ['rates', 'reserve-stock', scenario] satisfies Name as Name,
    to: ['rates', other, scenario] satisfies Name as Name,
    ...(targets[scenario] && { target: targets[scenario] }),
  }))
}

const JOBS_TARGET = { floor: 1_500, aim: 4_000 }
const BULK_TARGET = { floor: 4, aim: 3 }
const P99_TARGET_MS = { floor: 22, aim: 15 }

/** Makes every comparison for which there are measurements. */
export function compare(results: Results): Comparison[] {
  const found: Comparison[] = []
  for (const { label, of, to, target } of ratios) {
    const [above, below] = [find(results, of), find(results, to)]
    if (!above || !below) continue
    found.push(judge(fill(label, results[of[0]]), '×', timesOf(above, below), target))
  }
  const half = find(results, ['latency', 'reserve-stock', 'half'])
  if (half)
    found.push(judge('p99 at half of saturation, one hot product', 'ms', valuesOf(half, 'p99Ms'), P99_TARGET_MS))
  const [many, one] = [500, 1].map((items) => find(results, ['bulk', 'query-availability', `${items} items`]))
  if (many && one) {
    const label = 'query-availability of 500 products ÷ of one, p50'
    found.push(judge(label, '× the time', timesOf(many, one, 'p50Ms'), BULK_TARGET))
  }
  for (const name of ['get-product', 'reserve-stock']) {
    const [router, direct] = ['router', 'direct'].map((each) => find(results, ['router', each, `${name}, one client`]))
    const label = `added by the router to one client’s ${name}, p50`
    if (router && direct) found.push(judge(label, 'ms', addedTo(router, direct), undefined))
  }
  const jobs = find(results, ['jobs', 'told of by RabbitMQ', 'submitted and done'])
  if (jobs) found.push(judge('jobs a second, told of by RabbitMQ', '/s', valuesOf(jobs, 'perSecond'), JOBS_TARGET))
  return found
}

/** The quotient of the two series' operations a second, or of their latencies, round by round. */
export function timesOf(above: Series, below: Series, member: 'perSecond' | 'p50Ms' = 'perSecond'): Spread {
  return spreadOf(
    above.measurements.flatMap((measurement, index) => {
      const other = below.measurements[index]
      return other ? [(measurement[member] ?? Number.NaN) / (other[member] ?? Number.NaN)] : []
    }),
  )
}

/** The milliseconds by which one series exceeds the other, round by round. */
function addedTo(above: Series, below: Series): Spread {
  const p50 = ({ measurements }: Series, index: number) => measurements[index]?.p50Ms ?? Number.NaN
  return spreadOf(above.measurements.map((_, index) => p50(above, index) - p50(below, index)))
}

function fill(label: string, section: Section | undefined): string {
  const { products = 0, largeProducts = 0 } = section?.settings ?? {}
  return label
    .replace('{products}', products.toLocaleString('en'))
    .replace('{largeProducts}', largeProducts.toLocaleString('en'))
}

function judge(label: string, unit: Comparison['unit'], spread: Spread, target: Comparison['target']): Comparison {
  if (!target) return { label, unit, ...spread, verdict: '' }
  // For milliseconds, fewer are better.
  const reaches = (bound: number) =>
    unit === 'ms' || unit === '× the time' ? spread.median <= bound : spread.median >= bound
  const verdict = reaches(target.aim) ? 'aim met' : reaches(target.floor) ? 'floor met' : 'missed'
  return { label, unit, ...spread, target, verdict }
}

function find(results: Results, [part, contender, scenario]: Name): Series | undefined {
  return seriesOf(results[part], contender, scenario)
}

export function seriesOf(section: Section | undefined, contender: string, scenario: string): Series | undefined {
  return section?.series.find((series) => series.contender === contender && series.scenario === scenario)
}

export function valuesOf(
  { measurements }: Series,
  member: 'perSecond' | 'p50Ms' | 'p99Ms' | 'arrivalsPerSecond' | 'primaryPerThousand' | 'cpuPercent',
): Spread {
  return spreadOf(measurements.map((measurement: Measurement) => measurement[member] ?? Number.NaN))
}

export function spreadOf(values: number[]): Spread {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) }
}
