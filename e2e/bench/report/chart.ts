import { type Spread, seriesOf, timesOf, valuesOf } from './ratios.ts'
import type { Results } from './results.ts'
import { short, whole } from './table.ts'

interface Bar extends Spread {
  name: string
  text: string
  isOwn: boolean
}

interface Chart {
  title: string
  axis: string
  groups: Array<{ name: string; bars: Bar[] }>
}

const WIDTH = 860
const LEFT = 240
const RIGHT = 190
const TOP = 64
const BAR = 22
const GAP = 34

/** Draws the charts for which there are enough results, by file name. */
export function renderCharts(results: Results): Record<string, string> {
  const charts = { 'rates.svg': ratesChart(results), 'latency.svg': latencyChart(results) }
  return Object.fromEntries(
    Object.entries(charts).flatMap(([name, chart]) => (chart.groups.length > 0 ? [[name, draw(chart)]] : [])),
  )
}

function ratesChart({ rates }: Results): Chart {
  const contenders = [...new Set(rates?.series.map(({ contender }) => contender))]
  const groups = Object.entries({
    hot: 'one hot product',
    spread: `${whole(rates?.settings.products ?? 0)} products`,
  }).map(([scenario, name]) => {
    const own = seriesOf(rates, 'reserve-stock', scenario)
    const bars = contenders.flatMap((contender): Bar[] => {
      const series = seriesOf(rates, contender, scenario)
      if (!series || !own) return []
      const spread = valuesOf(series, 'perSecond')
      const times = series === own ? '' : ` (${short(timesOf(own, series).median)}×)`
      const text = `${whole(spread.median)}/s${times}`
      return [{ name: contender, ...spread, text, isOwn: contender.startsWith('reserve-stock') }]
    })
    return { name, bars }
  })
  return {
    title: 'Reservations a second (in brackets: how many times as many reserve-stock takes)',
    axis: 'reservations a second, logarithmic; the line is min to max of all rounds',
    groups: groups.filter(({ bars }) => bars.length > 0),
  }
}

function latencyChart({ latency }: Results): Chart {
  const contenders = [...new Set(latency?.series.map(({ contender }) => contender))]
  const groups = contenders.flatMap((contender) => {
    const half = seriesOf(latency, contender, 'half')
    if (!half) return []
    const arrivals = whole(valuesOf(half, 'arrivalsPerSecond').median)
    const bars = (['p50Ms', 'p99Ms'] as const).map((member) => {
      const spread = valuesOf(half, member)
      const text = `${spread.median.toFixed(1)} ms`
      return { name: member.slice(0, 3), ...spread, text, isOwn: contender === 'reserve-stock' }
    })
    return [{ name: `${contender}, at ${arrivals} arrivals a second`, bars }]
  })
  return {
    title: 'Latency at half of saturation, one hot product',
    axis: 'milliseconds, logarithmic; the line is min to max of all rounds',
    groups,
  }
}

/** Draws horizontal bars on a logarithmic axis, so that the shortest are still readable. Colours follow the reader's colour scheme. */
function draw({ title, axis, groups }: Chart): string {
  const all = groups.flatMap(({ bars }) => bars)
  const from = 10 ** Math.floor(Math.log10(Math.min(...all.map(({ min }) => min)) * 0.9))
  const to = Math.max(...all.map(({ max }) => max)) * 1.05
  const x = (value: number) => LEFT + (Math.log(value / from) / Math.log(to / from)) * (WIDTH - LEFT - RIGHT)
  const lines: string[] = []
  let y = TOP
  for (const group of groups) {
    lines.push(`<text class="group" x="24" y="${y + 4}">${escapeText(group.name)}</text>`)
    y += 16
    for (const bar of group.bars) {
      lines.push(drawBar(bar, y, x, from))
      y += BAR + 8
    }
    y += GAP - 8
  }
  const bottom = y - GAP + 14
  const height = bottom + 56
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">`,
    `<title>${escapeText(title)}</title>`,
    STYLE,
    `<rect class="paper" width="${WIDTH}" height="${height}" rx="6"/>`,
    `<text class="title" x="24" y="32">${escapeText(title)}</text>`,
    ...ticks(from, to).map((tick) => drawTick(tick, x(tick), bottom)),
    ...lines,
    `<text class="axis" x="${LEFT}" y="${bottom + 40}">${escapeText(axis)}</text>`,
    '</svg>\n',
  ].join('\n')
}

function drawBar({ name, text, isOwn, ...spread }: Bar, y: number, x: (value: number) => number, from: number): string {
  const [start, end, middle] = [x(from), x(spread.median), y + BAR / 2]
  return [
    `<text class="name" x="${LEFT - 10}" y="${middle + 4}">${escapeText(name)}</text>`,
    `<rect class="${isOwn ? 'own' : 'other'}" x="${start}" y="${y}" width="${fixed(end - start)}" height="${BAR}" rx="2"/>`,
    `<line class="range" x1="${fixed(x(spread.min))}" x2="${fixed(x(spread.max))}" y1="${middle}" y2="${middle}"/>`,
    `<text class="value" x="${fixed(Math.max(end, x(spread.max)) + 8)}" y="${middle + 4}">${escapeText(text)}</text>`,
  ].join('\n')
}

function drawTick(value: number, x: number, bottom: number): string {
  const at = fixed(x)
  return `<line class="tick" x1="${at}" x2="${at}" y1="${TOP - 12}" y2="${bottom}"/>
<text class="axis" text-anchor="middle" x="${at}" y="${bottom + 18}">${whole(value)}</text>`
}

function ticks(from: number, to: number): number[] {
  const found: number[] = []
  for (let tick = from; tick <= to; tick *= 10) found.push(tick)
  return found
}

const fixed = (value: number) => value.toFixed(1)
const escapeText = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')

const STYLE = `<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.value, .group { paint-order: stroke; stroke: #ffffff; stroke-width: 4px }
.title { font-size: 16px; font-weight: 600 }
.group { font-weight: 600 }
.name { text-anchor: end }
.axis { font-size: 12px; fill: #59636e }
.paper { fill: #ffffff }
.own { fill: #2a7de1 }
.other { fill: #9aa4af }
.tick { stroke: #d1d9e0 }
.range { stroke: #1f2328; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .value, .group { stroke: #0d1117 }
  .axis { fill: #9198a1 }
  .paper { fill: #0d1117 }
  .own { fill: #4493f8 }
  .other { fill: #656c76 }
  .tick { stroke: #3d444d }
  .range { stroke: #f0f6fc }
}
</style>`
