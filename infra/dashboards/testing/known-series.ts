import { readdir, readFile } from 'node:fs/promises'
import { parse } from 'yaml'

const ROOT = new URL('../../../', import.meta.url)
const RULES = new URL('infra/docker/prometheus/rules/', ROOT)

export interface Rule {
  record?: string
  alert?: string
  expr: string
  labels?: Record<string, string>
  annotations?: Record<string, string>
}

/** Reads every rule of infra/docker/prometheus/rules. */
export async function allRules(): Promise<Rule[]> {
  const files = (await readdir(RULES)).filter((file) => file.endsWith('.yml'))
  const texts = await Promise.all(files.map((file) => readFile(new URL(file, RULES), 'utf8')))
  return texts.flatMap((text) =>
    (parse(text) as { groups: Array<{ rules: Rule[] }> }).groups.flatMap(({ rules }) => rules),
  )
}

/** Series of Prometheus itself, of Node's client, and of other programs. Tests against the real programs check these names. */
const FOREIGN = /^(up|ALERTS|process_\w+|nodejs_\w+|pg_\w+|node_\w+|redis_up|rabbitmq_\w+)$/

/** Makes a function that tells whether a series exists: a metric of docs/metrics.md, of a recording rule, or of another program. */
export async function knownSeries(): Promise<(name: string) => boolean> {
  const document = await readFile(new URL('docs/metrics.md', ROOT), 'utf8')
  const documented = [...document.matchAll(/^\| `(\w+)` \| (\w+) \|/gm)].flatMap(([, name = '', type]) =>
    type === 'histogram' ? [`${name}_bucket`, `${name}_count`, `${name}_sum`] : [name],
  )
  const recorded = (await allRules()).flatMap(({ record }) => record ?? [])
  const known = new Set([...documented, ...recorded])
  return (name) => known.has(name) || FOREIGN.test(name)
}
