import { existsSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { dashboardOf, logsOf, slowTracesOf } from './dashboard.ts'
import { boards } from './index.ts'
import { knownSeries } from './testing/known-series.ts'
import { seriesIn, syntaxErrors } from './testing/queries.ts'

const ROOT = new URL('../../', import.meta.url)
const FOLDER = fileURLToPath(new URL('docs/dashboards/', ROOT))

it.each(boards)('docs/dashboards/$name.json is what the code builds', async (board) => {
  await expect(`${JSON.stringify(dashboardOf(board), null, 2)}\n`).toMatchFileSnapshot(`${FOLDER}${board.name}.json`)
})

it('docs/dashboards has no other dashboard', async () => {
  const files = (await readdir(FOLDER)).filter((file) => file.endsWith('.json'))
  expect(files.sort()).toEqual(boards.map(({ name }) => `${name}.json`).sort())
})

describe.each(boards)('every panel of $title', ({ rows }) => {
  const panels = rows.flatMap((row) => row.panels.map((panel) => ({ ...panel, row })))

  it.each(panels)('$title has queries that parse, of metrics that there are', async ({ lines, row }) => {
    const known = await knownSeries()
    for (const query of Object.values(lines)) {
      expect(syntaxErrors('promql', query)).toEqual([])
      expect(seriesIn(query).filter((name) => !known(name))).toEqual([])
    }
    expect(syntaxErrors('traceql', slowTracesOf(row.of))).toEqual([])
    expect(syntaxErrors('logql', logsOf(row.of))).toEqual([])
  })

  it.each(panels)('$title is a rate by its unit where its queries are', ({ unit, lines }) => {
    // A quantile has the unit of the observed values, and a quotient of rates is a ratio.
    const isRate = (query: string) => query.includes('rate(') && !/histogram_quantile|\) \/ /.test(query)
    // CPU seconds per second are a ratio, too.
    const ofRates = ['reqps', 'ops', 'Bps', 'percentunit']
    for (const query of Object.values(lines)) {
      if (isRate(query)) expect(ofRates).toContain(unit)
      else expect(['reqps', 'ops', 'Bps']).not.toContain(unit)
    }
  })

  it.each(panels)('$title says what to do, in pages that there are', ({ help }) => {
    expect(help).toMatch(/\.$/)
    const pages = [...help.matchAll(/docs\/[\w/.-]+\.md/g)].map(([page]) => page)
    expect(pages.filter((page) => !existsSync(new URL(page, ROOT)))).toEqual([])
  })

  it('has a title of its own', () => {
    const titles = panels.map(({ title }) => title)
    expect(new Set(titles).size).toBe(titles.length)
  })

  it('is about functions that there are', async () => {
    const functions = [...(await readdir(new URL('functions/', ROOT))), 'router', 'backup']
    const patterns = rows.flatMap(({ of }) => of.split('|'))
    expect(patterns.filter((pattern) => !functions.some((name) => matches(pattern, name)))).toEqual([])
  })
})

const matches = (pattern: string, name: string) => new RegExp(`^(?:${pattern})$`).test(name)

it.each([
  ['promql', 'sum by (job (rate(up[5m]))'],
  ['logql', '{service_name=router} |= error'],
  ['traceql', '{ resource.service.name = } | rate('],
] as const)('a mistake in %s is found', (language, query) => {
  expect(syntaxErrors(language, query)).not.toEqual([])
})

it.each(boards)('the panels of $title link to traces and logs of the time that is looked at', (board) => {
  const built = JSON.parse(JSON.stringify(dashboardOf(board))) as Built
  const links = built.panels
    .filter(({ type }) => type !== 'row')
    .map((panel) => panel.links?.map(({ url }) => paneOf(url)))
  const pane = (datasource: string) => expect.objectContaining({ datasource, range: { from: '$__from', to: '$__to' } })
  expect(links.length).toBeGreaterThan(0)
  for (const link of links) expect(link).toEqual([pane('$traces'), pane('$logs')])
})

interface Built {
  panels: Array<{ type: string; links?: Array<{ url: string }> }>
}

function paneOf(url: string): object {
  return JSON.parse(new URL(url, 'http://grafana').searchParams.get('panes') ?? '').a
}
