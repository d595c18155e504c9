import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import * as z from 'zod'
import { allRules } from '../../dashboards/testing/known-series.ts'
import { findProgram } from '../testing/programs.ts'

const amtool = findProgram('amtool', 'TEST_AMTOOL')
const file = fileURLToPath(new URL('./alertmanager.yml', import.meta.url))

/** `severity = page`, `alertname =~ "KafkaDown|OutboxOld"`. The two other operators, != and !~, are not used. */
const matcher = z
  .string()
  .regex(/^\w+ =~? ("[^"]*"|\w+)$/)
  .transform((text) => {
    const [label = '', , value = ''] = text.split(' ')
    return { label, values: value.replaceAll('"', '').split('|') }
  })
type Matcher = z.infer<typeof matcher>
const matchers = z.array(matcher).min(1)
const duration = z.string().regex(/^\d+[smhd]$/)
const route = {
  receiver: z.string(),
  group_by: z.array(z.string()).optional(),
  group_wait: duration.optional(),
  group_interval: duration.optional(),
  repeat_interval: duration.optional(),
}

/** The part of https://prometheus.io/docs/alerting/latest/configuration/ that is used. A receiver has whatever its owner configures. */
const Config = z.strictObject({
  route: z.strictObject({ ...route, routes: z.array(z.strictObject({ ...route, matchers })) }),
  receivers: z.array(z.looseObject({ name: z.string() })),
  inhibit_rules: z.array(
    z.strictObject({ source_matchers: matchers, target_matchers: matchers, equal: z.array(z.string()).optional() }),
  ),
})
const { route: root, receivers, inhibit_rules } = Config.parse(parse(await readFile(file, 'utf8')))
const rules = await allRules()
const alerts = rules.filter(({ alert }) => alert !== undefined)

/** The possible values of each alert label that matchers use. */
const values: Record<string, Array<string | undefined>> = {
  alertname: alerts.map(({ alert }) => alert),
  severity: alerts.map(({ labels }) => labels?.severity),
  slo: rules.filter(({ record }) => record === 'slo:objective').map(({ labels }) => labels?.slo),
}
const matches = (labels: Record<string, string | undefined>, wanted: readonly Matcher[]) =>
  wanted.every(({ label, values }) => values.includes(labels[label] ?? ''))

describe('alertmanager.yml', () => {
  it('has no matcher for an alert, a severity or an objective that there is not', () => {
    const ofInhibitions = inhibit_rules.flatMap((rule) => [...rule.source_matchers, ...rule.target_matchers])
    const all = [...root.routes.flatMap(({ matchers }) => matchers), ...ofInhibitions]
    const unknown = all.flatMap(({ label, values: wanted }) => wanted.filter((each) => !values[label]?.includes(each)))
    expect(unknown).toEqual([])
  })

  it('lets no alert mute itself', () => {
    const names = (wanted: readonly Matcher[]) => wanted.find(({ label }) => label === 'alertname')?.values ?? []
    for (const { source_matchers, target_matchers } of inhibit_rules) {
      const targets = names(target_matchers)
      expect(names(source_matchers).filter((name) => targets.includes(name))).toEqual([])
    }
  })

  it('has the receivers that its routes name, and no others', () => {
    const named = [root, ...root.routes].map(({ receiver }) => receiver)
    expect(receivers.map(({ name }) => name).sort()).toEqual([...new Set(named)].sort())
  })

  it.each([
    ['page', 'pager'],
    ['ticket', 'tickets'],
  ])('sends what has the severity %s to %s', (severity, receiver) => {
    const taken = root.routes.find(({ matchers }) => matches({ severity }, matchers))
    expect((taken ?? root).receiver).toBe(receiver)
  })

  it('is told of no other severity', () => {
    expect([...new Set(values.severity)].sort()).toEqual(['page', 'ticket'])
  })

  it.skipIf(!amtool)('is as Alertmanager wants it, and routes as it does', async () => {
    const ask = (...args: string[]) => promisify(execFile)(amtool ?? '', args)
    await expect(ask('check-config', file)).resolves.toMatchObject({ stdout: expect.stringContaining('SUCCESS') })
    for (const { alert, labels } of alerts) {
      const receiver = labels?.severity === 'page' ? 'pager' : 'tickets'
      const named = [`alertname=${alert}`, `severity=${labels?.severity}`]
      await ask('config', 'routes', 'test', `--config.file=${file}`, `--verify.receivers=${receiver}`, ...named)
    }
  })
})
