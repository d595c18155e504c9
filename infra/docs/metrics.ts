import { readdir, readFile } from 'node:fs/promises'
import { declaredMetrics } from '#telemetry'

const ROOT = new URL('../../', import.meta.url)
const FOLDERS = ['shared', 'infra/router', 'infra/backup']
const DECLARATION = /\b(?:counter|gauge|measuredGauge|histogram|tracedHistogram)\(\s*'(\w+)'/g

const HEAD = `<!-- Made from the code: npx vitest run infra/docs/metrics.test.ts -u -->
# Metrics

Each function serves \`/metrics\` on its own port; the router on \`METRICS_PORT\` (9464); \`npm start\`, which is one process, on a loopback
port that it prints and \`stack.json\` has as \`metricsUrl\`. A scraper gets the text format of Prometheus, or OpenMetrics where its
\`Accept\` asks for that, and then the histograms of requests have exemplars: the \`trace_id\` of the last request in each bucket whose
\`traceparent\` says that its trace is recorded. A process has the metrics of the modules that it uses. Labels have few values: none is an id, a path, or anything else that a client makes up.
A histogram's series are \`<name>_bucket\`, \`<name>_sum\` and \`<name>_count\`.

Besides these each process has the standard metrics of Node's Prometheus client: \`process_*\` (CPU, memory, open files) and \`nodejs_*\`
(event loop lag, garbage collection, heap), and \`nodejs_eventloop_utilization_ratio\`, the share of the time since the last scrape in which
the event loop was busy.
`

/** Makes docs/metrics.md: the metrics of the whole service, by the folder that declares them. */
export async function metricsDocument(): Promise<string> {
  const sections = new Map<string, string[]>()
  for (const { folder, name } of await declarations()) {
    const metric = declaredMetrics().find((declared) => declared.name === name)
    if (!metric) throw new Error(`${name} is declared in ${folder}, but not known to the registry`)
    const labels = metric.labelNames.map((label) => `\`${label}\``).join(', ')
    const row = `| \`${name}\` | ${metric.type} | ${labels} | ${unitOf(name)} | ${metric.help} |`
    sections.set(folder, [...(sections.get(folder) ?? []), row])
  }
  const tables = [...sections].map(
    ([folder, rows]) =>
      `## ${folder}\n\n| name | type | labels | unit | is |\n|---|---|---|---|---|\n${rows.sort().join('\n')}\n`,
  )
  return `${HEAD}\n${tables.join('\n')}`
}

/** Returns each metric with its folder. Loads the files that declare metrics. */
async function declarations(): Promise<Array<{ folder: string; name: string }>> {
  const found: Array<{ folder: string; name: string }> = []
  for (const file of await sourceFiles()) {
    const source = await readFile(new URL(file, ROOT), 'utf8')
    const names = [...source.matchAll(DECLARATION)].map(([, name = '']) => name)
    if (names.length === 0 || file === 'shared/telemetry/metrics.ts') continue
    await import(new URL(file, ROOT).href)
    found.push(...names.map((name) => ({ folder: folderOf(file), name })))
  }
  return found
}

async function sourceFiles(): Promise<string[]> {
  const files = await Promise.all(
    FOLDERS.map(async (folder) => {
      const entries = await readdir(new URL(`${folder}/`, ROOT), { recursive: true })
      return entries.map((entry) => `${folder}/${entry}`)
    }),
  )
  return files
    .flat()
    .filter((file) => file.endsWith('.ts') && !/\.test\.ts$|fixture|testing\//.test(file))
    .sort()
}

/** `shared/database/reads/lag.ts` belongs to `database`. */
function folderOf(file: string): string {
  const [, folder = ''] = file.split('/')
  return folder
}

/** Takes the unit from the end of the name, by Prometheus's convention: base units, and counted things. */
function unitOf(name: string): string {
  const [, unit = ''] = /_(seconds|bytes|ratio|info)(?:_total)?$/.exec(name) ?? []
  return unit
}
