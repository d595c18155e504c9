import { writeFile } from 'node:fs/promises'
import type { Board, Panel } from './dashboard.ts'
import { boards } from './index.ts'

const USAGE = `node --import tsx infra/dashboards/draw.ts URL [MINUTES]: draws each dashboard over the last minutes (15) as docs/dashboards/<name>.svg,
with what the Prometheus at URL answers to its queries. Not Grafana's own picture: one look tells which panels have data.`

/** The number of points of a line, and the interval of rates: six scrapes. */
const POINTS = 120
const RATE_INTERVAL = '30s'
const [WIDTH, HEIGHT, COLUMNS, LEGENDS] = [400, 210, 3, 6]
const COLOURS = [
  '#1f77b4',
  '#ff7f0e',
  '#2ca02c',
  '#d62728',
  '#9467bd',
  '#8c564b',
  '#e377c2',
  '#7f7f7f',
  '#bcbd22',
  '#17becf',
]

interface Line {
  legend: string
  points: Array<[seconds: number, value: number]>
}

interface Span {
  from: number
  to: number
}

async function draw(board: Board, url: string, span: Span): Promise<string> {
  const parts: string[] = []
  let y = 40
  for (const row of board.rows) {
    parts.push(text(10, y + 16, row.title, 'font-weight="bold" font-size="14"'))
    y += 26
    for (const [index, panel] of row.panels.entries()) {
      const lines = (await Promise.all(Object.entries(panel.lines).map((line) => ask(url, ...line, span)))).flat()
      const [left, top] = [(index % COLUMNS) * WIDTH, y + Math.floor(index / COLUMNS) * HEIGHT]
      parts.push(`<g transform="translate(${left},${top})">${graph(panel, lines, span)}</g>`)
    }
    y += Math.ceil(row.panels.length / COLUMNS) * HEIGHT
  }
  const size = `width="${WIDTH * COLUMNS}" height="${y + 10}"`
  const title = text(10, 28, board.title, 'font-weight="bold" font-size="20"')
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} font-family="sans-serif" font-size="11">
<rect width="100%" height="100%" fill="#fff"/>${title}${parts.join('\n')}</svg>\n`
}

async function ask(url: string, legend: string, query: string, { from, to }: Span): Promise<Line[]> {
  const asked = new URL('/api/v1/query_range', url)
  const step = String((to - from) / POINTS)
  asked.search = String(
    new URLSearchParams({
      query: query.replaceAll('$__rate_interval', RATE_INTERVAL),
      start: String(from),
      end: String(to),
      step,
    }),
  )
  const response = await fetch(asked)
  if (!response.ok) throw new Error(`${query}: ${await response.text()}`)
  const { data } = (await response.json()) as {
    data: { result: Array<{ metric: Record<string, string>; values: Array<[number, string]> }> }
  }
  return data.result.map(({ metric, values }) => ({
    legend: legend.replaceAll(/\{\{(\w+)\}\}/g, (_, name: string) => metric[name] ?? ''),
    points: values.flatMap(([at, value]) =>
      Number.isFinite(Number(value)) ? [[at, Number(value)] as [number, number]] : [],
    ),
  }))
}

function graph({ title, unit, emptyUntil }: Panel, lines: Line[], { from, to }: Span): string {
  const [left, top, width, height] = [10, 26, WIDTH - 20, HEIGHT - 90]
  const highest = Math.max(0, ...lines.flatMap(({ points }) => points.map(([, value]) => value))) || 1
  const place = ([at, value]: [number, number]) =>
    `${(left + ((at - from) / (to - from)) * width).toFixed(1)},${(top + height - (Math.max(0, value) / highest) * height).toFixed(1)}`
  const drawn = lines.map(({ points }, index) => {
    const stroke = `stroke="${COLOURS[index % COLOURS.length]}"`
    return `<polyline fill="none" ${stroke} stroke-width="1.5" points="${points.map(place).join(' ')}"/>`
  })
  const legends = lines.slice(0, LEGENDS).map(({ legend }, index) => {
    const [x, y] = [left + (index % 2) * (width / 2), top + height + 16 + Math.floor(index / 2) * 14]
    return text(x, y, `■ ${legend}`.slice(0, 32), `fill="${COLOURS[index % COLOURS.length]}"`)
  })
  if (lines.length > LEGENDS)
    legends.push(text(left, top + height + 58, `and ${lines.length - LEGENDS} more`, 'fill="#666"'))
  const empty =
    lines.length === 0
      ? text(left + 8, top + height / 2, emptyUntil ? `none: ${emptyUntil}` : 'NO DATA', 'fill="#666"')
      : ''
  const frame = `<rect x="${left}" y="${top}" width="${width}" height="${height}" fill="#fafafa" stroke="#ddd"/>`
  const scale = lines.length > 0 ? text(left + 4, top + 12, shown(highest, unit), 'fill="#666"') : ''
  return [text(left, 18, title, 'font-weight="bold"'), frame, scale, ...drawn, empty, ...legends].join('')
}

function shown(value: number, unit: Panel['unit']): string {
  if (unit === 'percentunit') return `${(value * 100).toPrecision(3)} %`
  const digits = new Intl.NumberFormat('en', { notation: 'compact', maximumSignificantDigits: 3 }).format(value)
  return {
    none: digits,
    short: digits,
    reqps: `${digits}/s`,
    ops: `${digits}/s`,
    s: `${digits} s`,
    bytes: `${digits}B`,
    Bps: `${digits}B/s`,
  }[unit]
}

const text = (x: number, y: number, content: string, attributes: string) =>
  `<text x="${x}" y="${y}" ${attributes}>${content.replaceAll('&', '&amp;').replaceAll('<', '&lt;')}</text>`

async function main([url, minutes = '15']: string[]): Promise<void> {
  if (!url) {
    process.stdout.write(`${USAGE}\n`)
    return
  }
  const to = Math.floor(Date.now() / 1000)
  const span = { from: to - Number(minutes) * 60, to }
  for (const board of boards) {
    const file = new URL(`../../docs/dashboards/${board.name}.svg`, import.meta.url)
    await writeFile(file, await draw(board, url, span))
  }
}

await main(process.argv.slice(2))
