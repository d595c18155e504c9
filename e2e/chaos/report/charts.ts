import { type Attempt, isRefused } from '../checks/history.ts'
import type { Outcome } from '../rounds.ts'

const WIDTH = 1_000
const LEFT = 190
const RIGHT = 40
const PLOT = WIDTH - LEFT - RIGHT

/** Draws the answers of each second, with refused ones on top in red, and a band for each fault. */
export function drawTimeline(attempts: readonly Attempt[], outcomes: readonly Outcome[]): string {
  const first = Math.min(...attempts.map(({ endedAt }) => endedAt))
  const count = 1 + Math.floor((Math.max(...attempts.map(({ endedAt }) => endedAt)) - first) / 1_000)
  const bins = Array.from({ length: count }, () => ({ good: 0, refused: 0 }))
  for (const attempt of attempts) {
    const bin = bins[Math.floor((attempt.endedAt - first) / 1_000)]
    if (bin) bin[isRefused(attempt) ? 'refused' : 'good']++
  }
  const [top, height] = [50, 160]
  const most = Math.max(1, ...bins.map(({ good, refused }) => good + refused))
  const x = (at: number) => LEFT + ((at - first) / 1_000 / count) * PLOT
  const tall = (value: number) => (value / most) * height
  const bars = bins.map(({ good, refused }, index) => {
    const at = x(first + index * 1_000)
    const wide = Math.max(0.5, PLOT / count - 0.3)
    return rect('good', at, top + height - tall(good), wide, tall(good)) + rect('bad', at, top, wide, tall(refused))
  })
  const names = [...new Set(outcomes.flatMap(({ strikes }) => strikes.map(({ name }) => name)))].sort()
  const rows = names.map((name, index) => label(LEFT - 10, top + height + 40 + index * 16, name))
  const marks = outcomes.flatMap(({ strikes }) =>
    strikes.map(({ name, from, to }) => {
      const y = top + height + 29 + names.indexOf(name) * 16
      return rect('fault', x(from), y, Math.max(3, x(to) - x(from)), 12)
    }),
  )
  const axis = [
    label(LEFT - 10, top + 10, `${most}/s`),
    label(LEFT - 10, top + height, '0'),
    label(WIDTH - RIGHT, top + height + 18, `${count} s`),
  ]
  const title = 'Answers a second (from below: good; from above: refused or none), and the faults under them'
  return svg(title, top + height + 60 + names.length * 16, [...bars, ...axis, ...rows, ...marks])
}

/** Draws the longest recovery from each fault, with its limit. */
export function drawRecovery(outcomes: readonly Outcome[]): string {
  const longest = new Map<string, { took: number; bound: number }>()
  for (const { strikes, recoveredInMs, recoversWithinMs } of outcomes) {
    const name = strikes.map((strike) => strike.name).join(' + ')
    const took = Math.max(recoveredInMs, longest.get(name)?.took ?? 0)
    longest.set(name, { took, bound: recoversWithinMs })
  }
  const most = Math.max(1, ...[...longest.values()].flatMap(({ took, bound }) => [took, bound]))
  const left = 330
  const x = (ms: number) => left + (ms / most) * (WIDTH - left - 90)
  const lines = [...longest]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, { took, bound }], index) => {
      const y = 50 + index * 18
      return [
        label(left - 10, y + 11, name),
        rect(took > bound ? 'bad' : 'good', left, y, Math.max(1, x(took) - left), 13),
        rect('bound', x(bound), y - 2, 2, 17),
        `<text x="${(Math.max(x(took), left) + 6).toFixed(1)}" y="${y + 11}">${(took / 1_000).toFixed(1)} s</text>`,
      ].join('\n')
    })
  return svg('Until all was as before, from the end of the fault; the line is the bound', 70 + longest.size * 18, lines)
}

const rect = (name: string, x: number, y: number, width: number, height: number) =>
  `<rect class="${name}" x="${x.toFixed(1)}" y="${y.toFixed(1)}" width="${width.toFixed(1)}" height="${height.toFixed(1)}"/>`
const label = (x: number, y: number, text: string) => `<text class="name" x="${x}" y="${y}">${text}</text>`

const svg = (title: string, height: number, lines: string[]) =>
  [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">`,
    `<title>${title}</title>`,
    STYLE,
    `<rect class="paper" width="${WIDTH}" height="${height}" rx="6"/>`,
    `<text class="title" x="24" y="30">${title}</text>`,
    ...lines,
    '</svg>\n',
  ].join('\n')

const STYLE = `<style>
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 15px; font-weight: 600 }
.name { text-anchor: end }
.paper { fill: #ffffff }
.good { fill: #2a7de1 }
.bad { fill: #cf222e }
.fault { fill: #bf8700 }
.bound { fill: #59636e }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .paper { fill: #0d1117 }
}
</style>`
