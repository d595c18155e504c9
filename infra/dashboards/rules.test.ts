import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { allRules, knownSeries } from './testing/known-series.ts'
import { seriesIn, syntaxErrors } from './testing/queries.ts'

const ROOT = new URL('../../', import.meta.url)
const RUNBOOKS = new URL('docs/runbooks/', ROOT)

const rules = await allRules()
const alerts = rules.filter(({ alert }) => alert !== undefined)
const runbooks = (await readdir(RUNBOOKS)).filter((file) => file !== 'README.md')

it.each(rules)('$alert$record is of metrics that there are', async ({ expr }) => {
  const known = await knownSeries()
  expect(syntaxErrors('promql', expr)).toEqual([])
  expect(seriesIn(expr).filter((name) => !known(name))).toEqual([])
})

const burnRates = rules.filter(({ record }) => record?.startsWith('slo:burn_rate'))

it.each(burnRates)('$record is over the window of its name, errors and requests alike', ({ record, expr }) => {
  const windows = [...expr.matchAll(/\[(\w+)\]/g)].map(([, window]) => `slo:burn_rate${window}`)
  expect(windows).toEqual([record, record])
})

describe.each(alerts)('$alert', ({ alert, labels, annotations }) => {
  it('says whether to wake someone, what has happened, and where to read on', () => {
    expect(['page', 'ticket']).toContain(labels?.severity)
    expect(annotations).toEqual({
      summary: expect.stringMatching(/\S/),
      description: expect.stringMatching(/\.$/),
      runbook_url: expect.stringMatching(/^docs\/runbooks\/[\w-]+\.md$/),
    })
  })

  it('has a runbook that names it', async () => {
    const page = new URL(annotations?.runbook_url ?? '', ROOT)
    expect(existsSync(page)).toBe(true)
    expect(await readFile(page, 'utf8')).toContain(`\`${alert}\``)
  })
})

/** Runbooks for planned work, and those that another page leads to. */
const WITHOUT_ALERT = ['fail-over.md', 'replica-reclone.md', 'rotate-secrets.md', 'upgrade.md']

it.each(runbooks.filter((file) => !WITHOUT_ALERT.includes(file)))(
  'docs/runbooks/%s is where an alert leads',
  (file) => {
    expect(alerts.map(({ annotations }) => annotations?.runbook_url)).toContain(`docs/runbooks/${file}`)
  },
)

it.each(runbooks)('docs/runbooks/README.md lists %s', async (file) => {
  expect(await readFile(new URL('README.md', RUNBOOKS), 'utf8')).toContain(`](${file})`)
})
