import { execFile } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { allRules, type Rule } from './testing/known-series.ts'
import { whyMissing } from './testing/prometheus.ts'
import { seriesIn } from './testing/queries.ts'

const FOLDER = fileURLToPath(new URL('../docker/prometheus/', import.meta.url))
const run = promisify(execFile)
/** promtool takes six seconds on an idle machine, for hours of samples. */
const PROMTOOL_MS_MAX = 120_000

const missing = await whyMissing('promtool')

describe.skipIf(missing !== undefined)(missing ? `promtool (skipped: ${missing})` : 'promtool', () => {
  it('accepts the configuration', async () => {
    await run('promtool', ['check', 'config', '--syntax-only', 'prometheus.yml'], { cwd: FOLDER })
  })

  it('accepts the rules', async () => {
    const files = (await readdir(`${FOLDER}rules`)).map((file) => `rules/${file}`)
    await run('promtool', ['check', 'rules', ...files], { cwd: FOLDER })
  })

  it(
    'sees alerts fire and not fire as the cases say',
    async () => {
      const files = (await readdir(`${FOLDER}tests`)).map((file) => `tests/${file}`)
      await run('promtool', ['test', 'rules', ...files], { cwd: FOLDER })
    },
    PROMTOOL_MS_MAX,
  )
})

interface Case {
  input_series: Array<{ series: string }>
  promql_expr_test?: Array<{ expr: string; exp_samples: Array<{ labels: string }> }>
  alert_rule_test?: Array<{ alertname: string; exp_alerts: object[] }>
}

async function allCases(): Promise<Case[]> {
  const files = await readdir(`${FOLDER}tests`)
  const texts = await Promise.all(files.map((file) => readFile(`${FOLDER}tests/${file}`, 'utf8')))
  return texts.flatMap((text) => (parse(text) as { tests: Case[] }).tests)
}

/** Whether a case expects the alert. */
const fires = (alert: string, { promql_expr_test = [], alert_rule_test = [] }: Case) =>
  promql_expr_test.some(({ exp_samples }) => exp_samples.some(({ labels }) => labels.includes(`"${alert}"`))) ||
  alert_rule_test.some(({ alertname, exp_alerts }) => alertname === alert && exp_alerts.length > 0)

/** Whether a case has series that the alert reads, directly or through a recording rule. */
const concerns = (read: readonly string[], { input_series }: Case) =>
  input_series.some(({ series }) => read.includes(/^[\w:]+/.exec(series)?.[0] ?? ''))

/** Whether a case checks at some time if the alert fires: by the alert's name, or by asking for all firing alerts. */
const asks = ({ alert, labels }: Rule, { promql_expr_test = [], alert_rule_test = [] }: Case) =>
  promql_expr_test.some(({ expr }) => {
    const [, selector] = /\bALERTS\{(.*?)\}/.exec(expr) ?? []
    const wanted = [...(selector?.matchAll(/(\w+)(!?=)"(.*?)"/g) ?? [])]
    const own: Record<string, string | undefined> = {
      alertname: alert,
      alertstate: 'firing',
      severity: labels?.severity,
    }
    return (
      selector !== undefined && wanted.every(([, label = '', sign, value]) => (own[label] === value) === (sign === '='))
    )
  }) || alert_rule_test.some(({ alertname }) => alertname === alert)

it('every alert has a case in which it fires, and one with its metrics that sees it not fire', async () => {
  const [rules, cases] = [await allRules(), await allCases()]
  const recorded = (name: string) => rules.filter(({ record }) => record === name).flatMap(({ expr }) => seriesIn(expr))
  for (const rule of rules) {
    const { alert, expr } = rule
    if (alert === undefined) continue
    const series = seriesIn(expr).flatMap((name) => [name, ...recorded(name), ...recorded(name).flatMap(recorded)])
    expect(
      cases.some((each) => fires(alert, each)),
      `${alert} fires`,
    ).toBe(true)
    expect(
      cases.some((each) => concerns(series, each) && asks(rule, each) && !fires(alert, each)),
      `${alert} does not fire`,
    ).toBe(true)
  }
})
