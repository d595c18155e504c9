import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { declaredMetrics } from '#telemetry'
import { metricsDocument } from './metrics.ts'

/** Without the client's own metrics, which another test file may have added to this process's registry. */
const ownMetrics = () => declaredMetrics().filter(({ name }) => !/^(process|nodejs|test)_/.test(name))

const FILE = fileURLToPath(new URL('../../docs/metrics.md', import.meta.url))

it('docs/metrics.md tells of the metrics that the code has', async () => {
  await expect(await metricsDocument()).toMatchFileSnapshot(FILE)
})

it('docs/metrics.md leaves out no metric that the service declares', async () => {
  const text = await metricsDocument()
  expect(ownMetrics().filter(({ name }) => !text.includes(`| \`${name}\` |`))).toEqual([])
})

it('metrics have the standard names: of counters _total, and of times and sizes their base unit', () => {
  for (const { name, type, help } of ownMetrics()) {
    expect(name, name).toMatch(/^[a-z][a-z0-9_]+$/)
    expect(name.endsWith('_total'), name).toBe(type === 'counter')
    expect(name, name).not.toMatch(/_(ms|milliseconds|minutes|kb|mb|percent)(_|$)/)
    expect(help, name).toMatch(/\.$/)
  }
})
